package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"

	"meshnode/balancer"
)

const (
	limit = 5 * time.Second // of every wait in these tests
	app   = "shop"
	key   = "null:80:4"
)

// bench is a set of nodes on loopback; finish proves that all was given back.
type bench struct {
	t     *testing.T
	fds   int
	mu    sync.Mutex // guards nodes
	nodes map[string]*tnode
	wg    sync.WaitGroup // of everything a test starts
	ends  []func()
	signs bool // the streams between the nodes are signed
}

// tnode is one node: the data path, and how peers reach it.
type tnode struct {
	b        *bench
	name     string
	bal      *balancer.Balancer
	srv      *Server
	addr     string // of clients
	forwards net.Listener
	served   chan error
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") // Go's poller has descriptors of its own
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	b := &bench{t: t, nodes: make(map[string]*tnode)}
	leaks := goleak.IgnoreCurrent()
	b.fds = descriptors(t)
	t.Cleanup(func() {
		b.finish()
		if err := goleak.Find(leaks); err != nil {
			t.Errorf("goroutines are left: %v", err)
		}
	})
	return b
}

func (b *bench) node(name string, o Options) *tnode {
	b.t.Helper()
	n := &tnode{b: b, name: name, bal: balancer.New(name), served: make(chan error, 1)}
	o.Balancer, o.Logger = n.bal, hclog.NewNullLogger()
	if o.DialPeer == nil {
		o.DialPeer = b.dial
	}
	n.srv = New(o)
	bound, err := n.srv.Listen(app, key, "tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	n.addr = bound.String()
	if n.forwards, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		b.t.Fatal(err)
	}
	if b.signs {
		n.forwards = signingListener{n.forwards}
	}
	go func() { n.served <- n.srv.ServeForwards(n.forwards) }()
	b.set(name, n)
	return n
}

func (b *bench) dial(ctx context.Context, node string) (net.Conn, error) {
	b.mu.Lock()
	n := b.nodes[node]
	b.mu.Unlock()
	if n == nil {
		return nil, errors.New("no such node")
	}
	c, err := new(net.Dialer).DialContext(ctx, "tcp", n.forwards.Addr().String())
	if err == nil && b.signs {
		c = signing{c.(*net.TCPConn)}
	}
	return c, err
}

// signing is a stream whose two ends share a secret.
type signing struct{ *net.TCPConn }

func (signing) Sign(purpose string, message []byte) []byte {
	sum := sha256.Sum256(append([]byte("secret "+purpose+" "), message...))
	return sum[:]
}

type signingListener struct{ net.Listener }

func (l signingListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return signing{c.(*net.TCPConn)}, nil
}

// set has the peers find a node under a name, or none if n is nil.
func (b *bench) set(name string, n *tnode) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.nodes[name] = n; n == nil {
		delete(b.nodes, name)
	}
}

// finish closes everything and proves the invariants.
func (b *bench) finish() {
	t := b.t
	for _, end := range b.ends {
		end()
	}
	for name, n := range b.nodes {
		within(t, "closing "+name, func() { n.srv.Close() })
		n.forwards.Close()
		within(t, "the end of the forwards of "+name, func() { <-n.served })
		if c := n.bal.Counts(); c.Taken != c.Returned {
			t.Errorf("%s: %d claims taken, %d returned", name, c.Taken, c.Returned)
		}
		if st := n.srv.Stats(); st.Open != 0 || st.Accepted != st.Closed {
			t.Errorf("%s: connections are still open: %+v", name, st)
		}
	}
	within(t, "the end of the test's goroutines", b.wg.Wait)
	if now := descriptors(t); now != b.fds {
		t.Errorf("%d descriptors before the test, %d after it", b.fds, now)
	}
}

// within fails the test if f does not return in time.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(limit):
		t.Errorf("no end within %v: %s", limit, what)
		panic("stuck: " + what)
	}
}

// await waits for a condition that a change of the picker makes true.
func (n *tnode) await(what string, cond func() bool) {
	n.b.t.Helper()
	p := n.bal.Picker(app)
	over := time.After(limit)
	for {
		changed := p.Changed()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Millisecond): // a pick is no change
		case <-over:
			n.b.t.Fatalf("not within %v: %s; %+v %+v", limit, what, n.srv.Stats(), n.bal.Counts())
		}
	}
}

// idle waits until every claim of the node is given back.
func (n *tnode) idle() {
	n.b.t.Helper()
	// Between two targets a connection is open and has no claim, for as long as it may wait; what was open ends before its claim.
	ctx, cancel := context.WithTimeout(n.b.t.Context(), patience+limit)
	defer cancel()
	if err := n.srv.Drained(ctx); err != nil {
		n.b.t.Fatalf("connections are left: %v; %+v", err, n.srv.Stats())
	}
	n.await("all claims given back", func() bool { c := n.bal.Counts(); return c.Taken == c.Returned })
	if st := n.srv.Stats(); st.Open != 0 {
		n.b.t.Errorf("no claim is left, and yet: %+v", st)
	}
}

// workers makes the node's workers known and ready.
func (n *tnode) workers(ws ...*fakeWorker) {
	var ready []balancer.Worker
	for _, w := range ws {
		n.srv.SetWorker(w.id, w)
		ready = append(ready, balancer.Worker{ID: w.id, Window: 4})
	}
	n.bal.Picker(app).SetWorkers(ready)
}

// hears makes a peer known as up, with one idle worker.
func (n *tnode) hears(peers ...string) {
	for _, p := range peers {
		n.bal.SetLink(p, true)
		n.bal.Picker(app).SetReport(p, balancer.Report{Ready: 1}, time.Now())
	}
}

// connect opens a client's connection, with a deadline.
func (n *tnode) connect() *net.TCPConn {
	n.b.t.Helper()
	c, err := net.DialTimeout("tcp", n.addr, limit)
	if err != nil {
		n.b.t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(limit))
	n.b.ends = append(n.b.ends, func() { c.Close() })
	return c.(*net.TCPConn)
}

func descriptors(t *testing.T) int {
	t.Helper()
	d, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// dialTo is a way to peers that leads to one stream, once.
func dialTo(c net.Conn) func(context.Context, string) (net.Conn, error) {
	var used atomic.Bool
	return func(context.Context, string) (net.Conn, error) {
		if used.Swap(true) {
			return nil, errors.New("dialed twice")
		}
		return c, nil
	}
}

// asking is an attempt to have a peer take a connection that nobody waits for.
func (n *tnode) asking(peer string) *asking {
	r := balancer.PickResult{Target: balancer.Target{Kind: balancer.KindPeer, ID: peer}}
	return n.srv.newAsking(&conn{app: app, key: key, until: time.Now().Add(limit)}, r)
}

// exchange asks, as the how-manieth question on the stream, and reads the first answer.
func exchange(peer net.Conn, p preamble, turn int) (answer byte, err error) {
	if _, err := peer.Write(signed(peer, turned(signPreamble, turn), p.append(nil))); err != nil {
		return 0, err
	}
	return readAnswer(peer, turn)
}

func readAnswer(peer net.Conn, turn int) (byte, error) {
	q := question{turn: turn}
	return q.read(peer)
}
