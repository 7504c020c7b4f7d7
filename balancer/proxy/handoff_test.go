package proxy

import (
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"meshnode/balancer"
)

func TestHandOff(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.passing("w1", accepts, saying("w1")))
	c := n.connect()
	if got := ask(t, c, "hello"); got != "w1:hello" {
		t.Errorf("got %q", got)
	}
	c.Close()
	n.idle() // by the kernel's notice: nothing else tells the end of a socket that the worker has
	if st := n.srv.Stats(); st.HandedOff != 1 || st.Accepted != 1 || st.Refused != 0 {
		t.Errorf("%+v", st)
	}
}

func TestHandedOffSocketIsTheWorkersAlone(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	hold := make(chan struct{})
	n.workers(b.passing("w1", accepts, func(net.Conn) { <-hold }))
	before := descriptors(t)
	n.connect()
	n.await("taken", func() bool { return n.srv.Stats().HandedOff == 1 })
	// The worker's copy and the client's end; ours is closed by the time the next connection was answered.
	c := n.connect()
	n.await("taken", func() bool { return n.srv.Stats().HandedOff == 2 })
	if got := descriptors(t) - before; got > 5 {
		t.Errorf("two connections hold %d descriptors, clients and workers included", got)
	}
	close(hold)
	c.Close()
}

func TestRefusedAndLostOffersGoElsewhere(t *testing.T) {
	for _, tc := range []struct {
		name    string
		verdict func(dead chan<- struct{}) Outcome
	}{
		{"refused", func(chan<- struct{}) Outcome { return Refused }},
		{"lost", func(dead chan<- struct{}) Outcome { dead <- struct{}{}; return 0 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := newBench(t)
			n := b.node("a", Options{})
			dead := make(chan struct{}, 1)
			bad := b.passing("bad", func() Outcome { return tc.verdict(dead) }, nil)
			n.workers(bad)
			c := n.connect()
			if _, err := c.Write([]byte("early ")); err != nil { // sent before anybody took it
				t.Fatal(err)
			}
			<-bad.seen
			n.workers(bad, b.passing("good", accepts, saying("good")))
			select {
			case <-dead:
				bad.die()
				n.srv.RemoveWorker("bad")
			default:
			}
			if got := ask(t, c, "late"); got != "good:early late" {
				t.Errorf("got %q", got)
			}
			c.Close()
			n.idle()
			if st := n.srv.Stats(); st.Retried == 0 || st.Refused != 0 || st.HandedOff != 1 {
				t.Errorf("%+v", st)
			}
		})
	}
}

func TestNobodyServesMeansReset(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	c := n.connect()
	_ = c.SetDeadline(time.Now().Add(2 * limit))
	begun := time.Now()
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if d := time.Since(begun); d < patience/2 || d > 2*patience {
		t.Errorf("refused after %v, patience is %v", d, patience)
	}
	// Those behind it do not wait as long again.
	begun = time.Now()
	second, err := net.DialTimeout("tcp", n.addr, limit)
	if err == nil { // the reset may come before dialing has ended
		_ = second.SetDeadline(time.Now().Add(limit))
		_, err = second.Read(make([]byte, 1))
		second.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if d := time.Since(begun); d > patience/2 {
		t.Errorf("the second was refused after %v, want at once", d)
	}
	// And as soon as there is a worker all is well again.
	n.workers(b.passing("w1", accepts, saying("w1")))
	if got := ask(t, n.connect(), "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
	if st := n.srv.Stats(); st.Refused != 2 {
		t.Errorf("%+v", st)
	}
}

func TestConnectionWaitsForAWorker(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	c := n.connect()
	n.workers(b.passing("w1", accepts, saying("w1")))
	if got := ask(t, c, "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
}

func TestDialedWorker(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.listening("w1", saying("w1")))
	if got := ask(t, n.connect(), "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
	n.idle()
}

func TestUnreachableDialedWorker(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	gone := b.listening("gone", nil)
	gone.dialed.Close()
	n.workers(gone, b.listening("w2", saying("w2")))
	for range 4 {
		if got := ask(t, n.connect(), "x"); got != "w2:x" {
			t.Errorf("got %q", got)
		}
	}
	n.idle()
}

func TestRelayBound(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{Relays: 1})
	gone := b.listening("gone", nil)
	gone.dialed.Close()
	n.workers(gone, b.listening("w2", saying("w2")))
	// A connection that tries one target after the other needs room once.
	first := n.connect()
	if _, err := first.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	n.await("a relay", func() bool { return n.bal.Picker(app).Open("w2") == 1 })
	second := n.connect()
	if _, err := second.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	if got := ask(t, first, ""); got != "w2:x" {
		t.Errorf("got %q", got)
	}
	if got := ask(t, second, ""); got != "w2:y" {
		t.Errorf("got %q", got)
	}
	n.idle()
}

func TestListenerStop(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	var clients []*net.TCPConn
	for range 20 { // one waits for a worker, the others in the backlog
		clients = append(clients, n.connect())
	}
	n.srv.StopAccepting()
	n.workers(b.passing("w1", accepts, saying("w1")))
	for _, c := range clients {
		if got := ask(t, c, "x"); got != "w1:x" {
			t.Errorf("got %q", got)
		}
		c.Close()
	}
	n.idle()
	if len(n.srv.Listeners()) != 0 {
		t.Error("there still are listeners")
	}
}

func TestListen(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	again, err := n.srv.Listen(app, key, "tcp", "127.0.0.1:0")
	if err != nil || again.String() != n.addr {
		t.Errorf("a second call gives %v %v, want %v", again, err, n.addr)
	}
	if _, err := n.srv.Listen("other", key, "tcp", n.addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got %v", err)
	}
	n.srv.Unlisten(app, "")
	n.srv.Close()
	if _, err := n.srv.Listen(app, key, "tcp", "127.0.0.1:0"); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestCloseWithAnOfferOpen(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	w := b.passing("mute", func() Outcome { return 0 }, nil)
	n.workers(w)
	c := n.connect()
	<-w.seen
	within(t, "closing with an offer open", func() { n.srv.Close() })
	w.die()
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v, want a reset", err)
	}
}

func TestDropKeepsTotals(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.passing("w1", accepts, saying("w1")))
	c := n.connect()
	ask(t, c, "x")
	c.Close()
	n.idle()
	n.bal.Drop(app)
	if got := n.bal.Counts(); got != (balancer.Counts{Taken: 1, Returned: 1}) {
		t.Errorf("%+v", got)
	}
}
