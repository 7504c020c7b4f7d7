package nodeipc

import (
	"bufio"
	"io"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWorkerSaysFirst has the worker write something before its app does, also where the app is the first to speak, and only if a server takes the
// connection.
func TestWorkerSaysFirst(t *testing.T) {
	w := startNode(t, `
		require('net').createServer((c) => c.end('app ' + c.remoteAddress)).listen(3000);
		process.on('message', (m) => process.send(m));
	`)
	key := await(t, "listen call", w.key)
	await(t, "listening", w.rec.listening)
	if !w.speaks(key) { // it has said hello before it listens
		t.Fatal("the worker does not say that it can")
	}
	c, fd := w.dial()
	client := netip.MustParseAddrPort("203.0.113.9:4711")
	if o := w.passSaying(key, fd, client, []byte{1, 0xff, 0}); o != Accepted {
		t.Fatalf("outcome %d", o)
	}
	if got, err := io.ReadAll(bufio.NewReader(c)); err != nil || string(got) != "\x01\xff\x00app 203.0.113.9" {
		t.Errorf("got %q, %v", got, err)
	}
	c, fd = w.dial()
	if o := w.passSaying("null:4000:4", fd, client, []byte{1}); o != Refused {
		t.Fatalf("outcome %d", o)
	}
	if got, err := io.ReadAll(c); len(got) > 0 {
		t.Errorf("a worker that refused said %q, %v", got, err)
	}
}

func (w *worker) speaks(key string) bool {
	if w.ch != nil {
		return w.ch.Speaks()
	}
	return w.fam.Speaks(key)
}

func (w *worker) passSaying(key string, fd int, remote netip.AddrPort, say []byte) Outcome {
	w.t.Helper()
	defer unix.Close(fd)
	offer := w.fam.OfferSaying
	if w.ch != nil {
		offer = w.ch.OfferSaying
	}
	if err := offer(key, fd, remote, say, w.out.of("")); err != nil {
		w.t.Fatal(err)
	}
	return await(w.t, "outcome of the offer", w.out.c)
}
