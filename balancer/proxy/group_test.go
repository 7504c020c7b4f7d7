package proxy

import (
	"errors"
	"io"
	"math"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"meshnode/balancer"
	"meshnode/balancer/reuseport"
)

// sharer is a worker that accepts by itself, beside what it is offered.
type sharer struct {
	*fakeWorker
	n     *tnode
	ln    net.Listener
	taken atomic.Uint64 // by itself
	open  atomic.Int64  // of these
}

// sharing makes a worker with a listening socket of its own. It echoes its name.
func (n *tnode) sharing(id string) *sharer {
	n.b.t.Helper()
	s := &sharer{n: n, fakeWorker: n.b.passing(id, accepts, answering(id))}
	f := n.srv.Share(app, key, id)
	if f == nil {
		n.b.t.Skip("the kernel does not choose among sockets for this user")
	}
	ln, err := net.FileListener(f)
	f.Close()
	if err != nil {
		n.b.t.Fatal(err)
	}
	s.ln = ln
	n.b.ends = append(n.b.ends, func() { ln.Close() })
	return s
}

// answering is a handler that says who it is.
func answering(id string) func(net.Conn) {
	return func(c net.Conn) {
		_, _ = io.WriteString(c, id+"\n")
		_, _ = io.Copy(io.Discard, c)
		c.Close()
	}
}

// accept takes connections until the socket is closed.
func (s *sharer) accept() {
	s.b.wg.Go(func() {
		for {
			c, err := s.ln.Accept()
			if err != nil {
				return
			}
			s.taken.Add(1)
			s.open.Add(1)
			s.b.wg.Go(func() {
				answering(s.id)(c)
				s.open.Add(-1)
			})
		}
	})
}

// report is what the worker's preload says.
func (s *sharer) report() {
	s.n.bal.Picker(app).SetDirect(s.id, balancer.Direct{Open: int(s.open.Load()), Taken: s.taken.Load()}, time.Now())
	s.n.srv.Heard(app, s.id, Accepts{Taken: map[string]uint64{key: s.taken.Load()}})
}

// name reads which worker serves a connection.
func name(t *testing.T, c net.Conn) string {
	t.Helper()
	b := make([]byte, 2)
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	return string(b[:1])
}

func (n *tnode) ready(ws ...*sharer) {
	var fakes []*fakeWorker
	for _, w := range ws {
		fakes = append(fakes, w.fakeWorker)
	}
	n.workers(fakes...)
	n.srv.Steer(app)
}

func (n *tnode) names(k int) map[string]int {
	n.b.t.Helper()
	out := make(map[string]int)
	for range k {
		out[name(n.b.t, n.connect())]++
	}
	return out
}

func TestWorkersAcceptByThemselves(t *testing.T) {
	b := newBench(t)
	n := b.node("one", Options{Direct: true})
	x, y := n.sharing("x"), n.sharing("y")
	x.accept()
	y.accept()
	n.ready(x, y)
	if got := n.names(4); got["x"] != 2 || got["y"] != 2 || x.taken.Load()+y.taken.Load() != 0 {
		t.Errorf("before the first report the node places all: %v, by themselves %d and %d", got, x.taken.Load(), y.taken.Load())
	}
	x.report()
	y.report()
	if got := n.names(40); got["x"] != 20 || got["y"] != 20 || x.taken.Load() != 20 || y.taken.Load() != 20 {
		t.Errorf("the kernel spreads by what is open: %v, by themselves %d and %d", got, x.taken.Load(), y.taken.Load())
	}
	x.report()
	y.report()
	z := n.sharing("z")
	z.accept()
	n.ready(x, y, z)
	z.report()
	if got := n.names(10); got["z"] != 10 {
		t.Errorf("the new worker has least: %v", got)
	}
	z.report()
	// Where a peer is to be asked, the node places all.
	n.hears("peer")
	n.srv.Steer(app)
	if k := n.bal.Picker(app).Room(time.Now()); k != 0 {
		t.Fatalf("room for %d: the peer is idle, the workers are not", k)
	}
	before := x.taken.Load() + y.taken.Load() + z.taken.Load()
	n.names(3) // to the peer in vain, then here
	if after := x.taken.Load() + y.taken.Load() + z.taken.Load(); after != before {
		t.Errorf("%d were accepted by workers while the node steers", after-before)
	}
}

// TestWaitingConnectionsAreRescued: nothing that waits for a worker is lost when it stops, leaves or dies, and others serve it.
func TestWaitingConnectionsAreRescued(t *testing.T) {
	for what, end := range map[string]func(n *tnode, x, y *sharer){
		"it is out of the routing": func(n *tnode, _, y *sharer) { n.ready(y) },
		"it closed its socket": func(n *tnode, x, y *sharer) {
			n.bal.Picker(app).SetWorkers([]balancer.Worker{{ID: "y", Window: 4}}) // it is the only one, so all go on to y
			x.ln.Close()
			n.srv.Unshare(app, key, "x")
		},
		"it died": func(n *tnode, x, y *sharer) {
			n.bal.Picker(app).SetWorkers([]balancer.Worker{{ID: "y", Window: 4}})
			x.ln.Close()
			x.die()
			n.srv.RemoveWorker("x")
		},
	} {
		t.Run(what, func(t *testing.T) {
			b := newBench(t)
			n := b.node("one", Options{Direct: true})
			x, y := n.sharing("x"), n.sharing("y")
			n.ready(x, y)
			x.report() // and does not accept
			var waiting []net.Conn
			for range 20 {
				waiting = append(waiting, n.connect())
			}
			y.accept()
			end(n, x, y)
			y.report()
			for i, c := range waiting {
				if got := name(t, c); got != "y" {
					t.Errorf("connection %d went to %s", i, got)
				}
			}
			n.ready(y)
			if got := n.names(10); got["y"] != 10 {
				t.Errorf("new ones go to %v", got)
			}
		})
	}
}

// TestDriftIsForgotten: connections that a worker was credited with and never saw do not count for ever.
func TestDriftIsForgotten(t *testing.T) {
	b := newBench(t)
	n := b.node("one", Options{Direct: true})
	x, y := n.sharing("x"), n.sharing("y")
	n.ready(x)
	x.report()
	for range 8 {
		n.connect()
	}
	n.ready(y) // the node takes them
	n.await("the node to have them", func() bool { return n.srv.Stats().Accepted == 8 })
	y.accept()
	x.accept()
	n.ready(x, y)
	g := n.srv.listener(app, key).group
	for i, m := range []string{"x", "y"} {
		now := time.Now()
		for k := range 3 {
			g.hear(m, 0, false, now.Add(time.Duration(k)*driftWindow))
		}
		if want := int64(8 - 8*i); g.members[m].drift != want {
			t.Errorf("%s: drift %d, want %d", m, g.members[m].drift, want)
		}
	}
}

func TestPortOfAGroupIsTaken(t *testing.T) {
	b := newBench(t)
	n := b.node("one", Options{Direct: true})
	n.sharing("x")
	other := New(Options{Balancer: balancer.New("other"), Logger: n.srv.log, Direct: true})
	defer other.Close()
	if _, err := other.Listen(app, key, "tcp", n.addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a second node opens the port: %v", err)
	}
	if _, err := net.Listen("tcp", n.addr); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("another program opens the port: %v", err)
	}
}

func TestSwitchedOff(t *testing.T) {
	b := newBench(t)
	n := b.node("one", Options{})
	if f := n.srv.Share(app, key, "x"); f != nil {
		t.Error("a worker was given a socket")
	}
	if !n.srv.Rejoin(app, key, "x") || n.srv.Shares(app, "x") {
		t.Error("it has none")
	}
}

// TestLevel fills workers up from the least loaded.
func TestLevel(t *testing.T) {
	for _, c := range []struct {
		loads []int
		room  int
		want  int32
	}{
		{nil, 5, math.MinInt32},
		{[]int{0, 0}, 0, math.MinInt32},
		{[]int{0, 0}, 1, 1},
		{[]int{0, 0}, 2, 1},
		{[]int{0, 0}, 3, 2},
		{[]int{5, 0}, 4, 4},
		{[]int{5, 0}, 5, 5},
		{[]int{5, 0}, 6, 6},
		{[]int{5, 0, 7}, 9, 7},
		{[]int{5, 0, 7}, 10, 8},
		{[]int{3}, balancer.Unbounded, math.MaxInt32},
	} {
		if got := level(c.loads, c.room); got != c.want {
			t.Errorf("%v and %d more: up to %d, want %d", c.loads, c.room, got, c.want)
		}
	}
}

// TestNodeTakesWhatIsBeyond: as many as would be served here anyway are accepted by the workers, and not one more.
func TestNodeTakesWhatIsBeyond(t *testing.T) {
	b := newBench(t)
	n := b.node("one", Options{Direct: true})
	x, y := n.sharing("x"), n.sharing("y")
	x.accept()
	y.accept()
	n.ready(x, y)
	n.hears("peer")
	x.report()
	y.report()
	n.names(6)
	if d := x.taken.Load() + y.taken.Load(); d != 2 {
		t.Errorf("%d were accepted by workers, want one for each", d)
	}
	if k := n.bal.Counts().Forwarded; k != 1 {
		t.Errorf("%d were tried on the idle peer, want the first one beyond, though no worker has reported; then it is out", k)
	}
}

func TestManyWorkersShare(t *testing.T) {
	b := newBench(t)
	n := b.node("one", Options{Direct: true})
	var fs []*os.File
	for i := range reuseport.Slots + 2 {
		if f := n.srv.Share(app, key, string(rune('A'+i))); f != nil {
			fs = append(fs, f)
		}
	}
	if len(fs) > 0 && len(fs) != reuseport.Slots {
		t.Errorf("%d sockets, want %d", len(fs), reuseport.Slots)
	}
	for _, f := range slices.Backward(fs) {
		f.Close()
	}
	n.srv.Unshare(app, key, "A")
	if f := n.srv.Share(app, key, "again"); f == nil && len(fs) > 0 {
		t.Error("a slot is free again")
	} else if f != nil {
		f.Close()
	}
}

// A door that fades refuses who comes from then on, while it still takes whom the kernel has let in.
func TestFadingDoorRefuses(t *testing.T) {
	b := newBench(t)
	n := b.node("one", Options{Direct: true})
	x := n.sharing("x")
	x.accept()
	n.ready(x)
	x.report()
	n.names(2)
	x.ln.Close()
	n.srv.Unshare(app, key, "x")
	l := n.srv.listener(app, key)
	n.srv.StopAccepting()
	c, err := net.DialTimeout("tcp", l.bound.String(), 5*time.Second)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the door is open: %v", err)
	}
	if err == nil {
		c.Close()
	}
	<-l.done
}
