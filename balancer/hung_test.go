package balancer

import "testing"

// A worker that accepts nothing is chosen where nobody else can be, whatever the policy.
func TestHungWorkersComeLast(t *testing.T) {
	for _, policy := range []string{PolicyLeastLoad, PolicyRoundRobin, PolicyLeastConnections, PolicyRandom, PolicyHash} {
		t.Run(policy, func(t *testing.T) {
			r := cluster(t, with(policy))
			any := func(int) PickInfo { return PickInfo{} }
			here := func(int) PickInfo { return PickInfo{LocalOnly: true} }
			r.p.SetHung("w1", true)
			if seen := r.spread(60, any); seen["w1"] > 0 {
				t.Errorf("one hung: %v", seen)
			}
			if rep := r.p.Local(r.n); rep.Ready != 1 || rep.Hung {
				t.Errorf("one hung: reported %+v", rep)
			}
			if seen := r.spread(10, here); seen["w2"] != 10 {
				t.Errorf("one hung, and only here: %v", seen)
			}
			r.p.SetHung("w2", true)
			if seen := r.spread(60, any); seen["w1"]+seen["w2"] > 0 {
				t.Errorf("all here hung: %v", seen)
			}
			if rep := r.p.Local(r.n); rep.Ready != 2 || !rep.Hung {
				t.Errorf("all here hung: reported %+v", rep)
			}
			if seen := r.spread(10, here); seen["w1"]+seen["w2"] != 10 {
				t.Errorf("all here hung, and only here: %v", seen)
			}
			for i := range 3 {
				r.p.SetReport(node(i), Report{Ready: 2, Hung: i > 0}, r.n)
			}
			if seen := r.spread(60, any); seen["n00"] != 60 {
				t.Errorf("one peer is left: %v", seen)
			}
			r.p.SetReport(node(0), Report{Ready: 2, Hung: true}, r.n)
			r.spread(60, any) // nobody is left out
			r.p.SetHung("w2", false)
			if seen := r.spread(60, any); seen["w2"] != 60 {
				t.Errorf("one here is left: %v", seen)
			}
		})
	}
}
