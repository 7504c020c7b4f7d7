package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

func TestForward(t *testing.T) {
	b := newBench(t)
	n, m := b.node("a", Options{}), b.node("b", Options{})
	w := b.passing("w1", accepts, saying("w1"))
	m.workers(w)
	n.hears("b")
	c := n.connect()
	if got := ask(t, c, "hello"); got != "w1:hello" {
		t.Errorf("got %q", got)
	}
	n.idle()
	m.idle()
	if st := n.srv.Stats(); st.ForwardedOut != 1 || st.ForwardedIn != 0 {
		t.Errorf("%+v", st)
	}
	if st := m.srv.Stats(); st.ForwardedIn != 1 || st.HandedOff != 1 {
		t.Errorf("%+v", st)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.remote != c.LocalAddr().(*net.TCPAddr).AddrPort() {
		t.Errorf("the worker is told that the client is %v, it is %v", w.remote, c.LocalAddr())
	}
}

// TestNoByteBeforeTheAnswer has a peer that sees what comes before it says yes.
func TestNoByteBeforeTheAnswer(t *testing.T) {
	b := newBench(t)
	ours, theirs := net.Pipe()
	n := b.node("a", Options{DialPeer: dialTo(ours)})
	n.hears("b")
	c := n.connect()
	if _, err := c.Write([]byte("early")); err != nil {
		t.Fatal(err)
	}
	_ = theirs.SetDeadline(time.Now().Add(limit))
	p, err := readPreamble(theirs)
	if err != nil || p.App != app || p.Key != key || p.Client != c.LocalAddr().(*net.TCPAddr).AddrPort() {
		t.Fatalf("%+v, %v", p, err)
	}
	got := make(chan string, 1)
	answered := false
	b.wg.Go(func() {
		one := make([]byte, 5)
		_, _ = io.ReadFull(theirs, one)
		got <- string(one)
	})
	select {
	case s := <-got:
		t.Errorf("the peer got %q before its answer", s)
	case <-time.After(answerLimit / 5): // the time in which a byte would have come
		answered = true
	}
	if _, err := theirs.Write([]byte{answerAccepted}); err != nil {
		t.Fatal(err)
	}
	if s := <-got; answered && s != "early" {
		t.Errorf("the peer got %q", s)
	}
	theirs.Close()
	c.Close()
	n.idle()
}

func TestRefusedForwardGoesElsewhere(t *testing.T) {
	b := newBench(t)
	n, full, good := b.node("a", Options{}), b.node("full", Options{}), b.node("good", Options{})
	good.workers(b.passing("w1", accepts, saying("w1")))
	n.hears("full")
	c := n.connect()
	if _, err := c.Write([]byte("early ")); err != nil {
		t.Fatal(err)
	}
	n.await("a refusal", func() bool { return n.srv.Stats().Retried > 0 })
	n.hears("good")
	if got := ask(t, c, "late"); got != "w1:early late" {
		t.Errorf("got %q", got)
	}
	n.idle()
	if st := full.srv.Stats(); st.Refused == 0 {
		t.Errorf("%+v", st)
	}
	// A refusal is an answer: the peer is not ejected.
	full.workers(b.passing("w2", accepts, saying("w2")))
	n.bal.Picker(app).SetReport("good", balancer.Report{}, time.Now())
	if got := ask(t, n.connect(), "x"); got != "w2:x" {
		t.Errorf("got %q", got)
	}
}

func TestSilentPeerIsEjected(t *testing.T) {
	b := newBench(t)
	n, good := b.node("a", Options{}), b.node("good", Options{})
	good.workers(b.passing("w1", accepts, saying("w1")))
	ln, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts, nobody answers
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	b.set("silent", &tnode{b: b, name: "silent", bal: n.bal, srv: n.srv, forwards: ln, served: closedErrors()})
	n.hears("silent")
	begun := time.Now()
	c := n.connect()
	n.await("the end of patience with the peer", func() bool { return n.srv.Stats().Retried > 0 })
	if d := time.Since(begun); d < answerLimit*9/10 || d > 3*answerLimit {
		t.Errorf("the peer was given %v, the limit is %v", d, answerLimit)
	}
	n.hears("good")
	if got := ask(t, c, "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
	_, err = n.bal.Picker(app).Pick(balancer.PickInfo{Now: time.Now(), Tried: []string{"good"}})
	if !errors.Is(err, balancer.ErrNoTarget) {
		t.Errorf("the silent peer is still chosen: %v", err)
	}
	n.idle()
	b.set("silent", nil)
}

func closedErrors() chan error {
	c := make(chan error)
	close(c)
	return c
}

func TestOwnFaultEjectsNobody(t *testing.T) {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.EADDRNOTAVAIL} {
		if !ours(&net.OpError{Op: "dial", Err: e}) {
			t.Errorf("%v is taken for the peer's fault", e)
		}
	}
	for _, e := range []error{unix.ECONNREFUSED, unix.ETIMEDOUT, io.EOF} {
		if ours(e) {
			t.Errorf("%v is taken for this node's fault", e)
		}
	}
}

// TestOneHop has two nodes without a worker that believe that the other has one.
func TestOneHop(t *testing.T) {
	b := newBench(t)
	n, m := b.node("a", Options{}), b.node("b", Options{})
	n.hears("b")
	m.hears("a")
	c := n.connect()
	n.await("a refusal", func() bool { return n.srv.Stats().Retried > 0 })
	n.workers(b.passing("w1", accepts, saying("w1")))
	if got := ask(t, c, "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
	n.idle()
	if st := m.srv.Stats(); st.Refused == 0 || st.ForwardedOut != 0 || m.bal.Counts().Forwarded != 0 {
		t.Errorf("a forwarded connection was forwarded: %+v", st)
	}
}

// TestBusyPeerIsWaitedFor has a worker that answers later than a dead peer would be given.
func TestBusyPeerIsWaitedFor(t *testing.T) {
	b := newBench(t)
	n, m := b.node("a", Options{}), b.node("b", Options{})
	wake := make(chan struct{})
	w := b.passing("w1", func() Outcome { <-wake; return Accepted }, saying("w1"))
	m.workers(w)
	n.hears("b")
	c := n.connect()
	time.AfterFunc(2*answerLimit, func() { close(wake) }) // longer than a dead peer would be given
	if got := ask(t, c, "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
	n.idle()
	m.idle()
	if st := n.srv.Stats(); st.Retried != 0 || st.ForwardedOut != 1 {
		t.Errorf("%+v", st)
	}
}

// TestFullPeerRefusesInTime fills the window of a worker that never answers.
func TestFullPeerRefusesInTime(t *testing.T) {
	b := newBench(t)
	m := b.node("b", Options{})
	mute := b.passing("mute", func() Outcome { return 0 }, nil)
	m.workers(mute)
	send := func(want byte) net.Conn {
		t.Helper()
		c, err := b.dial(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		b.ends = append(b.ends, func() { c.Close() })
		_ = c.SetDeadline(time.Now().Add(answerLimit))
		if got, err := exchange(c, preamble{App: app, Key: key}, 0); err != nil || got != want {
			t.Fatalf("got %v, %v, want %v", got, err, want)
		}
		return c
	}
	var waiting []net.Conn
	for range 4 {
		waiting = append(waiting, send(answerQueued))
	}
	send(answerRefused)
	m.bal.Picker(app).SetWorkers(nil)
	mute.die()
	for _, c := range waiting {
		_ = c.SetDeadline(time.Now().Add(limit))
		if got, err := readAnswer(c, 0); err != nil || got != answerRefused {
			t.Errorf("after the worker's death: %v, %v", got, err)
		}
	}
	m.idle()
}

// TestStuckPeer has a worker that never answers: the peer is there, so it is not ejected, and its claim lasts as long as the offer.
func TestStuckPeer(t *testing.T) {
	b := newBench(t)
	n, m := b.node("a", Options{}), b.node("b", Options{})
	mute := b.passing("mute", func() Outcome { return 0 }, nil)
	m.workers(mute)
	n.hears("b")
	a := n.asking("b")
	a.until = time.Now().Add(2 * answerLimit)
	if _, err := a.ask(); !errors.Is(err, errPeerRefused) {
		t.Errorf("got %v", err)
	}
	if m.bal.Picker(app).Open("mute") != 1 {
		t.Error("the claim is given back while the worker may still take the offer")
	}
	mute.die()
	m.idle()
}

func TestIngress(t *testing.T) {
	b := newBench(t)
	m := b.node("b", Options{Relays: 1})
	hold := make(chan struct{})
	m.workers(b.listening("w1", func(net.Conn) { <-hold }))
	send := func(raw []byte) net.Conn {
		t.Helper()
		c, err := b.dial(t.Context(), "b")
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(limit))
		b.ends = append(b.ends, func() { c.Close() })
		if _, err := c.Write(raw); err != nil {
			t.Fatal(err)
		}
		return c
	}
	expect := func(what string, c net.Conn, want ...byte) {
		t.Helper()
		got := make([]byte, len(want))
		if _, err := io.ReadFull(c, got); err != nil && len(want) > 0 || !bytes.Equal(got, want) {
			t.Errorf("%s: got %v, %v, want %v", what, got, err, want)
		}
	}
	expect("an unknown app", send(preamble{App: "other", Key: key}.append(nil)), answerRefused)
	taken := send(preamble{App: app, Key: key}.append(nil))
	expect("a worker is free", taken, answerAccepted)
	expect("no room among the relays", send(preamble{App: app, Key: key}.append(nil)), answerRefused)
	if _, err := send(bytes.Repeat([]byte("GET / HTTP/1.1\r\n"), 4)).Read(make([]byte, 1)); err == nil {
		t.Error("junk was answered")
	}
	close(hold)
	taken.Close()
	m.idle()
	if st := m.srv.Stats(); st.Accepted != 3 || st.Refused != 2 || st.Stopped != 1 || st.ForwardedIn != 1 {
		t.Errorf("%+v", st)
	}
}

func FuzzPreamble(f *testing.F) {
	f.Add(preamble{App: "a"}.append(nil))
	f.Add(preamble{App: "shop", Key: "null:80:4", Client: netip.MustParseAddrPort("192.0.2.1:1234")}.append([]byte{}))
	f.Add(preamble{App: "shop", Key: "::1:80:6", Client: netip.MustParseAddrPort("[2001:db8::1]:65535")}.append([]byte{}))
	f.Add(preamble{App: strings.Repeat("a", maxName), Key: strings.Repeat("k", maxName), Local: netip.MustParseAddrPort("[2001:db8::1]:65535")}.append(nil))
	f.Add([]byte("MF\x01"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		p, err := readPreamble(r)
		if err != nil {
			return
		}
		used := len(b) - r.Len()
		if used > preambleFixed+preambleAddress+2+2*maxName {
			t.Errorf("%d bytes were read", used)
		}
		again, err := readPreamble(bytes.NewReader(p.append(nil)))
		if err != nil || again != p {
			t.Errorf("%+v becomes %+v, %v", p, again, err)
		}
	})
}
