package balancer

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestCost(t *testing.T) {
	for _, tc := range []struct {
		name        string
		concurrency int
		l           Load
		want        time.Duration
	}{
		{"room for two more at once", 4, Load{Workers: 2, Open: 6}, 10 * ms},
		{"all of eight busy", 4, Load{Workers: 2, Open: 8}, 11250 * time.Microsecond},
		{"idle", 0, Load{Workers: 2}, 10 * ms},
		{"one worker idle", 0, Load{Workers: 2, Open: 1}, 10 * ms},
		{"all busy", 0, Load{Workers: 2, Open: 2}, 15 * ms},
		{"queues", 0, Load{Workers: 2, Open: 6}, 35 * ms},
		{"slow", 0, Load{Workers: 2, Service: 100 * ms}, 100 * ms},
		{"a little slow is as good", 0, Load{Workers: 2, Service: 14 * ms}, 10 * ms},
		{"a long-lived one on each", 0, Load{Workers: 2, Long: 2}, 10*ms + 2*10*ms + 2*ms},
		{"twice the weight", 0, Load{Workers: 4, Open: 4}, 12500 * time.Microsecond},
		{"slow start", 0, Load{Workers: 0.2, Open: 1}, 10*ms + 90*ms},
	} {
		if got := cost(tc.l, max(tc.concurrency, 1), 10*ms, ms); (got - tc.want).Abs() > time.Microsecond {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

// TestLeastLoad asks a node with two workers and peers with as many.
func TestLeastLoad(t *testing.T) {
	for _, tc := range []struct {
		name  string
		here  int           // connections open here
		serve time.Duration // service time here
		peers map[string]Report
		want  string // the peer, or "" for here
	}{
		{"an idle worker here", 0, 0, map[string]Report{"b": {}}, ""},
		{"no peer", 6, 0, nil, ""},
		{"busy here, idle there", 6, 0, map[string]Report{"b": {}}, "b"},
		{"equally busy", 6, 0, map[string]Report{"b": {Outstanding: 6}}, ""},
		{"the better of two", 8, 0, map[string]Report{"b": {Outstanding: 6}, "c": {Outstanding: 2}}, "c"},
		{"gain within hop and margin", 2, 10 * ms, map[string]Report{"b": {Outstanding: 2}}, ""},
		{"idle but slow here", 0, 100 * ms, map[string]Report{"b": {Service: 10 * ms}, "c": {Service: 10 * ms}}, "b c"},
		{"a little slower is no reason", 0, 14 * ms, map[string]Report{"b": {Service: 10 * ms}, "c": {Service: 10 * ms}}, ""},
		{"slow there", 4, 10 * ms, map[string]Report{"b": {Service: 100 * ms}}, ""},
		{"nobody there", 6, 0, map[string]Report{"b": {Ready: -1}}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"})
			if tc.serve > 0 {
				r.p.ledger.service.timed(r.n, tc.serve)
			}
			for range tc.here {
				if _, err := r.pick(PickInfo{LocalOnly: true}); err != nil {
					t.Fatal(err)
				}
			}
			for name, report := range tc.peers {
				report.Ready += 2
				if report.Ready == 1 {
					report.Ready = 0
				}
				r.b.SetLink(name, true)
				for range 1000 { // its mean is what it reports
					r.p.SetReport(name, report, r.n)
				}
			}
			got, err := r.pick(PickInfo{Rand: 7})
			if err != nil {
				t.Fatal(err)
			}
			if id := got.Target.ID; tc.want == "" && got.Target.Kind != KindWorker || tc.want != "" && !strings.Contains(tc.want, id) {
				t.Errorf("chose %q, want %q; %+v", id, tc.want, r.p.record.last(1))
			}
		})
	}
}

func TestDrawsAreDistinctAndUniform(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for _, n := range []int{5, 40} { // few are all looked at, many are not
		const rounds = 20000
		r := newRig(t)
		for i := range n { // The best of the two drawn wins, so peer i of n wins when it is drawn and no better one is.
			r.b.SetLink(node(i), true)
			for range 1000 {
				r.p.SetReport(node(i), Report{Ready: 1, Outstanding: 10 * i}, r.n)
			}
		}
		seen := make(map[string]int)
		for range rounds {
			x, err := r.pick(PickInfo{Rand: rnd.Uint64()})
			if err != nil {
				t.Fatal(err)
			}
			seen[x.Target.ID]++
			x.Done(DoneInfo{Now: r.n})
			r.p.SetReport(x.Target.ID, r.p.peers.byName[x.Target.ID].report, r.n)
		}
		for i := range n {
			want := float64(n-1-i) / float64(n*(n-1)/2) // pairs in which i is the better one, of all pairs
			if got := float64(seen[node(i)]) / rounds; math.Abs(got-want) > 0.02 {
				t.Errorf("%d peers: %s won %.3f of the draws, want %.3f", n, node(i), got, want)
			}
		}
	}
}

func TestEstimateFades(t *testing.T) {
	at := time.Unix(100, 0)
	base := peerApp{report: Report{Ready: 2, Outstanding: 13}, receivedAt: at, others: 10, mean: 1, flow: flow{own: 3}}
	for _, tc := range []struct {
		name string
		age  time.Duration
		own  int
		want float64
	}{
		{"fresh", 0, 3, 13},
		{"one service time old", 10 * ms, 3, 3 + 2 + 8/math.E},
		{"very old", time.Minute, 3, 3 + 2},
		{"from the future", -time.Second, 3, 13},
		{"sent since", 0, 5, 15},
		{"finished since", 0, 0, 10},
		{"what is open from here is never discounted", time.Minute, 7, 9},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := base
			p.flow.own = tc.own
			if got := p.estimate(at.Add(tc.age), 10*ms); math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("estimate %v, want %v", got, tc.want)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	p := peerApp{flow: flow{own: 4, open: 4}}
	p.update(Report{Ready: 2, Outstanding: 12}, time.Unix(1, 0), 2)
	if want := 2 + 2*reportAlpha; math.Abs(p.mean-want) > 1e-9 || p.others != 8 {
		t.Errorf("mean %v, want %v: seeded with the cluster's, then smoothed; others %v", p.mean, want, p.others)
	}
	p.refused(time.Unix(1, 0), 10*ms)
	p.update(Report{}, time.Unix(2, 0), 5)
	if !p.since.IsZero() || !p.fullUntil.IsZero() {
		t.Errorf("a peer that does not serve keeps %+v", p)
	}
	p.update(Report{Ready: 1, Outstanding: 3}, time.Unix(3, 0), 5)
	if want := 5 - 5*reportAlpha; p.mean != want || p.others != 0 {
		t.Errorf("mean %v after the return, want the cluster's 5 less what is not there, %v; others %v", p.mean, want, p.others)
	}
}

func TestServiceSmoothing(t *testing.T) {
	for _, tc := range []struct{ own, median, want time.Duration }{
		{0, 10 * ms, 10 * ms}, {10 * ms, 10 * ms, 10 * ms}, {15 * ms, 10 * ms, 10 * ms}, {7 * ms, 10 * ms, 10 * ms},
		{16 * ms, 10 * ms, 16 * ms}, {6 * ms, 10 * ms, 6 * ms},
	} {
		if got := smoothService(tc.own, tc.median); got != tc.want {
			t.Errorf("smoothService(%v, %v) = %v, want %v", tc.own, tc.median, got, tc.want)
		}
	}
}

func TestServiceAverage(t *testing.T) {
	var s service
	now := time.Unix(1000, 0)
	if s.measured(now) != 0 {
		t.Errorf("%v before anything was measured", s.measured(now))
	}
	one := func(d time.Duration) time.Duration {
		s.observe(now, d, d, true)
		return s.measured(now)
	}
	if got := one(20 * ms); got != 20*ms {
		t.Errorf("%v after one observation of 20 ms", got)
	}
	if got := one(40 * ms); got != 30*ms {
		t.Errorf("%v after 20 and 40 ms", got)
	}
	for range 1000 {
		one(10 * ms)
	}
	before := s.measured(now)
	if d := before - 10*ms; d < 0 || d > ms {
		t.Errorf("%v after many of 10 ms", before)
	}
	if got := one(time.Hour); got != before {
		t.Errorf("what was kept open for an hour moved the average by %v", got-before)
	}
	one(-time.Hour)
	known := one(serviceMax)
	if got, most := known-before, time.Duration(serviceAlpha*float64(serviceMax)); got > most {
		t.Errorf("one observation moved the average by %v, want at most %v", got, most)
	}
	now = now.Add(serviceAge + 1)
	if got := s.measured(now); got != 0 {
		t.Errorf("%v is still believed after a long time without any", got)
	}
	if got := one(0); (got - (known+serviceMin)/2).Abs() > time.Microsecond {
		t.Errorf("%v after the first one since, want the middle of it and what was known", got)
	}
}

// TestServiceWithoutWaiting serves one connection after the other, of which several wait at any time.
func TestServiceWithoutWaiting(t *testing.T) {
	r := newRig(t, Worker{ID: "w1"})
	var waiting []PickResult
	for range 5 {
		waiting = append(waiting, r.must(PickInfo{}, "w1"))
	}
	for range 1000 {
		r.n = r.n.Add(10 * ms)
		waiting[0].Done(DoneInfo{Now: r.n})
		waiting = append(waiting[1:], r.must(PickInfo{}, "w1"))
	}
	if got := r.p.Local(r.n).Service; got < 9900*time.Microsecond || got > 11*ms {
		t.Errorf("service of %v measured, want 10 ms: each took 50 ms, of which it waited 40", got)
	}
	for _, x := range waiting {
		x.Done(DoneInfo{Now: r.n})
	}
	r.settled()
}

func TestMedianService(t *testing.T) {
	for _, tc := range []struct {
		name  string
		self  time.Duration
		peers []time.Duration
		want  time.Duration
	}{
		{"nothing measured", 0, []time.Duration{0, 0}, serviceSeed},
		{"only peers have measured", 0, []time.Duration{2 * ms, 3 * ms, 4 * ms}, 3 * ms},
		{"of two the faster", 50 * ms, []time.Duration{5 * ms}, 5 * ms},
		{"a slow one does not steer", 50 * ms, []time.Duration{5 * ms, 6 * ms}, 6 * ms},
	} {
		b := New("self")
		p := b.Picker("app")
		if tc.self > 0 {
			p.ledger.service.timed(start, tc.self)
		}
		for i, d := range tc.peers {
			p.SetReport(node(i), Report{Ready: 1, Service: d}, time.Unix(1, 0))
			b.SetLink(node(i), true)
		}
		p.SetReport("dead", Report{Ready: 1, Service: time.Minute}, time.Unix(1, 0)) // the last word of a dead peer must not steer
		if got := p.peers.median(p.ledger.service.measured(start)); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestHop(t *testing.T) {
	b := New("self")
	for range 100 {
		b.ObserveHop(0)
	}
	if got := b.links.hop(); got > hopMin+hopMin/4 {
		t.Errorf("hop %v after many of 0", got)
	}
	for range 1000 {
		b.ObserveHop(time.Hour)
	}
	if got := b.links.hop(); got > hopMax || got < hopMax/2 {
		t.Errorf("hop %v after many of an hour", got)
	}
}

// A worker that serves several at once tells how long that takes as long as one of its places is free.
func TestServiceOfWorkersThatServeSeveral(t *testing.T) {
	r := newRig(t, Worker{ID: "w"})
	s := DefaultSettings()
	s.Concurrency = 2
	r.p.Configure(s)
	open := []PickResult{r.must(PickInfo{}, "w"), r.must(PickInfo{}, "w"), r.must(PickInfo{}, "w")}
	r.n = r.n.Add(20 * ms)
	open[1].Done(DoneInfo{Now: r.n})
	if got := r.p.Local(r.n).Service; got != 20*ms {
		t.Errorf("service is %v after the second, want 20ms", got)
	}
	r.n = r.n.Add(20 * ms)
	open[2].Done(DoneInfo{Now: r.n}) // it had to wait
	open[0].Done(DoneInfo{Now: r.n.Add(-20 * ms)})
	if got := r.p.Local(r.n).Service; got != 20*ms {
		t.Errorf("service is %v after all, want 20ms", got)
	}
}
