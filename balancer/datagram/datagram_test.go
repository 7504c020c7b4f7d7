package datagram

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Each client stays with one worker, and the workers have about the same number of clients.
func TestSessionsStay(t *testing.T) {
	b := newBench(t)
	n := b.node("a", false)
	n.start("x", "y", "z")
	by := make(map[string]int)
	for range 9 {
		c := n.client()
		first := b.ask(c, "one")
		by[first]++
		for range 5 {
			if got := b.ask(c, "one"); got != first {
				t.Errorf("got %q after %q", got, first)
			}
		}
	}
	if len(by) != 3 || by["x:one"] != 3 || by["y:one"] != 3 {
		t.Errorf("clients by worker: %v", by)
	}
	if st := n.srv.Stats(); st.Open != 9 || st.Failed != 0 {
		t.Errorf("%+v", st)
	}
}

func TestLargestDatagram(t *testing.T) {
	b := newBench(t)
	n, peer := b.node("a", false), b.node("b", false)
	n.start("x")
	text := strings.Repeat("x", maxPayload-2)
	if got := b.ask(n.client(), text); got != "x:"+text {
		t.Errorf("%d bytes", len(got))
	}
	peer.hears("a")
	if got := b.ask(peer.client(), text); got != "x:"+text {
		t.Errorf("%d bytes by a peer", len(got))
	}
}

// A node without a worker passes sessions on to peers, where each has one worker; when a peer dies, its sessions go to another.
func TestForward(t *testing.T) {
	for _, shared := range []bool{false, true} {
		b := newBench(t)
		n := b.node("a", shared)
		p, q := b.node("p", false), b.node("q", false)
		p.start("x")
		q.start("y")
		n.hears("p", "q")
		by := make(map[string][]*net.UDPConn)
		for range 8 {
			c := n.client()
			first := b.ask(c, "one")
			by[first] = append(by[first], c)
			if got := b.ask(c, "one"); got != first {
				t.Errorf("got %q after %q", got, first)
			}
		}
		if len(by) != 2 {
			t.Errorf("sessions by worker: %d of x, %d of y", len(by["x:one"]), len(by["y:one"]))
		}
		p.srv.Close()
		n.hears("q")
		n.bal.SetLink("p", false)
		for _, c := range by["x:one"] {
			if got := b.ask(c, "two"); got != "y:two" {
				t.Errorf("after the end of p: %q", got)
			}
		}
		if st := n.srv.Stats(); st.Open != 8 || st.Forwarded == 0 || st.Failed != uint64(len(by["x:one"])) {
			t.Errorf("%+v", st)
		}
	}
}

// A peer that is stopped, and not dead, keeps its sessions for the limit of silence only.
func TestSilentPeer(t *testing.T) {
	b := newBench(t)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.ends = append(b.ends, func() { silent.Close() })
	n, p := b.node("a", false), b.node("p", false)
	p.start("x")
	n.srv.o.DialPeer = func(ctx context.Context, node string) (net.Conn, error) {
		if node == "s" {
			return new(net.Dialer).DialContext(ctx, "tcp", silent.Addr().String())
		}
		return b.dial(ctx, node)
	}
	n.hears("s")
	c := n.client()
	if _, err := c.Write([]byte("lost")); err != nil {
		t.Fatal(err)
	}
	held, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	b.ends = append(b.ends, func() { held.Close() })
	n.hears("p")
	if got := b.ask(c, "one"); got != "x:one" {
		t.Errorf("got %q", got)
	}
}

// While a worker here is ready it reads a shared socket itself, and nothing is taken from it.
func TestSharedSocketIsTheWorkers(t *testing.T) {
	b := newBench(t)
	n, p := b.node("a", true), b.node("p", false)
	p.start("x")
	n.hears("p")
	c := n.client()
	if got := b.ask(c, "one"); got != "x:one" {
		t.Errorf("got %q", got)
	}
	n.ready("own")
	pc, err := net.FilePacketConn(n.file)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	buf := make([]byte, 16)
	for mine := 0; mine < 3; {
		in := n.srv.Stats().In
		if _, err := c.Write([]byte("mine")); err != nil {
			t.Fatal(err)
		}
		_ = pc.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if k, _, err := pc.ReadFrom(buf); err == nil && string(buf[:k]) == "mine" {
			mine++
		} else if n.srv.Stats().In == in {
			t.Fatal("nobody has it")
		} else if mine > 0 {
			t.Error("the node read what was for the worker")
		}
	}
}

// What the worker that leaves had taken is answered; the next datagram goes elsewhere.
func TestWorkerLeaves(t *testing.T) {
	b := newBench(t)
	n := b.node("a", false)
	x := n.start("x")[0]
	c := n.client()
	b.ask(c, "one")
	if _, err := c.Write([]byte("hold")); err != nil {
		t.Fatal(err)
	}
	for over := time.Now().Add(limit); n.srv.Stats().In < 2; {
		if time.Now().After(over) {
			t.Fatal("it was not read")
		}
	}
	n.start("y")
	n.srv.Leave("x")
	if open := n.bal.Picker(app).Open("x"); open != 0 {
		t.Errorf("%d claims hold the worker", open)
	}
	close(x.hold)
	buf := make([]byte, 64)
	_ = c.SetReadDeadline(time.Now().Add(limit))
	if k, err := c.Read(buf); err != nil || string(buf[:k]) != "x:hold" {
		t.Errorf("%q, %v", buf[:k], err)
	}
	if got := b.ask(c, "two"); got != "y:two" {
		t.Errorf("got %q", got)
	}
}

// At the peer as well, whose worker the session had; and when it has none any more, the session goes to another peer.
func TestWorkerLeavesAtPeer(t *testing.T) {
	b := newBench(t)
	n, p, q := b.node("a", false), b.node("p", false), b.node("q", false)
	p.start("x")
	n.hears("p")
	c := n.client()
	b.ask(c, "one")
	p.start("y")
	p.srv.Leave("x")
	if got := b.ask(c, "two"); got != "y:two" {
		t.Errorf("got %q", got)
	}
	q.start("z")
	n.hears("q")
	p.ready()
	p.srv.Leave("y")
	n.bal.SetLink("p", false)
	if got := b.ask(c, "three"); got != "z:three" {
		t.Errorf("got %q", got)
	}
}

// A worker that is gone without a word is noticed by its closed port.
func TestWorkerDies(t *testing.T) {
	b := newBench(t)
	n := b.node("a", false)
	x := n.start("x")[0]
	c := n.client()
	b.ask(c, "one")
	x.conn.Close()
	n.start("y")
	if got := b.ask(c, "two"); got != "y:two" {
		t.Errorf("got %q", got)
	}
	if st := n.srv.Stats(); st.Failed != 1 || st.Open != 1 {
		t.Errorf("%+v", st)
	}
}

func TestBounds(t *testing.T) {
	b := newBench(t)
	n := b.node("a", false, func(o *Options) { o.Sessions, o.Idle = 2, 500*time.Millisecond })
	c := n.client()
	for range 3 { // nobody serves it
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	wait(t, func() bool { return n.srv.Stats().NoTarget == 3 })
	n.start("x")
	b.ask(c, "one")
	b.ask(n.client(), "one")
	third := n.client()
	if _, err := third.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	wait(t, func() bool { return n.srv.Stats().NoSession == 1 })
	b.ask(third, "one") // when those before it were idle
	wait(t, func() bool { c := n.bal.Counts(); return n.srv.Stats().Open == 0 && c.Taken == c.Returned })
}

func wait(t *testing.T, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	over := time.After(limit)
	for !cond() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatal("not in time")
		}
	}
}

// The answer comes from the address that the client spoke to, though the socket is bound to all.
func TestAnswerFromWhereItWasSent(t *testing.T) {
	b := newBench(t)
	n := b.node("a", false)
	n.start("x")
	_, port, err := net.SplitHostPort(n.addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("udp4", "127.0.0.9:"+port) // connected: the kernel lets nothing else in
	if err != nil {
		t.Fatal(err)
	}
	b.ends = append(b.ends, func() { c.Close() })
	if got := b.ask(c.(*net.UDPConn), "one"); got != "x:one" {
		t.Errorf("got %q", got)
	}
}

func TestStop(t *testing.T) {
	b := newBench(t)
	n := b.node("a", false)
	n.start("x")
	b.ask(n.client(), "one")
	n.srv.Stop(app)
	if st := n.srv.Stats(); st.Open != 0 {
		t.Errorf("%+v", st)
	}
	if err := n.srv.Serve(app, key, n.file, false); err != nil {
		t.Fatal(err)
	}
	b.ask(n.client(), "one")
	n.srv.Close()
	if err := n.srv.Serve(app, key, n.file, false); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

func FuzzFrames(f *testing.F) {
	o := opening{socketID{app, key}, netip.MustParseAddrPort("10.1.2.3:4")}
	f.Add(append(o.frame(1), dataFrame(1, []byte("x"))...))
	f.Add(append(head(framePing, 0, 0), head(frameClose, 7, 0)...))
	f.Fuzz(func(t *testing.T, b []byte) {
		ours, theirs := net.Pipe()
		go func() {
			_, _ = theirs.Write(b)
			theirs.Close()
		}()
		total := 0
		err := readFrames(ours, limit, func(kind byte, number uint32, payload []byte) error {
			total += frameHead + len(payload)
			if kind == frameOpen {
				if got, err := readOpening(payload); err == nil {
					if again := got.frame(number); !bytes.Equal(again[frameHead:], payload) && got.client.Addr().Is6() {
						t.Errorf("%+v becomes %q, was %q", got, again[frameHead:], payload)
					}
				} else if !errors.Is(err, errFrame) {
					t.Errorf("%v", err)
				}
			}
			return nil
		})
		ours.Close()
		if err == nil || total > len(b) || !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%d of %d bytes, %v", total, len(b), err)
		}
	})
}
