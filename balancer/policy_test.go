package balancer

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"
)

// cluster is a node with two workers and three peers with two each.
func cluster(t *testing.T, s Settings) *rig {
	r := newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"})
	for i := range 3 {
		r.b.SetLink(node(i), true)
		r.p.SetReport(node(i), Report{Ready: 2}, r.n)
	}
	r.p.Configure(s)
	return r
}

func with(policy string) Settings {
	s := DefaultSettings()
	s.Policy = policy
	return s
}

// spread picks n times, and counts by target.
func (r *rig) spread(n int, info func(i int) PickInfo) map[string]int {
	r.t.Helper()
	seen := map[string]int{}
	for i := range n {
		x, err := r.pick(info(i))
		if err != nil {
			r.t.Fatal(err)
		}
		seen[x.Target.ID]++
		x.Done(DoneInfo{Now: r.n})
	}
	return seen
}

func TestRoundRobin(t *testing.T) {
	r := cluster(t, with(PolicyRoundRobin))
	none := func(int) PickInfo { return PickInfo{} }
	for range 5 {
		seen := r.spread(8, none)
		if seen["w1"] != 1 || seen["w2"] != 1 || seen["n00"] != 2 || seen["n01"] != 2 || seen["n02"] != 2 {
			t.Errorf("one round gave %v", seen)
		}
	}
	for range 4 { // what came from a peer takes nobody's turn
		r.spread(2, func(int) PickInfo { return PickInfo{LocalOnly: true} })
	}
	r.b.SetNode("n01", Node{Weight: 3})
	if seen := r.spread(120, none); seen["n01"] != 60 || seen["n00"] != 20 || seen["w1"] != 10 {
		t.Errorf("three times the weight: %v", seen)
	}
	r.p.SetReport("n01", Report{}, r.n)
	if seen := r.spread(60, none); seen["n01"] != 0 || seen["n00"] != 20 || seen["w1"] != 10 {
		t.Errorf("one has gone: %v", seen)
	}
	r.p.SetReport("n01", Report{Ready: 2}, r.n)
	if seen := r.spread(12, none); seen["n01"] > 7 {
		t.Errorf("it catches up what it missed: %v", seen)
	}
	r.settled()
}

func TestLeastConnections(t *testing.T) {
	r := cluster(t, with(PolicyLeastConnections))
	rnd := rand.New(rand.NewPCG(1, 1))
	r.p.SetReport("n00", Report{Ready: 2, Outstanding: 50}, r.n) // others' connections are not ours
	r.b.SetNode("n02", Node{Weight: 2})
	seen := map[string]int{}
	for range 100 {
		x, err := r.pick(PickInfo{Rand: rnd.Uint64()})
		if err != nil {
			t.Fatal(err)
		}
		seen[x.Target.ID]++
	}
	for id, want := range map[string]int{"w1": 10, "w2": 10, "n00": 20, "n01": 20, "n02": 40} {
		if d := seen[id] - want; d < -1 || d > 1 {
			t.Errorf("%s has %d, want %d: %v", id, seen[id], want, seen)
		}
	}
}

func TestRandom(t *testing.T) {
	r := cluster(t, with(PolicyRandom))
	rnd := rand.New(rand.NewPCG(1, 1))
	r.b.SetNode("", Node{Weight: 2})
	seen := r.spread(20000, func(int) PickInfo { return PickInfo{Rand: rnd.Uint64()} })
	for id, want := range map[string]float64{"w1": 0.2, "w2": 0.2, "n00": 0.2, "n01": 0.2, "n02": 0.2} {
		if got := float64(seen[id]) / 20000; math.Abs(got-want) > 0.01 {
			t.Errorf("%s has %.3f, want %.3f", id, got, want)
		}
	}
	r.settled()
}

func client(i int) netip.Addr { return netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}) }

// places returns where each client goes.
func (r *rig) places(n int) []string {
	out := make([]string, n)
	for i := range n {
		x, err := r.pick(PickInfo{Client: client(i), Rand: rand.Uint64()})
		if err != nil {
			r.t.Fatal(err)
		}
		out[i] = x.Target.ID
		x.Done(DoneInfo{Now: r.n})
	}
	return out
}

func moved(a, b []string) (n int) {
	for i := range a {
		if a[i] != b[i] {
			n++
		}
	}
	return n
}

func TestHash(t *testing.T) {
	const n = 4000
	r := cluster(t, with(PolicyHash))
	before := r.places(n)
	if k := moved(before, r.places(n)); k != 0 {
		t.Errorf("%d of %d clients went elsewhere the second time", k, n)
	}
	count := map[string]int{}
	for _, id := range before {
		count[id]++
	}
	for id, share := range map[string]int{"w1": n / 8, "w2": n / 8, "n00": n / 4, "n01": n / 4, "n02": n / 4} {
		if got := count[id]; math.Abs(float64(got-share)) > float64(share)/5 {
			t.Errorf("%s has %d of %d clients", id, got, n)
		}
	}
	r.p.SetReport("n01", Report{}, r.n)
	after := r.places(n)
	for i := range before {
		if before[i] != after[i] && before[i] != "n01" {
			t.Fatalf("client %d moved from %s to %s when n01 went", i, before[i], after[i])
		}
	}
	r.p.SetReport("n01", Report{Ready: 2}, r.n)
	r.p.SetWorkers([]Worker{{ID: "w1"}, {ID: "w2"}, {ID: "w3"}}) // one more of nine
	if k := moved(before, r.places(n)); k > n/5 {
		t.Errorf("%d of %d clients moved when one worker of nine came", k, n)
	}
	// Every node decides alike: the peer n00, which knows this one as a peer, sends a client to the same node.
	peer := New("n00")
	p := peer.Picker("app")
	p.Configure(with(PolicyHash))
	p.SetWorkers([]Worker{{ID: "x1"}, {ID: "x2"}})
	for _, name := range []string{"self", "n01", "n02"} {
		peer.SetLink(name, true)
		p.SetReport(name, Report{Ready: 2}, r.n)
	}
	r.p.SetWorkers([]Worker{{ID: "w1"}, {ID: "w2"}})
	for i, id := range r.places(n) {
		x, err := p.Pick(PickInfo{Now: r.n, Client: client(i)})
		if err != nil {
			t.Fatal(err)
		}
		there := x.Target.ID
		x.Done(DoneInfo{Now: r.n})
		if here := map[string]string{"w1": "self", "w2": "self"}[id]; here != "" && there != here || id == "n00" && there[0] != 'x' {
			t.Fatalf("client %d goes to %s from here, and to %s from n00", i, id, there)
		}
	}
	r.settled()
}

// TestHashOutlivesWorkers gives a client to the process that took the place of its worker.
func TestHashOutlivesWorkers(t *testing.T) {
	r := newRig(t, Worker{ID: "app/0#1", Name: "app/0"}, Worker{ID: "app/1#2", Name: "app/1"}, Worker{ID: "app/2#3", Name: "app/2"})
	r.p.Configure(with(PolicyHash))
	before := r.places(500)
	r.p.SetWorkers([]Worker{{ID: "app/0#1", Name: "app/0"}, {ID: "app/1#9", Name: "app/1"}, {ID: "app/2#3", Name: "app/2"}})
	for i, id := range r.places(500) {
		if id[:5] != before[i][:5] {
			t.Fatalf("client %d moved from %s to %s", i, before[i], id)
		}
	}
}

func TestSoftLimit(t *testing.T) {
	s := with(PolicyRandom)
	s.SoftLimit = 2
	r := newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"})
	r.p.Configure(s)
	count := map[string]int{}
	for i := range uint64(4) {
		x, err := r.pick(PickInfo{Rand: i})
		if err != nil {
			t.Fatal(err)
		}
		count[x.Target.ID]++
	}
	if count["w1"] != 2 || count["w2"] != 2 {
		t.Errorf("below the limit first: %v", count)
	}
	if _, err := r.pick(PickInfo{}); err != nil {
		t.Errorf("above the soft limit: %v", err)
	}
	for _, policy := range []string{PolicyLeastLoad, PolicyRandom, PolicyLeastConnections, PolicyRoundRobin} {
		s.Policy = policy
		r.p.Configure(s)
		r.b.SetLink("b", true)
		r.p.SetReport("b", Report{Ready: 2, Outstanding: 1, Service: 20 * ms}, r.n)
		if x, err := r.pick(PickInfo{}); err != nil || x.Target.ID != "b" {
			t.Errorf("%s: %v, %v, want the peer below the limit", policy, x.Target, err)
		}
	}
}

func TestSlowStart(t *testing.T) {
	s := DefaultSettings()
	s.SlowStart = 10 * time.Second
	r := newRig(t, Worker{ID: "w1"})
	r.p.Configure(s)
	r.must(PickInfo{}, "w1").Done(DoneInfo{Now: r.n})
	r.n = r.n.Add(time.Minute)
	r.p.SetWorkers([]Worker{{ID: "w1"}, {ID: "w2"}})
	r.must(PickInfo{}, "w1")
	r.n = r.n.Add(ms)
	count := map[string]int{}
	for range 10 {
		x, err := r.pick(PickInfo{})
		if err != nil {
			t.Fatal(err)
		}
		count[x.Target.ID]++
	}
	if count["w2"] != 1 {
		t.Errorf("a worker with a tenth of its share has %d of 11", count["w2"])
	}
	r.n = r.n.Add(10 * time.Second)
	count = map[string]int{}
	for range 9 {
		x, err := r.pick(PickInfo{})
		if err != nil {
			t.Fatal(err)
		}
		count[x.Target.ID]++
	}
	if count["w2"] != 9 {
		t.Errorf("with its whole share it has %d of 9", count["w2"])
	}
}

func TestZones(t *testing.T) {
	r := newRig(t)
	r.b.SetNode("", Node{Zone: "a"})
	for _, name := range []string{"a1", "a2", "b1", "b2", "b3", "b4"} {
		r.b.SetNode(name, Node{Zone: name[:1]})
		r.b.SetLink(name, true)
		r.p.SetReport(name, Report{Ready: 1, Service: 10 * ms}, r.n)
	}
	zone := func() map[byte]int {
		seen := map[byte]int{}
		for i := range uint64(200) {
			x, err := r.pick(PickInfo{Rand: mix(i)})
			if err != nil {
				t.Fatal(err)
			}
			seen[x.Target.ID[0]]++
			x.Done(DoneInfo{Now: r.n})
			for name, p := range r.p.peers.byName {
				r.p.SetReport(name, p.report, r.n)
			}
		}
		return seen
	}
	if seen := zone(); seen['b'] != 0 {
		t.Errorf("equal zones: %v", seen)
	}
	for _, name := range []string{"a1", "a2"} {
		r.p.peers.byName[name].mean = 1
		r.p.SetReport(name, Report{Ready: 1, Outstanding: 1, Service: 10 * ms}, r.n)
	}
	if seen := zone(); seen['b'] != 0 {
		t.Errorf("one service time more here: %v", seen)
	}
	for _, name := range []string{"a1", "a2"} {
		r.p.peers.byName[name].mean = 3
		r.p.SetReport(name, Report{Ready: 1, Outstanding: 3, Service: 10 * ms}, r.n)
	}
	if seen := zone(); seen['a'] != 0 {
		t.Errorf("three service times more here: %v", seen)
	}
}
