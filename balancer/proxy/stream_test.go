package proxy

import (
	"errors"
	"io"
	"testing"
	"time"
)

// speaking is a node that forwards to one whose worker takes the streams of peers.
func speaking(b *bench, verdict func() Outcome) (n, m *tnode, w *fakeWorker) {
	b.signs = true
	n, m = b.node("a", Options{}), b.node("b", Options{})
	n.hears("b")
	w = b.passing("w1", verdict, saying("w1"))
	m.workers(w)
	m.srv.SetWorker(w.id, speaker{w})
	return n, m, w
}

func TestStreamIsTheWorkers(t *testing.T) {
	b := newBench(t)
	n, m, w := speaking(b, accepts)
	c := n.connect()
	if got := ask(t, c, "hello"); got != "w1:hello" {
		t.Errorf("got %q", got)
	}
	n.idle()
	m.idle()
	if st := m.srv.Stats(); st.ForwardedIn != 1 || st.HandedOff != 1 || m.srv.Crossing() != 0 {
		t.Errorf("%+v", st)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if want := c.LocalAddr().String(); w.remote.String() != want {
		t.Errorf("the worker is told that the client is %v, it is %v", w.remote, want)
	}
}

// TestStreamRefusedGoesElsewhere has a worker that refuses, and another on the same node that does not.
func TestStreamRefusedGoesElsewhere(t *testing.T) {
	b := newBench(t)
	n, m, w := speaking(b, func() Outcome { return Refused })
	w2 := b.passing("w2", accepts, saying("w2"))
	c := n.connect()
	m.await("a refusal", func() bool { return m.srv.Stats().Retried > 0 })
	m.workers(w, w2)
	m.srv.SetWorker(w2.id, speaker{w2})
	if got := ask(t, c, "x"); got != "w2:x" {
		t.Errorf("got %q", got)
	}
	n.idle()
	m.idle()
}

// TestStreamOfALostWorkerGoesElsewhere has a worker die with an offer that it has not answered.
func TestStreamOfALostWorkerGoesElsewhere(t *testing.T) {
	b := newBench(t)
	n, m, w := speaking(b, func() Outcome { return 0 })
	c := n.connect()
	select {
	case <-w.seen:
	case <-time.After(limit):
		t.Fatal("no offer came")
	}
	w2 := b.passing("w2", accepts, saying("w2"))
	m.workers(w2)
	m.srv.SetWorker(w2.id, speaker{w2})
	w.die()
	if got := ask(t, c, "x"); got != "w2:x" {
		t.Errorf("got %q", got)
	}
	n.idle()
	m.idle()
}

// TestForgedAnswerIsAFailure has a peer that cannot sign.
func TestForgedAnswerIsAFailure(t *testing.T) {
	b := newBench(t)
	m := b.node("b", Options{}) // does not sign
	m.workers(b.passing("w1", accepts, saying("w1")))
	b.signs = true
	c, err := b.dial(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write(preamble{App: app, Key: key}.append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(make([]byte, 64)); err != nil { // what would be a signature, and bytes of a client
		t.Fatal(err)
	}
	if a, err := readAnswer(c, 0); !errors.Is(err, errForged) && !errors.Is(err, io.ErrUnexpectedEOF) && err == nil {
		t.Errorf("answer %d was taken, %v", a, err)
	}
	b.signs = false
}

// TestUnsignedPreambleIsDropped has a peer that does not sign what it asks for.
func TestUnsignedPreambleIsDropped(t *testing.T) {
	b := newBench(t)
	b.signs = true
	m := b.node("b", Options{})
	m.workers(b.passing("w1", accepts, saying("w1")))
	c, err := b.dial(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(limit))
	if _, err := c.Write(append(preamble{App: app, Key: key}.append(nil), make([]byte, 32)...)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes of an answer came", n)
	}
	if st := m.srv.Stats(); st.Accepted != 0 {
		t.Errorf("%+v", st)
	}
}
