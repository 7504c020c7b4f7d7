package balancer

import (
	"reflect"
	"slices"
	"testing"
	"time"
)

func TestExplainClaimsNothing(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"})
	for _, policy := range []string{PolicyLeastLoad, PolicyRoundRobin, PolicyLeastConnections, PolicyRandom, PolicyHash} {
		r.p.Configure(with(policy))
		r.peer("b")
		before := r.b.Counts()
		e := r.p.Explain(PickInfo{Now: r.n, Rand: 5, Client: client(1)}, 0)
		if again := r.p.Explain(PickInfo{Now: r.n, Rand: 5, Client: client(1)}, 0); !reflect.DeepEqual(e, again) {
			t.Errorf("%s: asked twice: %+v and %+v", policy, e.Next, again.Next)
		}
		x, err := r.pick(PickInfo{Rand: 5, Client: client(1)})
		if err != nil || x.Target != e.Next.Target {
			t.Errorf("%s: picked %v, %v, explained %v", policy, x.Target, err, e.Next.Target)
		}
		if e.Settings.Policy != policy || r.b.Counts().Taken != before.Taken+1 {
			t.Errorf("%s: %+v", policy, r.b.Counts())
		}
		x.Done(DoneInfo{Now: r.n})
	}
	r.settled()
}

func TestExplainStates(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	r.p.Configure(limited(2))
	for _, name := range []string{"ejected", "full", "silent", "idle", "free"} {
		r.b.SetLink(name, true)
		r.p.SetReport(name, Report{Ready: 1}, r.n)
	}
	r.p.SetReport("idle", Report{}, r.n)
	r.p.SetReport("full", Report{Ready: 1, Outstanding: 2}, r.n)
	r.b.SetLink("silent", false)
	r.must(PickInfo{Tried: []string{"w1", "full", "free"}}, "ejected").Done(DoneInfo{Now: r.n, Failed: true})
	r.n = r.n.Add(10 * ms)
	open := []PickResult{r.must(PickInfo{}, "w1"), r.must(PickInfo{Tried: []string{"free"}}, "w1")}
	r.p.SetReport("full", Report{Ready: 1, Outstanding: 2}, r.n)
	e := r.p.Explain(PickInfo{Now: r.n}, 2)
	want := map[string]State{"": StateFull, "ejected": StateEjected, "full": StateFull, "silent": StateSilent, "idle": StateIdle, "free": StateFree}
	for _, c := range e.Next.Considered {
		if c.State != want[c.Node] {
			t.Errorf("%q is %v, want %v", c.Node, c.State, want[c.Node])
		}
		if (c.Node == "ejected") != (c.Ejected > 0) || c.Drawn != (c.Node == "free") {
			t.Errorf("%+v", c)
		}
		delete(want, c.Node)
	}
	if len(want) > 0 || e.Next.Target.ID != "free" || e.Next.Why != WhyOnlyThere {
		t.Errorf("missing %v; %+v", want, e.Next)
	}
	if len(e.Last) != 2 || e.Last[0].Target.ID != "w1" || e.Last[1].Why != WhyIdle || !e.Last[0].At.Equal(r.n) {
		t.Errorf("%+v", e.Last)
	}
	for _, x := range open {
		x.Done(DoneInfo{Now: r.n})
	}
	r.settled()
}

// Whoever was compared is in the record, with the figure that decided.
func TestExplainScores(t *testing.T) {
	for _, policy := range []string{PolicyRoundRobin, PolicyLeastConnections, PolicyRandom, PolicyHash} {
		r := cluster(t, with(policy))
		for i := range 8 {
			x, err := r.pick(PickInfo{Rand: uint64(i), Client: client(i)})
			if err != nil {
				t.Fatal(err)
			}
			d := r.p.Explain(PickInfo{Now: r.n}, 1).Last[0]
			least := d.Considered[0]
			for _, c := range d.Considered[1:] {
				if !c.Drawn {
					t.Errorf("%s: %q was not compared", policy, c.Node)
				}
				if c.Score < least.Score {
					least = c
				}
			}
			if here := x.Target.Kind == KindWorker; len(d.Considered) != 4 || here != (least.Node == "") || !here && least.Node != x.Target.ID {
				t.Errorf("%s: %v has it, but the least score of %d is that of %q", policy, x.Target, len(d.Considered), least.Node)
			}
			defer x.Done(DoneInfo{Now: r.n})
		}
	}
}

// The one that has it is in the record also where more were compared than there is room for.
func TestExplainIncludesTheChosen(t *testing.T) {
	r := newRig(t)
	for i := range 3 * consideredKept {
		r.b.SetLink(node(i), true)
		r.p.SetReport(node(i), Report{Ready: 1}, r.n)
	}
	r.p.Configure(with(PolicyRoundRobin))
	for range 3 * consideredKept {
		x, err := r.pick(PickInfo{})
		if err != nil {
			t.Fatal(err)
		}
		d := r.p.Explain(PickInfo{Now: r.n}, 1).Last[0]
		if !slices.ContainsFunc(d.Considered, func(c Candidate) bool { return c.Node == x.Target.ID }) {
			t.Errorf("%v is not among %d that were considered", x.Target, len(d.Considered))
		}
		x.Done(DoneInfo{Now: r.n})
	}
}

func TestRecordIsBounded(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	for i := range 3 * decisionsKept {
		r.n = start.Add(time.Duration(i) * ms)
		r.must(PickInfo{}, "w1").Done(DoneInfo{Now: r.n})
	}
	got := r.p.Explain(PickInfo{Now: r.n}, 1000).Last
	if len(got) != decisionsKept || !got[0].At.Equal(r.n) || !got[0].At.After(got[1].At) {
		t.Errorf("%d kept, the newest of %v", len(got), got[0].At)
	}
}
