package telemetry

import (
	"errors"
	"net"
	"testing"
)

// TestCrowd has more come than may be there: who was answered last stays.
func TestCrowd(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	ended := 0
	l := newCrowd(plain, 2, func() { ended++ })
	come := func() (client, server net.Conn) {
		t.Helper()
		client, err := net.Dial("tcp", plain.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close() })
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		return client, server
	}
	_, first := come()
	_, second := come()
	if _, err := first.Write([]byte("an answer")); err != nil {
		t.Fatal(err)
	}
	_, third := come() // the second goes
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) || ended != 1 {
		t.Errorf("%d were ended; the second: %v", ended, err)
	}
	for _, c := range []net.Conn{first, third, second} {
		_ = c.Close()
	}
	if l.conns.Len() != 0 {
		t.Errorf("%d are remembered", l.conns.Len())
	}
}
