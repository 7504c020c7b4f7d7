package proxy

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// counted counts the dials, and tells of each.
func (b *bench) counted(dials *atomic.Int64, each chan struct{}) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, node string) (net.Conn, error) {
		c, err := b.dial(ctx, node)
		dials.Add(1)
		select {
		case each <- struct{}{}:
		default:
		}
		return c, err
	}
}

func (n *tnode) shelved(peer string) int {
	w := &n.srv.way.streams
	w.mu.Lock()
	defer w.mu.Unlock()
	if k := w.shelves[peer]; k != nil {
		return len(k.ready)
	}
	return 0
}

// filled waits until streams to a peer wait for use.
func (n *tnode) filled(peer string, each chan struct{}) {
	n.b.t.Helper()
	over := time.After(limit)
	for n.shelved(peer) == 0 {
		select {
		case <-each:
		case <-time.After(time.Millisecond): // between the dial and the shelf
		case <-over:
			n.b.t.Fatal("no stream waits for use")
		}
	}
}

func TestStreamsWaitForUse(t *testing.T) {
	b := newBench(t)
	var dials atomic.Int64
	each := make(chan struct{}, 64)
	n, m := b.node("a", Options{DialPeer: b.counted(&dials, each)}), b.node("b", Options{})
	n.hears("b")
	m.workers(b.listening("w1", saying("w1")))
	for range 8 {
		if got := ask(t, n.connect(), "x"); got != "w1:x" {
			t.Fatalf("got %q", got)
		}
		n.idle()
		n.filled("b", each)
	}
	if k := n.shelved("b"); k > streamsMost {
		t.Errorf("%d streams wait", k)
	}
	n.srv.DropStreams("b")
	if k := n.shelved("b"); k > 1 { // one may have been on its way
		t.Errorf("%d streams are left", k)
	}
}

// TestRefusalCostsNoStream asks a peer again and again that has no worker, and at last one.
func TestRefusalCostsNoStream(t *testing.T) {
	for name, signs := range map[string]bool{"bare": false, "signed": true} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.signs = signs
			var dials atomic.Int64
			n, m := b.node("a", Options{DialPeer: b.counted(&dials, nil)}), b.node("b", Options{})
			m.bal.Picker(app)
			turns := 0
			for range 20 {
				a := n.asking("b")
				if _, err := a.ask(); !errors.Is(err, errPeerRefused) {
					t.Fatalf("got %v", err)
				}
				turns = max(turns, a.turn)
			}
			if d := dials.Load(); d > 3 || turns < 15 { // one for the first question, and those that are to wait for use
				t.Errorf("%d streams were opened, and the most questions on one were %d", d, turns)
			}
			m.workers(b.listening("w1", saying("w1")))
			a := n.asking("b")
			c, err := a.ask()
			if err != nil || a.turn == 0 {
				t.Fatalf("a worker has come: %v, question %d", err, a.turn)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(limit))
			bare, ok := c.(*net.TCPConn)
			if !ok {
				bare = c.(signing).TCPConn
			}
			if got := ask(t, bare, "x"); got != "w1:x" {
				t.Errorf("got %q", got)
			}
			c.Close()
			n.idle()
			m.idle()
		})
	}
}

type signingPipe struct{ net.Conn }

func (signingPipe) Sign(purpose string, message []byte) []byte {
	return signing{}.Sign(purpose, message)
}

// TestOldAnswersMeanNothing has an answer of the question before come again.
func TestOldAnswersMeanNothing(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	peer := signingPipe{theirs}
	go func() { _, _ = ours.Write(signed(peer, turned(signAnswer, 0), []byte{answerAccepted})) }()
	if a, err := readAnswer(peer, 1); !errors.Is(err, errForged) {
		t.Errorf("answer %d was taken, %v", a, err)
	}
}

// TestAnswerInParts has the time be over in the middle of an answer.
func TestAnswerInParts(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	peer := signingPipe{theirs}
	answer := signed(peer, turned(signAnswer, 2), []byte{answerAccepted})
	q := question{turn: 2}
	first := make(chan error, 1)
	go func() {
		_, err := q.read(peer)
		first <- err
	}()
	if _, err := ours.Write(answer[:9]); err != nil { // it was read when this returns
		t.Fatal(err)
	}
	_ = theirs.SetReadDeadline(time.Unix(1, 0))
	if err := <-first; !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %v", err)
	}
	_ = theirs.SetReadDeadline(time.Time{})
	go func() { _, _ = ours.Write(answer[9:]) }()
	if a, err := q.read(peer); err != nil || a != answerAccepted {
		t.Errorf("got answer %d, %v", a, err)
	}
}

// TestDeadStreamCostsNothing has the streams that wait for use end unseen: the peer is dialed anew, and not blamed.
func TestDeadStreamCostsNothing(t *testing.T) {
	b := newBench(t)
	var dials atomic.Int64
	each := make(chan struct{}, 64)
	n, m := b.node("a", Options{DialPeer: b.counted(&dials, each)}), b.node("b", Options{})
	n.hears("b")
	m.workers(b.listening("w1", saying("w1")))
	if got := ask(t, n.connect(), "x"); got != "w1:x" {
		t.Fatalf("got %q", got)
	}
	n.filled("b", each)
	ours, theirs := net.Pipe() // of which the kernel knows nothing
	theirs.Close()
	w := &n.srv.way.streams
	w.mu.Lock()
	k := w.shelves["b"]
	k.ready = append(k.ready, waiting{ours, time.Now(), 0})
	w.mu.Unlock()
	if got := ask(t, n.connect(), "x"); got != "w1:x" {
		t.Fatalf("got %q", got)
	}
	n.idle()
	if st := n.srv.Stats(); st.Retried != 0 || st.ForwardedOut != 2 {
		t.Errorf("%+v", st)
	}
}

// TestStreamThatHasEndedIsNotUsed has the kernel know.
func TestStreamThatHasEndedIsNotUsed(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if !alive(c) {
		t.Error("a stream that is open counts as ended")
	}
	if _, err := s.Write([]byte("x")); err != nil { // a session ticket, say
		t.Fatal(err)
	}
	s.Close()
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Fatal("no end")
	}
	if alive(c) {
		t.Error("a stream that has ended counts as open")
	}
}

// silent is a peer whose process is stopped: the kernel accepts, nobody answers.
func (b *bench) silent(n *tnode, name string) {
	b.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	b.set(name, &tnode{b: b, name: name, bal: n.bal, srv: n.srv, forwards: ln, served: closedErrors()})
	b.ends = append(b.ends, func() { ln.Close(); b.set(name, nil) })
}

// hedging is a node that knows a silent peer only, and once it has asked that one, also what then tells of.
func (b *bench) hedging(then func(n *tnode)) *tnode {
	var n *tnode
	var once sync.Once
	n = b.node("a", Options{DialPeer: func(ctx context.Context, node string) (net.Conn, error) {
		if node == "silent" {
			once.Do(func() { then(n) })
		}
		return b.dial(ctx, node)
	}})
	b.silent(n, "silent")
	n.hears("silent")
	return n
}

// TestSilentPeerIsHedged has a peer that says nothing while another one would: the client does not wait until the first is given up.
func TestSilentPeerIsHedged(t *testing.T) {
	b := newBench(t)
	good := b.node("good", Options{})
	good.workers(b.passing("w1", accepts, saying("w1")))
	n := b.hedging(func(n *tnode) { n.hears("good") })
	if got := ask(t, n.connect(), "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
	n.idle()
	good.idle()
	if st := n.srv.Stats(); st.Hedged != 1 || st.ForwardedOut != 1 {
		t.Errorf("%+v", st)
	}
}

// TestSilentPeerIsHedgedHere is the same with a worker of this node.
func TestSilentPeerIsHedgedHere(t *testing.T) {
	b := newBench(t)
	w := b.passing("w1", accepts, saying("w1"))
	n := b.hedging(func(n *tnode) { n.workers(w) })
	if got := ask(t, n.connect(), "x"); got != "w1:x" {
		t.Errorf("got %q", got)
	}
	n.idle()
	if st := n.srv.Stats(); st.Hedged != 1 || st.HandedOff != 1 {
		t.Errorf("%+v", st)
	}
}

// TestHedgesAreBounded has so many connections asked for twice that no other may be.
func TestHedgesAreBounded(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.srv.stats.hedging.Store(hedgesMost)
	first := &asking{s: n.srv}
	if done, _ := n.srv.hedge(&conn{s: n.srv}, first); done {
		t.Error("one more was allowed")
	}
	if st := n.srv.Stats(); st.Unhedged != 1 || n.srv.stats.hedging.Load() != hedgesMost {
		t.Errorf("%+v", st)
	}
}

// TestBurstAtADoorWithoutWorkers has many clients come at once to a node that passes all of them on, to a peer that turns away whoever opens more than so
// many streams at the same time.
func TestBurstAtADoorWithoutWorkers(t *testing.T) {
	b := newBench(t)
	var under, most, turned atomic.Int64
	n := b.node("a", Options{DialPeer: func(ctx context.Context, node string) (net.Conn, error) {
		k := under.Add(1)
		defer under.Add(-1)
		for was := most.Load(); k > was && !most.CompareAndSwap(was, k); was = most.Load() {
		}
		if k > 2*dialsMost {
			turned.Add(1)
			return nil, errors.New("too many handshakes")
		}
		<-time.After(2 * time.Millisecond) // what a handshake takes
		return b.dial(ctx, node)
	}})
	m := b.node("b", Options{})
	n.hears("b")
	m.workers(b.listening("w1", saying("w1")))
	const clients = 8 * dialsMost
	answers := make(chan string, clients)
	for range clients {
		c := n.connect()
		b.wg.Go(func() { answers <- ask(t, c, "x") })
	}
	for range clients {
		if got := <-answers; got != "w1:x" {
			t.Errorf("got %q", got)
		}
	}
	if k := most.Load(); k > dialsMost+1 || turned.Load() > 0 { // and the one for the shelf
		t.Errorf("%d streams were opened at the same time, %d turned away", k, turned.Load())
	}
	if k := len(n.srv.way.dials.by); k > 0 {
		t.Errorf("%d doorways are left", k)
	}
}
