package mux

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
)

// TestDetachedStream takes the socket of a dialed stream away, and talks through what is left to the other side, which is as usual. Bytes that the
// library had read before are not lost.
func TestDetachedStream(t *testing.T) {
	k := newKey(t)
	a, b := open(t, &k, "a"), open(t, &k, "b")
	l := b.Listen(Forward)
	c := dial(t, a, Forward, b).(*secureConn)
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := s.Write([]byte("!first")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	fd, err := c.Detach()
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "socket")
	socket, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	plain, err := c.Open(make([]byte, 0, 64<<10), nil)
	if err != nil || string(plain) != "first" {
		t.Fatalf("from before: %q, %v", plain, err)
	}
	text := make([]byte, 200_000)
	_, _ = rand.NewChaCha8([32]byte{}).Read(text)
	var wg sync.WaitGroup
	wg.Go(func() { // echoes
		got := make([]byte, len(text))
		if _, err := io.ReadFull(s, got); err != nil {
			t.Error(err)
		}
		if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("after the end: %d, %v", n, err)
		}
		if _, err := s.Write(got); err != nil {
			t.Error(err)
		}
		_ = s.(interface{ CloseWrite() error }).CloseWrite()
	})
	wire, err := c.Seal(nil, text)
	if err == nil {
		wire, err = c.End(wire)
	}
	if err != nil {
		t.Fatal(err)
	}
	if _, err := socket.Write(wire); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for buf := make([]byte, 10_000); !errors.Is(err, io.EOF); {
		n, rerr := socket.Read(buf)
		if rerr != nil {
			t.Fatal(rerr)
		}
		plain, err = c.Open(plain[:0], buf[:n])
		got = append(got, plain...)
	}
	if wg.Wait(); !bytes.Equal(got, text) {
		t.Errorf("%d bytes came back of %d, or other ones", len(got), len(text))
	}
}
