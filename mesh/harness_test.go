package mesh_test

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"meshnode/mesh"
	"meshnode/mesh/meshtest"
)

// TestMain runs the tests on one processor: with more, the race detector's runtime crashes inside synctest bubbles now and then, because the
// timers of a bubble share one race context (golang/go#78156). Races are found all the same.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(1)
	os.Exit(m.Run())
}

// peer is one node of a test cluster with everything its callbacks said.
type peer struct {
	*mesh.Mesh
	host *meshtest.Host
	name string

	mu        sync.Mutex
	loads     map[string][]mesh.Load
	links     map[string][]bool
	linkAt    map[string]time.Time // of the last link callback
	cuts      []string
	conflicts []mesh.Member
}

// world is a network in memory and the key its nodes use. It must be used inside a synctest bubble.
type world struct {
	t   *testing.T
	net *meshtest.Network
	key []byte
}

func newWorld(t *testing.T, o meshtest.Options) *world {
	w := &world{t: t, net: meshtest.New(o), key: []byte("0123456789abcdef0123456789abcdef")}
	t.Cleanup(func() {
		w.net.Close()
		// The last probes of memberlist outlive its Shutdown by their time-outs; a bubble's clock stands still once its test has returned.
		<-time.After(time.Minute)
	})
	return w
}

func addrOf(i int) string { return fmt.Sprintf("10.0.%d.%d:7946", i/250, i%250+1) }

// options returns working options for a node.
func (w *world) options(p *peer, self mesh.Member) mesh.Options {
	w.t.Helper()
	packets, err := p.host.Packets()
	if err != nil {
		w.t.Fatal(err)
	}
	gossip, err := p.host.Listen("gossip")
	if err != nil {
		w.t.Fatal(err)
	}
	load, err := p.host.Listen("load")
	if err != nil {
		w.t.Fatal(err)
	}
	return mesh.Options{
		Self: self, Packets: packets, Key: w.key, GossipListener: gossip, LoadListener: load,
		DialGossip: p.host.Dialer("gossip"), DialLoad: p.host.Dialer("load"),
		OnLoad: func(from string, l mesh.Load, _ time.Time) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.loads[from] = append(p.loads[from], l)
		},
		OnLink: func(from string, up bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.links[from] = append(p.links[from], up)
			p.linkAt[from] = time.Now()
		},
		OnUnreachable: func(who string) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.cuts = append(p.cuts, who)
		},
		OnConflict: func(existing, other mesh.Member) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.conflicts = append(p.conflicts, existing, other)
		},
	}
}

func (w *world) peer(self mesh.Member) *peer {
	return &peer{
		host: w.net.Host(self.Addr), name: self.Name,
		loads: make(map[string][]mesh.Load), links: make(map[string][]bool), linkAt: make(map[string]time.Time),
	}
}

// start opens a node; change may alter its options. The node is closed with the test.
func (w *world) start(self mesh.Member, change func(*mesh.Options)) *peer {
	w.t.Helper()
	p := w.peer(self)
	o := w.options(p, self)
	if change != nil {
		change(&o)
	}
	m, err := mesh.Open(o)
	if err != nil {
		w.t.Fatal(err)
	}
	p.Mesh = m
	w.t.Cleanup(func() {
		if err := m.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return p
}

// node is the i-th node's usual self.
func node(i int) mesh.Member {
	return mesh.Member{
		Name: fmt.Sprintf("n%d", i), ID: fmt.Sprintf("s%d-0000", i), Addr: addrOf(i), Cluster: "c1", Version: "1.0.0", Cores: 4,
	}
}

// cluster starts n nodes, joins them to the first and waits until all know all.
func (w *world) cluster(n int) []*peer {
	w.t.Helper()
	peers := make([]*peer, n)
	for i := range peers {
		peers[i] = w.start(node(i), nil)
		if i > 0 {
			w.join(peers[i], peers[0])
		}
	}
	for _, p := range peers {
		w.eventually(15*time.Second, p.name+" sees everybody alive", func() bool { return p.count(mesh.Alive) == n })
	}
	return peers
}

func (w *world) join(p, to *peer) {
	w.t.Helper()
	if n, err := p.Join(w.t.Context(), []string{to.host.Addr()}); n != 1 || err != nil {
		w.t.Fatalf("join: %d, %v", n, err)
	}
}

// eventually waits in steps of 10 ms of the bubble's time and returns how long it took.
func (w *world) eventually(limit time.Duration, what string, ok func() bool) time.Duration {
	w.t.Helper()
	begin := time.Now()
	for {
		synctest.Wait()
		if ok() {
			return time.Since(begin)
		}
		if time.Since(begin) > limit {
			w.t.Fatalf("not within %v: %s", limit, what)
		}
		<-time.After(10 * time.Millisecond)
	}
}

func (p *peer) count(s mesh.Status) int {
	n := 0
	for _, m := range p.Members() {
		if m.Status == s {
			n++
		}
	}
	return n
}

func (p *peer) status(name string) mesh.Status {
	for _, m := range p.Members() {
		if m.Name == name {
			return m.Status
		}
	}
	return ""
}

func (p *peer) linkUp(name string) bool { return p.Loads()[name].Link }

// heard returns the records that came from a peer.
func (p *peer) heard(from string) []mesh.Load {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]mesh.Load(nil), p.loads[from]...)
}

// links returns what OnLink said of a peer, and when it last spoke.
func (p *peer) linked(from string) ([]bool, time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]bool(nil), p.links[from]...), p.linkAt[from]
}

// unreachable returns whom OnUnreachable named.
func (p *peer) unreachable() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.cuts)
}

func (p *peer) conflictNames() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	var names []string
	for _, m := range p.conflicts {
		names = append(names, m.Name+"@"+m.Addr)
	}
	return names
}
