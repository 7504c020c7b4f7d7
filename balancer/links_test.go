package balancer

import (
	"errors"
	"testing"
	"time"
)

func TestEjection(t *testing.T) {
	r := newRig(t)
	r.peer("b")
	fail := func() {
		t.Helper()
		r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n, Failed: true})
	}
	for _, d := range []time.Duration{1, 2, 4, 8, 16, 30, 30} {
		fail()
		r.refused(PickInfo{}, ErrNoTarget)
		r.n = r.n.Add(d*time.Second - 1)
		r.refused(PickInfo{}, ErrNoTarget)
		r.n = r.n.Add(1)
	}
	trial := r.must(PickInfo{}, "b") // one goes and the others wait for what becomes of it
	r.refused(PickInfo{}, ErrNoTarget)
	trial.Taken()
	a := r.must(PickInfo{}, "b")
	trial.Done(DoneInfo{Now: r.n})
	a.Done(DoneInfo{Now: r.n, Failed: true})
	r.n = r.n.Add(ejectFirst)
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n, Refused: true}) // the back-off began anew; a refusal is an answer
	fail()
	r.refused(PickInfo{}, ErrNoTarget)
	r.b.SetLink("b", false)
	r.b.SetLink("b", true) // heard again
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n})
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
