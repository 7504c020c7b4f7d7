package reconcile

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// slot is a slot of app "a" that serves release r.
func slot(i int, r uint64) Have { return Have{App: "a", Slot: i, Release: r, Ready: true} }

func with(h Have, change func(*Have)) Have {
	change(&h)
	return h
}

func TestPlan(t *testing.T) {
	down := func(h *Have) { h.Ready = false }
	ending := func(h *Have) { h.Ready, h.Ending = false, true }
	replacing := func(r uint64) func(*Have) { return func(h *Have) { h.Replacing = r } }
	refused := func(r uint64) func(*Have) { return func(h *Have) { h.Refused = r } }
	two := []Want{{App: "a", Workers: 2, Release: 2}}
	for name, c := range map[string]struct {
		want []Want
		have []Have
		plan []Step
	}{
		"nothing":                               {nil, nil, nil},
		"a match":                               {two, []Have{slot(0, 2), slot(1, 2)}, nil},
		"new app":                               {two, nil, []Step{{Start, "a", 0}, {Start, "a", 1}}},
		"scaled up":                             {two, []Have{slot(0, 2)}, []Step{{Start, "a", 1}}},
		"scaled down":                           {[]Want{{App: "a", Workers: 1, Release: 2}}, []Have{slot(2, 2), slot(0, 2), slot(1, 2)}, []Step{{Stop, "a", 1}, {Stop, "a", 2}}},
		"stopped":                               {[]Want{{App: "a", Workers: 2, Release: 2, Stopped: true}}, []Have{slot(0, 2), slot(1, 1)}, []Step{{Stop, "a", 0}, {Stop, "a", 1}}},
		"deleted":                               {nil, []Have{slot(0, 2)}, []Step{{Stop, "a", 0}}},
		"deleted, ending":                       {nil, []Have{with(slot(0, 2), ending)}, nil},
		"ending slots count as filled":          {two, []Have{with(slot(0, 2), ending), slot(1, 2)}, nil},
		"one at a time":                         {two, []Have{slot(0, 1), slot(1, 1)}, []Step{{Replace, "a", 0}}},
		"the next":                              {two, []Have{slot(1, 1), slot(0, 2)}, []Step{{Replace, "a", 1}}},
		"under way":                             {two, []Have{with(slot(0, 1), replacing(2)), slot(1, 1)}, nil},
		"not ready yet":                         {two, []Have{with(slot(0, 2), down), slot(1, 1)}, nil},
		"down slots at once":                    {two, []Have{with(slot(0, 1), down), with(slot(1, 1), down)}, []Step{{Replace, "a", 0}, {Replace, "a", 1}}},
		"down ones first":                       {two, []Have{slot(0, 1), with(slot(1, 1), down)}, []Step{{Replace, "a", 1}}},
		"outdated replacement":                  {[]Want{{App: "a", Workers: 2, Release: 3}}, []Have{with(slot(0, 1), replacing(2)), slot(1, 1)}, []Step{{Replace, "a", 0}}},
		"a release that was taken back":         {two, []Have{with(slot(0, 2), replacing(3)), slot(1, 1)}, []Step{{Replace, "a", 0}}},
		"it is on its way back":                 {two, []Have{with(slot(0, 2), replacing(2)), slot(1, 1)}, nil},
		"refused ends the rollout":              {two, []Have{with(slot(0, 1), refused(2)), slot(1, 1)}, nil},
		"refused, also for a slot that is down": {two, []Have{with(slot(0, 1), down), with(slot(1, 1), refused(2))}, nil},
		"refused, halfway":                      {two, []Have{slot(0, 2), with(slot(1, 1), refused(2))}, nil},
		"the release after the refused one":     {[]Want{{App: "a", Workers: 2, Release: 3}}, []Have{with(slot(0, 1), refused(2)), slot(1, 1)}, []Step{{Replace, "a", 0}}},
		"a surplus slot does not hold up":       {[]Want{{App: "a", Workers: 1, Release: 2}}, []Have{slot(0, 1), with(slot(1, 2), down)}, []Step{{Stop, "a", 1}, {Replace, "a", 0}}},
		"apps do not wait for each other": {[]Want{{App: "b", Workers: 1, Release: 1}, {App: "a", Workers: 1, Release: 2}},
			[]Have{slot(0, 1), {App: "c", Slot: 0, Release: 1, Ready: true}}, []Step{{Stop, "c", 0}, {Replace, "a", 0}, {Start, "b", 0}}},
	} {
		before := slices.Clone(c.have)
		if d := cmp.Diff(c.plan, Plan(c.want, c.have)); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if !slices.Equal(before, c.have) {
			t.Errorf("%s: the plan changed what it was given", name)
		}
	}
}

// apply carries a plan out as a supervisor does whose workers all come up.
func apply(want []Want, have []Have, steps []Step) []Have {
	release := make(map[string]uint64)
	for _, w := range want {
		release[w.App] = w.Release
	}
	out := slices.Clone(have)
	for _, s := range steps {
		at := func(h Have) bool { return h.App == s.App && h.Slot == s.Slot }
		out = slices.DeleteFunc(out, at)
		if s.Kind != Stop {
			out = append(out, Have{App: s.App, Slot: s.Slot, Release: release[s.App], Ready: true})
		}
	}
	return out
}

// From any state the plans lead to the wanted one, and the plan of that is empty.
func TestPlansConverge(t *testing.T) {
	for seed := range uint64(500) {
		r := rand.New(rand.NewPCG(seed, 1))
		var want []Want
		var have []Have
		for i := range 3 {
			app := fmt.Sprint("app", i)
			if r.IntN(4) > 0 {
				want = append(want, Want{App: app, Workers: r.IntN(4), Release: 1 + r.Uint64N(3), Stopped: r.IntN(5) == 0})
			}
			for s := range 4 {
				if r.IntN(2) > 0 {
					have = append(have, Have{App: app, Slot: s, Release: 1 + r.Uint64N(3), Ready: r.IntN(2) > 0})
				}
			}
		}
		for i := range have { // what is down of the wanted release comes up by itself
			have[i].Ready = have[i].Ready || slices.ContainsFunc(want, func(w Want) bool { return w.App == have[i].App && w.Release == have[i].Release })
		}
		rounds := 0
		for steps := Plan(want, have); len(steps) > 0; steps = Plan(want, have) {
			have = apply(want, have, steps)
			if rounds++; rounds > 20 {
				t.Fatalf("seed %d: no end; want %+v, have %+v", seed, want, have)
			}
		}
		for _, w := range want {
			n := 0
			for _, h := range have {
				if h.App == w.App && h.Release == w.Release && h.Slot < w.Workers {
					n++
				}
			}
			if expect := w.Workers; w.Stopped && n != 0 || !w.Stopped && n != expect {
				t.Errorf("seed %d: %+v ends with %d workers: %+v", seed, w, n, have)
			}
		}
	}
}
