package proxy

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"
)

// ways are the ways on which bytes cross a node: to a worker that is dialed here, to a peer's worker that is dialed, and to a peer's worker
// that takes sockets. entry is where clients connect, all are the nodes that are passed.
var ways = []struct {
	name  string
	build func(b *bench, handle func(net.Conn)) (entry *tnode, all []*tnode)
}{
	{"dialed worker", func(b *bench, handle func(net.Conn)) (*tnode, []*tnode) {
		n := b.node("a", Options{})
		n.workers(b.listening("w1", handle))
		return n, []*tnode{n}
	}},
	{"peer, dialed worker", func(b *bench, handle func(net.Conn)) (*tnode, []*tnode) {
		n, m := b.node("a", Options{}), b.node("b", Options{})
		n.hears("b")
		m.workers(b.listening("w1", handle))
		return n, []*tnode{n, m}
	}},
	{"peer, worker that takes sockets", func(b *bench, handle func(net.Conn)) (*tnode, []*tnode) {
		n, m := b.node("a", Options{}), b.node("b", Options{})
		n.hears("b")
		m.workers(b.passing("w1", accepts, handle))
		return n, []*tnode{n, m}
	}},
	{"peer, worker that takes its streams", func(b *bench, handle func(net.Conn)) (*tnode, []*tnode) { return passStreams(b, handle) }},
	{"peer, worker that takes its signed streams", func(b *bench, handle func(net.Conn)) (*tnode, []*tnode) {
		b.signs = true
		return passStreams(b, handle)
	}},
}

func passStreams(b *bench, handle func(net.Conn)) (*tnode, []*tnode) {
	n, m := b.node("a", Options{}), b.node("b", Options{})
	n.hears("b")
	w := b.passing("w1", accepts, handle)
	m.workers(w)
	m.srv.SetWorker(w.id, speaker{w})
	return n, []*tnode{n, m}
}

func overEveryWay(t *testing.T, handle func(net.Conn), run func(t *testing.T, n *tnode)) {
	for _, way := range ways {
		t.Run(way.name, func(t *testing.T) {
			b := newBench(t)
			n, all := way.build(b, handle)
			run(t, n)
			for _, m := range all {
				m.idle()
			}
		})
	}
}

func TestHalfCloseBothWays(t *testing.T) {
	t.Run("client first", func(t *testing.T) {
		overEveryWay(t, saying("w1"), func(t *testing.T, n *tnode) {
			if got := ask(t, n.connect(), "hello"); got != "w1:hello" {
				t.Errorf("got %q", got)
			}
		})
	})
	t.Run("worker first", func(t *testing.T) {
		heard := make(chan string, 1)
		handle := func(c net.Conn) {
			_, _ = c.Write([]byte("bye"))
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
			b, _ := io.ReadAll(c)
			heard <- string(b)
		}
		overEveryWay(t, handle, func(t *testing.T, n *tnode) {
			c := n.connect()
			if b, err := io.ReadAll(c); err != nil || string(b) != "bye" {
				t.Errorf("got %q, %v", b, err)
			}
			if _, err := c.Write([]byte("still here")); err != nil {
				t.Error(err)
			}
			c.Close()
			if got := <-heard; got != "still here" {
				t.Errorf("the worker heard %q", got)
			}
		})
	})
}

func TestResetsArePassedOn(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		ended := make(chan error, 1)
		handle := func(c net.Conn) {
			_, _ = c.Write([]byte("x"))
			_, err := io.Copy(io.Discard, c)
			if err == nil { // a socket pair cannot be reset: writing tells
				for err == nil {
					_, err = c.Write(make([]byte, 1<<10))
				}
			}
			ended <- err
		}
		overEveryWay(t, handle, func(t *testing.T, n *tnode) {
			c := n.connect()
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			_ = c.SetLinger(0)
			c.Close()
			if err := <-ended; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
				t.Errorf("the worker saw %v", err)
			}
		})
	})
	t.Run("worker", func(t *testing.T) {
		handle := func(c net.Conn) {
			_, _ = io.ReadFull(c, make([]byte, 1))
			if tc, ok := c.(*net.TCPConn); ok {
				_ = tc.SetLinger(0)
			}
		}
		for i, way := range ways {
			if i == 2 { // it has no reset to pass on
				continue
			}
			t.Run(way.name, func(t *testing.T) {
				b := newBench(t)
				n, _ := way.build(b, handle)
				c := n.connect()
				if _, err := c.Write([]byte("x")); err != nil {
					t.Fatal(err)
				}
				if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
					t.Errorf("the client saw %v", err)
				}
				n.idle()
			})
		}
	})
}

// TestBulkIsByteExact sends tens of megabytes both ways at once, in pieces of many sizes.
func TestBulkIsByteExact(t *testing.T) {
	const size = 24 << 20
	up, down := noise(1, size), noise(2, size)
	heard := make(chan [32]byte, 1)
	pour := func(w io.Writer, b []byte, seed uint64) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		for len(b) > 0 {
			n := min(len(b), 1+rnd.IntN(1<<uint(4+rnd.IntN(17))))
			if _, err := w.Write(b[:n]); err != nil {
				return
			}
			b = b[n:]
		}
	}
	handle := func(c net.Conn) {
		var wg sync.WaitGroup
		wg.Go(func() {
			pour(c, down, 3)
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
		})
		h := sha256.New()
		_, _ = io.Copy(h, c)
		wg.Wait()
		heard <- [32]byte(h.Sum(nil))
	}
	overEveryWay(t, handle, func(t *testing.T, n *tnode) {
		c := n.connect()
		_ = c.SetDeadline(time.Now().Add(4 * limit))
		var wg sync.WaitGroup
		wg.Go(func() {
			pour(c, up, 4)
			_ = c.CloseWrite()
		})
		h := sha256.New()
		got, err := io.Copy(h, c)
		wg.Wait()
		if err != nil || got != size || [32]byte(h.Sum(nil)) != sha256.Sum256(down) {
			t.Errorf("the client got %d bytes of %d, or other ones; %v", got, size, err)
		}
		if <-heard != sha256.Sum256(up) {
			t.Error("the worker got other bytes")
		}
		if n.srv.way.engine.Stats().Pipes == 0 {
			t.Error("bulk did not go through a pipe")
		}
	})
}

func noise(seed byte, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

func TestIdleRelayHoldsTwoDescriptors(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.listening("w1", echo))
	ping := func(c *net.TCPConn) {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	first := n.connect()
	ping(first)
	before := descriptors(t)
	const more = 10
	for range more {
		ping(n.connect())
	}
	// The client's end and the worker's are in this process too.
	if got := descriptors(t) - before; got != more*4 {
		t.Errorf("%d idle relays hold %d descriptors, want %d", more, got-2*more, 2*more)
	}
}

func TestCloseCutsRelays(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.listening("w1", echo))
	c := n.connect()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	within(t, "closing with a relay open", func() { n.srv.Close() })
	if b, err := io.ReadAll(c); len(b) > 0 || err == nil {
		t.Errorf("the client got %q, %v; want a reset", bytes.TrimSpace(b), err)
	}
}
