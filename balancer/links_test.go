package balancer

import (
	"errors"
	"testing"
	"time"
)

func TestEjection(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	r.b.SetLink("c", true)
	r.p.SetReport("c", Report{Ready: 1, Outstanding: 1000}, r.n) // who is asked only when b is not
	elsewhere := func() {
		t.Helper()
		r.must(PickInfo{}, "c").Done(DoneInfo{Now: r.n})
	}
	fail := func() {
		t.Helper()
		r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n, Failed: true})
	}
	for _, d := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		fail()
		elsewhere()
		r.n = r.n.Add(d*time.Second - 1)
		r.p.SetReport("c", Report{Ready: 1, Outstanding: 1000}, r.n)
		elsewhere()
		r.n = r.n.Add(1)
	}
	trial := r.must(PickInfo{}, "b") // one goes and the others wait for what becomes of it
	elsewhere()
	trial.Taken()
	a := r.must(PickInfo{}, "b")
	trial.Done(DoneInfo{Now: r.n})
	a.Done(DoneInfo{Now: r.n, Failed: true})
	r.n = r.n.Add(ejectFirst)
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n, Refused: true}) // the back-off began anew; a refusal is an answer
	fail()
	elsewhere()
	r.b.SetLink("b", false)
	r.b.SetLink("b", true) // heard again
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n})
	r.settled()
}

// TestNobodyElse asks an ejected peer where there is nobody else, one connection at a time.
func TestNobodyElse(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	for range 5 {
		r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n, Failed: true})
		r.refused(PickInfo{}, ErrNoTarget)
		r.n = r.n.Add(trialEvery)
	}
	r.p.SetWorkers([]Worker{{ID: "w"}})
	r.must(PickInfo{}, "w").Done(DoneInfo{Now: r.n})
	r.p.SetWorkers(nil)
	r.must(PickInfo{}, "b").Taken() // it answers again
	r.must(PickInfo{}, "b").Taken()
}

// TestEjectionCap fails all connections, as when this node is cut off.
func TestEjectionCap(t *testing.T) {
	r := newRig(t)
	for i := range 9 {
		r.peer(node(i))
	}
	for range 100 {
		x, err := r.pick(PickInfo{Rand: uint64(r.n.UnixNano())})
		if err != nil {
			t.Fatal(err)
		}
		x.Done(DoneInfo{Now: r.n, Failed: true})
		r.n = r.n.Add(7 * ms)
	}
	if got := r.b.Ejected(r.n); len(got) != 4 || got[0].Failures != 1 || !got[0].Until.After(r.n) {
		t.Errorf("ejected %+v, want 4 of 9", got)
	}
	if done, spared := r.b.Ejections(); done != 4 || spared != 96 {
		t.Errorf("%d ejected, %d spared", done, spared)
	}
	r.settled()
}

func TestFailuresAtOnceAreOneEjection(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	var open []PickResult
	for range 10 {
		open = append(open, r.must(PickInfo{}, "b"))
	}
	for _, a := range open {
		a.Done(DoneInfo{Now: r.n, Failed: true})
	}
	r.n = r.n.Add(ejectFirst)
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n})
	r.settled()
}

func TestEjectionHoldsForAllApps(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	r.b.Picker("other").SetReport("b", Report{Ready: 1}, r.n)
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n, Failed: true})
	if _, err := r.b.Picker("other").Pick(PickInfo{Now: r.n}); !errors.Is(err, ErrNoTarget) {
		t.Errorf("got %v", err)
	}
}
