package balancer

import (
	"errors"
	"testing"
	"time"
)

func limited(n int) Settings {
	s := DefaultSettings()
	s.MaxConnections, s.Queue = n, 2
	return s
}

func signalled(w *Waiter) bool {
	select {
	case <-w.C:
		return true
	default:
		return false
	}
}

func TestLimit(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"})
	r.p.Configure(limited(2))
	open := []PickResult{r.must(PickInfo{}, "w1"), r.must(PickInfo{}, "w2"), r.must(PickInfo{LocalOnly: true}, "w1"), r.must(PickInfo{}, "w2")}
	r.refused(PickInfo{}, ErrFull)
	r.refused(PickInfo{LocalOnly: true}, ErrFull)
	r.p.Configure(limited(3)) // it holds at once
	open = append(open, r.must(PickInfo{}, "w1"))
	r.p.Configure(limited(2))
	open[1].Done(DoneInfo{Now: r.n})
	r.must(PickInfo{}, "w2").Done(DoneInfo{Now: r.n})
	for _, x := range open {
		x.Done(DoneInfo{Now: r.n})
	}
	r.settled()
}

// A connection whose worker has sent all it will makes room for the next, and still holds up the end of its worker.
func TestEndedMakesRoom(t *testing.T) {
	r := newRig(t, Worker{ID: "w"})
	r.p.Configure(limited(1))
	a := r.must(PickInfo{}, "w")
	a.Taken()
	r.refused(PickInfo{}, ErrFull)
	changed := r.p.Changed()
	r.n = r.n.Add(3 * time.Millisecond)
	a.Ended(r.n)
	select {
	case <-changed:
	default:
		t.Error("nobody who waits is told")
	}
	if s := r.p.Local(r.n).Service; s != 3*time.Millisecond {
		t.Errorf("the service time is %v, want 3ms: to the end of the answer", s)
	}
	b := r.must(PickInfo{}, "w")
	if n := r.p.Open("w"); n != 2 {
		t.Errorf("%d connections are open on the worker, want 2", n)
	}
	b.Ended(r.n)
	b.Ended(r.n) // nothing more happens
	r.p.SetWorkers(nil)
	b.Done(DoneInfo{Now: r.n})
	b.Ended(r.n)
	if n := r.p.Open("w"); n != 1 {
		t.Errorf("%d connections are open on the worker that has left, want 1", n)
	}
	a.Done(DoneInfo{Now: r.n.Add(time.Second)})
	a.Done(DoneInfo{Now: r.n.Add(time.Second)})
	if n := r.p.Open("w"); n != 0 {
		t.Errorf("%d connections are open on the worker, want none", n)
	}
	r.settled()

	r.b.SetLink("peer", true)
	r.p.SetReport("peer", Report{Ready: 1}, r.n)
	c := r.must(PickInfo{}, "peer")
	c.Taken()
	r.refused(PickInfo{}, ErrFull)
	c.Ended(r.n)
	d := r.must(PickInfo{}, "peer")
	c.Done(DoneInfo{Now: r.n})
	d.Done(DoneInfo{Now: r.n})
	r.settled()
}

// TestPeersLimit reckons a peer's room by its report and what was sent there since.
func TestPeersLimit(t *testing.T) {
	r := newRig(t)
	r.p.Configure(limited(4))
	r.b.SetLink("b", true)
	r.p.SetReport("b", Report{Ready: 2, Outstanding: 5, Long: 1}, r.n)
	a, b := r.must(PickInfo{}, "b"), r.must(PickInfo{}, "b")
	r.refused(PickInfo{}, ErrFull)
	a.Taken()
	a.Done(DoneInfo{Now: r.n})
	c := r.must(PickInfo{}, "b")
	r.refused(PickInfo{}, ErrFull)
	c.Done(DoneInfo{Now: r.n, Refused: true}) // others were faster; its report does not say it yet
	r.refused(PickInfo{}, ErrFull)
	r.n = r.n.Add(serviceSeed / refusedSteps) // by then one of its connections has probably ended
	r.must(PickInfo{}, "b").Done(DoneInfo{Now: r.n, Refused: true})
	r.n = r.n.Add(serviceSeed / refusedSteps)
	r.refused(PickInfo{}, ErrFull)
	r.p.SetReport("b", Report{Ready: 2, Outstanding: 7}, r.n)
	c = r.must(PickInfo{}, "b")
	r.refused(PickInfo{}, ErrFull)
	b.Done(DoneInfo{Now: r.n})
	c.Done(DoneInfo{Now: r.n})
	r.settled()
}

func TestQueue(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	r.p.Configure(limited(1))
	x := r.must(PickInfo{}, "w1")
	wait := func(front bool) *Waiter {
		t.Helper()
		w, err := r.p.Wait(r.n, front)
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	first, second := wait(false), wait(false)
	if _, err := r.p.Wait(r.n, false); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a third in a queue of two: %v", err)
	}
	signalled(first) // it may look at once
	if got := r.p.Local(r.n); got.Outstanding != 1 {
		t.Errorf("%+v", got)
	}
	x.Done(DoneInfo{Now: r.n})
	if !signalled(first) || signalled(second) {
		t.Error("the first is to be woken, and it alone")
	}
	if got := r.p.Local(r.n); got.Outstanding != 1 {
		t.Errorf("%+v, want what is free to be theirs who wait", got)
	}
	r.refused(PickInfo{}, ErrFull) // nobody overtakes
	r.refused(PickInfo{Waiter: second}, ErrFull)
	x = r.must(PickInfo{Waiter: first}, "w1")
	if !signalled(second) {
		t.Error("the next one is to look")
	}
	again := wait(true) // the first was refused by what it was given to
	x.Done(DoneInfo{Now: r.n})
	r.refused(PickInfo{Waiter: second}, ErrFull)
	r.must(PickInfo{Waiter: again}, "w1").Done(DoneInfo{Now: r.n})
	r.p.Leave(second, true)
	r.p.Leave(second, true)
	if got, want := r.b.Waits(), (Waits{Refused: 1, TimedOut: 1}); got != want || r.p.Waits() != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	r.must(PickInfo{}, "w1").Done(DoneInfo{Now: r.n})
	r.settled()
}

func TestAReportEndsTheWait(t *testing.T) {
	r := newRig(t)
	r.p.Configure(limited(1))
	r.b.SetLink("b", true)
	r.p.SetReport("b", Report{Ready: 1, Outstanding: 1}, r.n)
	w, err := r.p.Wait(r.n, false)
	if err != nil {
		t.Fatal(err)
	}
	signalled(w)
	r.p.SetReport("b", Report{Ready: 1, Outstanding: 1}, r.n)
	if signalled(w) {
		t.Error("the peer is still full")
	}
	r.p.SetReport("b", Report{Ready: 1}, r.n)
	if !signalled(w) {
		t.Error("the peer has room")
	}
	r.must(PickInfo{Waiter: w}, "b").Done(DoneInfo{Now: r.n})
	r.settled()
}

// TestWaitForFaster leaves a slow peer alone as long as the turn at a fast worker comes sooner.
func TestWaitForFaster(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	s := limited(1)
	s.Queue = 100
	r.p.Configure(s)
	r.p.ledger.service.timed(r.n, 10*ms)
	for _, name := range []string{"b", "slow"} {
		r.b.SetLink(name, true)
	}
	r.p.SetReport("b", Report{Ready: 1, Outstanding: 1, Service: 10 * ms}, r.n)
	r.p.SetReport("slow", Report{Ready: 1, Service: 100 * ms}, r.n)
	x := r.must(PickInfo{}, "w1")
	var line []*Waiter
	var slow PickResult
	for len(line) < 50 {
		y, err := r.pick(PickInfo{})
		if err == nil {
			if slow = y; y.Target.ID != "slow" {
				t.Fatalf("picked %v", y.Target)
			}
			break
		}
		w, err := r.p.Wait(r.n, false)
		if err != nil {
			t.Fatal(err)
		}
		line = append(line, w)
	}
	if n := len(line); n < 15 || n > 19 { // two fast workers end one each 5 ms; 90 ms are gained
		t.Errorf("the slow one had its first connection with %d waiting", n)
	}
	slow.Done(DoneInfo{Now: r.n})
	r.refused(PickInfo{Waiter: line[0]}, ErrFull)
	r.n = r.n.Add(95 * time.Millisecond) // nothing ended all that time
	r.p.SetReport("slow", Report{Ready: 1, Service: 100 * ms}, r.n)
	r.p.SetReport("b", Report{Ready: 1, Outstanding: 1, Service: 10 * ms}, r.n)
	r.must(PickInfo{Waiter: line[0]}, "slow")
	x.Done(DoneInfo{Now: r.n})
	r.must(PickInfo{Waiter: line[1]}, "w1")
}
