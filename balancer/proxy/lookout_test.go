package proxy

import (
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// lender is a worker that is dialed, and whose listening socket can be had.
type lender struct {
	*fakeWorker
	open  func() // has it accept
	check *atomic.Uint32
}

func (l lender) Checks(port uint16) bool { return l.check.Load() == uint32(port) }

func (l lender) Sockets() ([]int, error) {
	raw, err := l.dialed.(*net.TCPListener).SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) })
	if cerr != nil {
		err = cerr
	}
	return []int{fd}, err
}

// stuck makes a worker that accepts nothing before it is let.
func (b *bench) stuck(id string) lender {
	b.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	w := &fakeWorker{b: b, id: id, handle: saying(id), dialed: ln}
	b.ends = append(b.ends, func() { ln.Close() })
	return lender{fakeWorker: w, check: new(atomic.Uint32), open: func() {
		b.wg.Go(func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				b.wg.Go(func() { w.serve(c) })
			}
		})
	}}
}

// lenders makes the node's workers known and ready.
func (n *tnode) lenders(ws ...lender) {
	var ready []balancer.Worker
	for _, w := range ws {
		n.srv.SetWorker(w.id, w)
		ready = append(ready, balancer.Worker{ID: w.id, Window: 4})
	}
	n.bal.Picker(app).SetWorkers(ready)
}

// send opens connections, sends text on each and ends the clients' sides.
func (n *tnode) send(count int, text string) []*net.TCPConn {
	n.b.t.Helper()
	var out []*net.TCPConn
	for range count {
		c := n.connect()
		if _, err := c.Write([]byte(text)); err != nil {
			n.b.t.Fatal(err)
		}
		if err := c.CloseWrite(); err != nil {
			n.b.t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

// answers reads what comes back on each connection.
func answers(t *testing.T, cs []*net.TCPConn) (out []string) {
	t.Helper()
	for _, c := range cs {
		b, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("after %q: %v", b, err)
		}
		out = append(out, string(b))
	}
	return out
}

func (n *tnode) hung() (out []string) {
	for _, h := range n.srv.Hung() {
		out = append(out, h.Worker)
	}
	slices.Sort(out)
	return out
}

// What waits for a worker that accepts nothing goes to another, with all that was sent; nothing goes there any more until it accepts again.
func TestWorkerThatAcceptsNothing(t *testing.T) {
	for name, header := range map[string]HeaderVersion{"plain": 0, "with headers": 1} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n := b.node("a", Options{})
			bad, well := b.stuck("bad"), b.stuck("well")
			bad.header, well.header = header, header
			well.open()
			n.lenders(bad, well)
			check, err := net.Dial("tcp", bad.dialed.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer check.Close()
			bad.check.Store(uint32(check.LocalAddr().(*net.TCPAddr).Port))
			if _, err := check.Write([]byte("are you well?")); err != nil {
				t.Fatal(err)
			}
			for _, got := range answers(t, n.send(8, "hello")) {
				if !strings.HasPrefix(got, "well:") || !strings.HasSuffix(got, "hello") || strings.Count(got, "PROXY") != int(header) {
					t.Errorf("answered %q", got)
				}
			}
			rescued := n.srv.Stats().Rescued
			if rescued == 0 || !slices.Equal(n.hung(), []string{"bad"}) {
				t.Errorf("%d rescued, %v hung", rescued, n.hung())
			}
			_ = check.SetDeadline(time.Now().Add(limit))
			if b, err := io.ReadAll(check); err == nil {
				t.Errorf("another has answered in its place: %q", b)
			}
			answers(t, n.send(20, "again"))
			if now := n.srv.Stats().Rescued; now != rescued {
				t.Errorf("%d went to the worker that is hung", now-rescued)
			}
			bad.open()
			n.await("the worker is well again", func() bool { return len(n.hung()) == 0 })
			n.idle()
			got := answers(t, n.send(2, "both"))
			if slices.Sort(got); !strings.HasPrefix(got[0], "bad:") || !strings.HasPrefix(got[1], "well:") {
				t.Errorf("answered %q", got)
			}
		})
	}
}

// Where nobody accepts, nobody is left out; a worker that accepts and says nothing is not hung.
func TestAllWorkersAcceptNothing(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	one, two := b.stuck("one"), b.stuck("two")
	n.lenders(one, two)
	early := n.send(4, "early")
	n.await("both are hung", func() bool { return len(n.hung()) == 2 })
	late := n.send(4, "late")
	one.open()
	two.open()
	answers(t, append(early, late...))
	n.await("both are well again", func() bool { return len(n.hung()) == 0 })

	silent := b.stuck("silent")
	answer := make(chan struct{})
	silent.handle = func(c net.Conn) {
		<-answer
		echo(c)
	}
	silent.open()
	three := b.stuck("three")
	n.lenders(silent, three)
	cs := n.send(2, "x")
	n.await("one is hung", func() bool { return len(n.hung()) > 0 })
	if got := n.hung(); !slices.Equal(got, []string{"three"}) {
		t.Errorf("hung: %v", got)
	}
	close(answer)
	answers(t, cs)
}

// The only worker of a node accepts nothing: its peer serves, also what waited.
func TestPeerServesForHungWorker(t *testing.T) {
	b := newBench(t)
	n, peer := b.node("a", Options{}), b.node("b", Options{})
	bad, well := b.stuck("bad"), b.stuck("well")
	well.open()
	n.lenders(bad)
	peer.lenders(well)
	n.hears("b")
	for _, got := range answers(t, n.send(3, "hello")) {
		if got != "well:hello" {
			t.Errorf("answered %q", got)
		}
	}
	if r := n.bal.Picker(app).Local(time.Now()); !r.Hung || r.Ready != 1 {
		t.Errorf("reported: %+v", r)
	}
}

// A worker that ends while it is hung leaves nothing behind.
func TestHungWorkerEnds(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	bad := b.stuck("bad")
	n.lenders(bad)
	cs := n.send(2, "x")
	n.await("it is hung", func() bool { return len(n.hung()) == 1 })
	n.lenders()
	bad.dialed.Close() // as the kernel does, which resets what waits
	n.srv.RemoveWorker("bad")
	for _, c := range cs {
		if _, err := io.ReadAll(c); err == nil {
			t.Error("no error")
		}
	}
	n.idle()
}

func TestFates(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	f, err := openFates()
	if err != nil {
		t.Skip(err)
	}
	defer f.close()
	dial := func() (net.Conn, path) {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		p, _ := pathOf(c)
		return c, p
	}
	c1, p1 := dial()
	defer c1.Close()
	c2, p2 := dial()
	c2.Close()
	c3, p3 := dial()
	defer c3.Close()
	want := func(when string, p path, w fate) {
		t.Helper()
		if got := f.of(p); got != w {
			t.Errorf("%s: %d, want %d", when, got, w)
		}
	}
	want("dialed", p1, fateWaits)
	want("dialed and left", p2, fateWaits)
	s1, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	want("accepted", p1, fateAccepted)
	want("behind that", p2, fateWaits)
	s1.Close()
	want("accepted and closed", p1, fateAccepted)
	_ = c3.(*net.TCPConn).SetLinger(0)
	c3.Close()
	want("reset", p3, fateGone)
	want("never there", path{p1.worker, p1.worker}, fateGone)
}
