package balancer

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// TestClaimsAreReturned lets everything happen in any order, and then gives all back.
func TestClaimsAreReturned(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		r := newRig(t)
		var open []PickResult
		steps := []func(){
			func() {
				var ws []Worker
				for i := range rnd.IntN(4) {
					ws = append(ws, Worker{ID: worker(0, i), Window: rnd.IntN(3)})
				}
				r.p.SetWorkers(ws)
			},
			func() {
				r.p.SetReport(node(rnd.IntN(3)), Report{Ready: rnd.IntN(3), Outstanding: rnd.IntN(5), Long: rnd.IntN(5)}, r.n)
			},
			func() { r.b.SetLink(node(rnd.IntN(3)), rnd.IntN(2) == 0) },
			func() { r.b.Forget(node(rnd.IntN(3))) },
			func() { r.n = r.n.Add(time.Duration(rnd.IntN(200)) * ms) },
		}
		for range 2000 {
			switch k := rnd.IntN(10); {
			case k < 4:
				if res, err := r.pick(PickInfo{Rand: rnd.Uint64(), LocalOnly: rnd.IntN(4) == 0}); err == nil {
					open = append(open, res)
				}
			case k < 6 && len(open) > 0:
				open[rnd.IntN(len(open))].Taken()
			case k < 8 && len(open) > 0:
				i := rnd.IntN(len(open))
				open[i].Done(DoneInfo{Now: r.n, Refused: rnd.IntN(4) == 0, Failed: rnd.IntN(8) == 0})
				if rnd.IntN(2) == 0 { // else it may be given back again
					open = append(open[:i], open[i+1:]...)
				}
			default:
				steps[rnd.IntN(len(steps))]()
			}
			if c := r.b.Counts(); c.Returned > c.Taken || c.Forwarded > c.Taken {
				t.Fatalf("%+v", c)
			}
		}
		for _, a := range open {
			a.Done(DoneInfo{Now: r.n})
		}
		r.settled()
	}
}

func TestConcurrentUse(t *testing.T) {
	r := newRig(t, Worker{ID: "w1", Window: 2}, Worker{ID: "w2", Window: 2})
	r.peer("b")
	var wg sync.WaitGroup
	for g := range uint64(4) {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(g, 1))
			for range 2000 {
				a, err := r.p.Pick(PickInfo{Now: start, Rand: rnd.Uint64()})
				if err != nil {
					continue
				}
				a.Taken()
				r.p.SetReport("b", Report{Ready: 1, Outstanding: rnd.IntN(3)}, start)
				r.b.SetLink("b", rnd.IntN(10) > 0)
				r.p.Local(start)
				a.Done(DoneInfo{Now: start.Add(ms)})
			}
		})
	}
	wg.Wait()
	r.settled()
}

func BenchmarkPick(b *testing.B) {
	p := New("self").Picker("app")
	p.SetWorkers([]Worker{{ID: "w1"}, {ID: "w2"}})
	for b.Loop() {
		r, err := p.Pick(PickInfo{Now: start})
		if err != nil {
			b.Fatal(err)
		}
		r.Done(DoneInfo{Now: start})
	}
}
