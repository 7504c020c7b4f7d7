package balancer

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

var start = time.Unix(1000, 0)

// rig is a Balancer with one app and a clock.
type rig struct {
	t *testing.T
	b *Balancer
	p *Picker
	n time.Time
}

func newRig(t *testing.T, workers ...Worker) *rig {
	b := New("self")
	r := &rig{t: t, b: b, p: b.Picker("app"), n: start}
	r.p.SetWorkers(workers)
	return r
}

func (r *rig) peer(name string) {
	r.b.SetLink(name, true)
	r.p.SetReport(name, Report{Ready: 1}, r.n)
}

func (r *rig) pick(info PickInfo) (PickResult, error) {
	info.Now = r.n
	return r.p.Pick(info)
}

func (r *rig) must(info PickInfo, want string) PickResult {
	r.t.Helper()
	res, err := r.pick(info)
	if err != nil || res.Target.ID != want {
		r.t.Fatalf("picked %q, %v; want %q", res.Target.ID, err, want)
	}
	return res
}

func (r *rig) refused(info PickInfo, want error) {
	r.t.Helper()
	if res, err := r.pick(info); !errors.Is(err, want) {
		r.t.Fatalf("picked %q, %v; want %v", res.Target.ID, err, want)
	}
}

func (r *rig) settled() {
	r.t.Helper()
	if c := r.b.Counts(); c.Taken != c.Returned {
		r.t.Errorf("%d claims taken, %d given back", c.Taken, c.Returned)
	}
	l := &r.p.ledger
	if l.short != 0 || l.long != 0 || l.young.n != 0 {
		r.t.Errorf("short %d, long %d, young %d after all was given back", l.short, l.long, l.young.n)
	}
	for id, w := range l.workers {
		if w.open != 0 || w.pending != 0 {
			r.t.Errorf("%s: %d open, %d pending after all was given back", id, w.open, w.pending)
		}
	}
	for name, p := range r.p.peers.byName {
		if p.flow.open != 0 || p.flow.own != 0 {
			r.t.Errorf("%s: %d of ours after all was given back", name, p.flow.open)
		}
	}
}

func TestPickSpreads(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"}, Worker{ID: "w3"})
	a, b, c := r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w2"), r.must(PickInfo{}, "w3")
	b.Done(DoneInfo{Now: r.n})
	r.must(PickInfo{}, "w2").Done(DoneInfo{Now: r.n}) // the fewest open
	a.Done(DoneInfo{Now: r.n})
	c.Done(DoneInfo{Now: r.n})
	r.must(PickInfo{}, "w1").Done(DoneInfo{Now: r.n}) // the longest unused
	r.must(PickInfo{Tried: []string{"w3", "w1"}}, "w2").Done(DoneInfo{Now: r.n})
	r.settled()
}

func TestWindow(t *testing.T) {
	r := newRig(t, Worker{ID: "w1", Window: 2})
	a, b := r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w1")
	r.refused(PickInfo{}, ErrBusy)
	a.Taken()
	a.Taken() // further calls do nothing
	c := r.must(PickInfo{}, "w1")
	r.refused(PickInfo{}, ErrBusy)
	b.Done(DoneInfo{Now: r.n, Refused: true})
	b.Done(DoneInfo{Now: r.n, Refused: true})
	b.Taken()
	d := r.must(PickInfo{}, "w1")
	r.refused(PickInfo{}, ErrBusy)
	if got := r.p.Open("w1"); got != 3 {
		t.Errorf("%d open, want 3", got)
	}
	for _, x := range []PickResult{a, c, d} {
		x.Done(DoneInfo{Now: r.n})
	}
	r.settled()
}

func TestNoTarget(t *testing.T) {
	r := newRig(t)
	r.refused(PickInfo{}, ErrNoTarget)
	r.peer("b")
	r.refused(PickInfo{LocalOnly: true}, ErrNoTarget)
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n})
	r.refused(PickInfo{Tried: []string{"b"}}, ErrNoTarget)
	r.p.SetReport("b", Report{}, r.n)
	r.refused(PickInfo{}, ErrNoTarget)
	r.settled()
}

func TestSilentPeersAreTheLastResort(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	r.peer("c")
	r.b.SetLink("b", false)
	for i := range uint64(20) {
		r.must(PickInfo{Rand: i}, "c").Done(DoneInfo{Now: r.n})
	}
	r.b.SetLink("c", false)
	x, err := r.p.Pick(PickInfo{Now: r.n})
	if err != nil {
		t.Fatalf("nobody is heard: %v, want one of the silent peers to be asked", err)
	}
	x.Done(DoneInfo{Now: r.n, Failed: true})
	other := map[string]string{"b": "c", "c": "b"}[x.Target.ID]
	r.must(PickInfo{}, other).Done(DoneInfo{Now: r.n})
	r.b.Forget("b")
	r.b.Forget("c")
	r.refused(PickInfo{}, ErrNoTarget)
	r.settled()
}

func TestWindowsFullGoesToAPeer(t *testing.T) {
	r := newRig(t, Worker{ID: "w1", Window: 1})
	a := r.must(PickInfo{}, "w1")
	r.refused(PickInfo{LocalOnly: true}, ErrBusy)
	r.peer("b")
	b := r.must(PickInfo{}, "b")
	a.Done(DoneInfo{Now: r.n})
	b.Done(DoneInfo{Now: r.n})
	if c := r.b.Counts(); c != (Counts{Taken: 2, Returned: 2, Forwarded: 1}) {
		t.Errorf("%+v", c)
	}
}

func TestWorkerThatLeft(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	a := r.must(PickInfo{}, "w1")
	r.p.SetWorkers(nil)
	r.refused(PickInfo{}, ErrNoTarget)
	if r.p.Open("w1") != 1 {
		t.Error("the claim on a worker that left is gone")
	}
	r.p.SetWorkers([]Worker{{ID: "w1"}})
	b := r.must(PickInfo{}, "w1")
	if r.p.Open("w1") != 2 {
		t.Error("a worker that came back has lost its claim")
	}
	r.p.SetWorkers(nil)
	a.Done(DoneInfo{Now: r.n})
	b.Done(DoneInfo{Now: r.n})
	r.settled()
	if len(r.p.ledger.workers) != 0 {
		t.Error("a worker that left is remembered for ever")
	}
}

func TestLongLived(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	taken, waiting := r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w1")
	taken.Taken()
	r.n = r.n.Add(longFloor - 1)
	if got := r.p.Local(r.n); got.Outstanding != 2 || got.Long != 0 {
		t.Errorf("before the limit: %+v", got)
	}
	r.n = r.n.Add(1)
	if got := r.p.Local(r.n); got.Outstanding != 1 || got.Long != 1 {
		t.Errorf("at the limit, one taken and one waiting: %+v", got)
	}
	waiting.Taken()
	if got := r.p.Local(r.n); got.Outstanding != 0 || got.Long != 2 {
		t.Errorf("both taken: %+v", got)
	}
	r.n = r.n.Add(time.Hour)
	taken.Done(DoneInfo{Now: r.n})
	waiting.Done(DoneInfo{Now: r.n})
	if got := r.p.Local(r.n); got.Service != 0 {
		t.Errorf("long-lived connections count as service of %v", got.Service)
	}
	r.settled()
}

func TestAcceptedCountsWhatPeersServe(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"})
	r.peer("b")
	all := []PickResult{r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w2"), r.must(PickInfo{Tried: []string{"w1", "w2"}}, "b")}
	if got := r.p.Accepted(); got != 1.5 {
		t.Errorf("two here and one at a peer, over two workers: %v", got)
	}
	for _, x := range all {
		x.Done(DoneInfo{Now: r.n})
	}
	if got := r.p.Accepted(); got != 0 {
		t.Errorf("nothing open: %v", got)
	}
	r.settled()
}

func TestSlowServiceIsLearned(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	for range 5 {
		a := r.must(PickInfo{}, "w1")
		a.Taken()
		r.n = r.n.Add(400 * ms)
		r.p.Local(r.n) // by now it counts as long-lived
		a.Done(DoneInfo{Now: r.n})
	}
	if got := r.p.Local(r.n); got.Service != 400*ms {
		t.Errorf("connections of 400 ms each count as service of %v", got.Service)
	}
	r.settled()
}

func TestFullWindowWaitsUnlessStalled(t *testing.T) {
	r := newRig(t, Worker{ID: "w1", Window: 2}, Worker{ID: "w2", Window: 2})
	var busy []PickResult
	for range 4 { // w2 takes what it is offered, and keeps it
		p := r.must(PickInfo{Tried: []string{"w1"}}, "w2")
		p.Taken()
		busy = append(busy, p)
	}
	waiting := []PickResult{r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w1")}
	if _, err := r.p.Pick(PickInfo{Now: r.n}); !errors.Is(err, ErrBusy) {
		t.Errorf("w1 has its window full and half the connections of w2: %v, want a wait", err)
	}
	waiting[0].Taken()
	waiting = append(waiting, r.must(PickInfo{}, "w1"))
	r.n = r.n.Add(stallAfter)
	waiting[1].Taken()
	waiting = append(waiting, r.must(PickInfo{}, "w1"))
	r.n = r.n.Add(stallAfter)
	busy = append(busy, r.must(PickInfo{}, "w2")) // w1 has taken nothing for a while
	for _, p := range append(busy, waiting...) {
		p.Done(DoneInfo{Now: r.n})
	}
	r.settled()
}

func TestLongLivedLimitFollowsService(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	for range 10 {
		a := r.must(PickInfo{}, "w1")
		a.Taken()
		r.n = r.n.Add(50 * ms)
		a.Done(DoneInfo{Now: r.n})
	}
	a := r.must(PickInfo{}, "w1")
	a.Taken()
	r.n = r.n.Add(longFactor*50*ms - 1)
	if got := r.p.Local(r.n); got.Long != 0 {
		t.Errorf("%+v", got)
	}
	r.n = r.n.Add(1)
	if got := r.p.Local(r.n); got.Long != 1 || got.Service != 50*ms {
		t.Errorf("%+v", got)
	}
	a.Done(DoneInfo{Now: r.n})
	r.settled()
}

func TestForwardedLongLivedDoNotFillThePeer(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	var open []PickResult
	for range 20 {
		a := r.must(PickInfo{}, "b")
		a.Taken()
		open = append(open, a)
	}
	r.n = r.n.Add(time.Minute)
	r.p.SetReport("b", Report{Ready: 1, Long: 20}, r.n)
	if _, err := r.pick(PickInfo{Tried: []string{"b"}}); !errors.Is(err, ErrNoTarget) {
		t.Fatal(err)
	}
	if got := r.p.peers.byName["b"].estimate(r.n, 10*ms); got > 0.5 {
		t.Errorf("20 long-lived connections of ours count as %v short ones", got)
	}
	for _, a := range open {
		a.Done(DoneInfo{Now: r.n})
	}
	r.settled()
}

func TestChangedWakes(t *testing.T) {
	var a, b PickResult
	r := newRig(t, Worker{ID: "w1", Window: 9})
	a, b = r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w1")
	for _, tc := range []struct {
		name  string
		do    func()
		wakes bool
	}{
		{"taken", func() { a.Taken() }, true},
		{"taken again", func() { a.Taken() }, false},
		{"done", func() { a.Done(DoneInfo{Now: r.n}) }, true},
		{"done again", func() { a.Done(DoneInfo{Now: r.n}) }, false},
		{"workers", func() { r.p.SetWorkers(nil) }, true},
		{"a peer becomes ready", func() { r.p.SetReport("b", Report{Ready: 1}, r.n) }, true},
		{"the same report", func() { r.p.SetReport("b", Report{Ready: 1}, r.n) }, false},
		{"a peer is heard", func() { r.b.SetLink("b", true) }, true},
		{"a peer is still heard", func() { r.b.SetLink("b", true) }, false},
		{"a peer is not heard any more", func() { r.b.SetLink("b", false) }, false},
		{"a pick", func() { _, _ = r.pick(PickInfo{}) }, false},
	} {
		changed := r.p.Changed()
		tc.do()
		select {
		case <-changed:
			if !tc.wakes {
				t.Errorf("%s wakes", tc.name)
			}
		default:
			if tc.wakes {
				t.Errorf("%s does not wake", tc.name)
			}
		}
	}
	b.Done(DoneInfo{Now: r.n})
}

func TestForget(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	r.peer("c")
	a := r.must(PickInfo{Tried: []string{"c"}}, "b")
	r.b.Forget("b")
	r.refused(PickInfo{Tried: []string{"c"}}, ErrNoTarget)
	r.peer("b")
	a.Done(DoneInfo{Now: r.n})
	if got := r.p.peers.byName["b"].flow.own; got != 0 {
		t.Errorf("a claim of before the peer left counts as %d after", got)
	}
	r.settled()
}

func TestDropKeepsTotals(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	a, b := r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w1")
	a.Done(DoneInfo{Now: r.n})
	r.b.Drop("app")
	if r.b.Lookup("app") != nil || r.b.Picker("app") == r.p {
		t.Error("the picker is still there")
	}
	if c := r.b.Counts(); c != (Counts{Taken: 2, Returned: 1}) {
		t.Errorf("%+v", c)
	}
	b.Done(DoneInfo{Now: r.n})
	if c := r.b.Counts(); c != (Counts{Taken: 2, Returned: 2}) {
		t.Errorf("%+v", c)
	}
}

func node(i int) string { return fmt.Sprintf("n%02d", i) }

func worker(i, w int) string { return fmt.Sprintf("%s/%d", node(i), w) }
