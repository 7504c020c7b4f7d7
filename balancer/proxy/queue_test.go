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

// limited makes one worker that may have one connection, and lets one wait.
func limited(b *bench, name string, timeout time.Duration) *tnode {
	n := b.node(name, Options{})
	s := balancer.DefaultSettings()
	s.MaxConnections, s.Queue, s.QueueTimeout = 1, 1, timeout
	n.bal.Picker(app).Configure(s)
	n.workers(b.passing(name+"/w1", accepts, echo))
	return n
}

func TestFullWorkerQueues(t *testing.T) {
	b := newBench(t)
	n := limited(b, "a", limit)
	first := held{n.connect()}
	first.open(t)
	second := n.connect()
	n.waiting(1)
	n.resets() // no more may wait: the third is told at once
	first.Close()
	if got := ask(t, second, "y"); got == "" {
		t.Error("who waited was not served")
	}
	second.Close()
	n.idle()
	if got, want := n.bal.Waits(), (balancer.Waits{Refused: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if st := n.srv.Stats(); st.HandedOff != 2 || st.Refused != 1 {
		t.Errorf("%+v", st)
	}
}

func TestQueueTimesOut(t *testing.T) {
	b := newBench(t)
	n := limited(b, "a", 20*time.Millisecond)
	first := held{n.connect()}
	first.open(t)
	n.resets()
	first.Close()
	n.idle()
	if got, want := n.bal.Waits(), (balancer.Waits{TimedOut: 1}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// TestFullPeerRefuses lets a peer whose worker is taken refuse what its report did not tell, and who waits go there when it has room.
func TestFullPeerRefuses(t *testing.T) {
	b := newBench(t)
	there := limited(b, "there", limit)
	busy := held{there.connect()}
	busy.open(t)
	door := b.node("door", Options{})
	door.bal.Picker(app).Configure(there.bal.Picker(app).Settings())
	door.hears("there")
	c := door.connect()
	door.waiting(1)
	if got := door.bal.Ejected(time.Now()); len(got) != 0 {
		t.Errorf("a full peer is ejected: %+v", got)
	}
	busy.Close()
	door.hears("there")
	if got := ask(t, c, "y"); got == "" {
		t.Error("who waited was not served")
	}
	c.Close()
	door.idle()
	there.idle()
}

func TestCloseWithAQueue(t *testing.T) {
	b := newBench(t)
	n := limited(b, "a", time.Hour)
	first := held{n.connect()}
	first.open(t)
	second := n.connect()
	n.waiting(1)
	within(t, "close", func() { n.srv.Close() })
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	first.Close()
}

// waiting waits until so many connections wait.
func (n *tnode) waiting(k int) {
	n.b.t.Helper()
	over := time.Now().Add(limit)
	for n.bal.Waits().Waiting != k {
		if time.Now().After(over) {
			n.b.t.Fatalf("not within %v: %d wait, %+v", limit, k, n.bal.Waits())
		}
		select {
		case <-n.bal.Picker(app).Changed():
		case <-time.After(time.Millisecond): // waiting is no event
		}
	}
}

// resets connects, and is refused.
func (n *tnode) resets() {
	n.b.t.Helper()
	c, err := net.DialTimeout("tcp", n.addr, limit)
	if err == nil { // the reset may come before dialing has ended
		_ = c.SetDeadline(time.Now().Add(limit))
		_, err = c.Read(make([]byte, 1))
		c.Close()
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		n.b.t.Errorf("got %v, want a reset", err)
	}
}

// held is a connection that a worker keeps.
type held struct{ *net.TCPConn }

// open makes sure that a worker has it.
func (h held) open(t *testing.T) {
	t.Helper()
	if _, err := h.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(h, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
}
