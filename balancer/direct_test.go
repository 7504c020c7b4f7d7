package balancer

import (
	"testing"
	"time"
)

func TestDirectConnectionsCount(t *testing.T) {
	r := newRig(t, Worker{ID: "a"}, Worker{ID: "b"})
	r.p.SetDirect("a", Direct{Open: 2, Taken: 10}, r.n)
	r.p.SetDirect("nobody", Direct{Open: 2, Taken: 10}, r.n)
	first := r.must(PickInfo{}, "b")
	r.must(PickInfo{}, "b")
	r.must(PickInfo{}, "a") // equal now, and the longest unused
	if got := r.p.Open("a"); got != 3 {
		t.Errorf("%d open on a, want 2 of its own and one claim", got)
	}
	if got := r.p.Local(r.n); got.Outstanding != 3 || got.Long != 2 {
		t.Errorf("reported %+v; the two may be of any age and were not seen to begin", got)
	}
	changed := r.p.Changed()
	r.p.SetDirect("a", Direct{Open: 0, Taken: 10}, r.n)
	select {
	case <-changed:
	default:
		t.Error("who waits for a drain is not told")
	}
	first.Done(DoneInfo{Now: r.n})
	r.p.SetWorkers([]Worker{{ID: "b"}})
	if r.p.Ready("a") || !r.p.Ready("b") {
		t.Error("a left, b stayed")
	}
}

// TestDirectAge tells a busy worker from one whose clients idle.
func TestDirectAge(t *testing.T) {
	r := newRig(t, Worker{ID: "a"})
	report := func(open, taken int) Report {
		r.n = r.n.Add(50 * ms)
		r.p.SetDirect("a", Direct{Open: open, Taken: uint64(taken)}, r.n)
		return r.p.Local(r.n)
	}
	report(0, 0)
	if got := report(64, 64); got.Outstanding != 64 || got.Long != 0 {
		t.Errorf("just accepted: %+v", got)
	}
	report(64, 64)
	report(64, 64)
	if got := report(64, 64); got.Outstanding != 0 || got.Long != 64 {
		t.Errorf("kept alive: %+v", got)
	}
	for i := range 100 { // a hundred a second, 4 of them open at any time
		report(68, 64+5*(i+1))
	}
	if got := r.p.Local(r.n); got.Outstanding != 10 || got.Long != 58 || got.Service != 0 {
		t.Errorf("a hundred a second: %+v, want at most the 10 of the last 100 ms counted as short", got)
	}
	r.p.SetDirect("a", Direct{Open: 68, Taken: 600, Timed: 5, Spent: 20 * ms}, r.n)
	if got := r.p.Local(r.n); got.Service != 4*ms {
		t.Errorf("five took 4 ms each: %+v", got)
	}
}

// TestDirectAgeBesideShort has a connection that is held, beside short ones whose times are told: they do not make it a short one.
func TestDirectAgeBesideShort(t *testing.T) {
	r := newRig(t, Worker{ID: "a"})
	d := Direct{}
	report := func(open, taken, timed int, each time.Duration) Report {
		r.n = r.n.Add(50 * ms)
		d = Direct{Open: open, Taken: d.Taken + uint64(taken), Timed: d.Timed + uint64(timed), Spent: d.Spent + time.Duration(timed)*each}
		r.p.SetDirect("a", d, r.n)
		return r.p.Local(r.n)
	}
	report(0, 0, 0, 0)
	report(1, 1, 0, 0)
	report(1, 0, 0, 0)
	for i := range 20 {
		got := report(1, 20, 10, 9*ms) // half of them are a sample
		if got.Long != 1 || got.Outstanding != 0 {
			t.Fatalf("report %d of short ones: %+v, want the one that is held, and it is long", i, got)
		}
	}
	if got := report(3, 4, 1, 5*ms); got.Long != 1 || got.Outstanding != 2 {
		t.Errorf("two are under way: %+v", got)
	}
	report(0, 0, 3, 400*ms)
	report(0, 0, 0, 0)
	for range 4 { // these take longer than what counts as short, and none of them stays
		report(2, 4, 2, 305*ms)
	}
	if got := report(2, 4, 4, 305*ms); got.Long != 0 || got.Outstanding != 2 {
		t.Errorf("nobody stays: %+v", got)
	}
}

func TestRoom(t *testing.T) {
	r := newRig(t)
	if n := r.p.Room(r.n); n != 0 {
		t.Errorf("nobody is here: %d", n)
	}
	r.p.SetWorkers([]Worker{{ID: "a"}, {ID: "b"}})
	if n := r.p.Room(r.n); n != Unbounded {
		t.Errorf("alone: %d", n)
	}
	r.peer("x")
	r.peer("y")
	if n := r.p.Room(r.n); n != 2 {
		t.Errorf("%d beside idle peers, want one for each idle worker", n)
	}
	r.p.SetDirect("a", Direct{}, r.n)
	r.n = r.n.Add(10 * ms)
	r.p.SetDirect("a", Direct{Open: 90, Taken: 90}, r.n)
	if n := r.p.Room(r.n); n != 1 {
		t.Errorf("%d with one idle worker", n)
	}
	r.p.SetDirect("b", Direct{Open: 1, Taken: 1}, r.n)
	if n := r.p.Room(r.n); n != 0 {
		t.Errorf("%d with 91 here, none on the peers", n)
	}
	r.p.SetReport("x", Report{Ready: 1, Outstanding: 200}, r.n)
	if n := r.p.Room(r.n); n != 0 {
		t.Errorf("%d, and one peer is idle still", n)
	}
	r.p.SetReport("y", Report{Ready: 1, Outstanding: 200}, r.n)
	if n := r.p.Room(r.n); n < 100 || n == Unbounded {
		t.Errorf("%d, and both peers are worse by far", n)
	}
	if c := r.b.Counts(); c.Taken != 0 {
		t.Errorf("asking claimed: %+v", c)
	}
}
