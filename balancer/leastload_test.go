package balancer

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

const ms = time.Millisecond

func TestLeastLoad(t *testing.T) {
	idle, busy := Load{Ready: 2}, Load{Ready: 2, Open: 6}
	peer := func(name string, l Load) PeerLoad { return PeerLoad{name, l} }
	for _, tc := range []struct {
		name string
		v    View
		want string
	}{
		{"an idle worker here", View{Local: true, Idle: true, Self: idle, Peers: []PeerLoad{peer("b", idle)}}, ""},
		{"no peer", View{Local: true, Self: busy}, ""},
		{"no worker here", View{Peers: []PeerLoad{peer("b", busy)}}, "b"},
		{"no worker here, the better of two", View{Peers: []PeerLoad{peer("b", busy), peer("c", idle)}}, "c"},
		{"busy here, idle there", View{Local: true, Self: busy, Peers: []PeerLoad{peer("b", idle)}}, "b"},
		{"equally busy", View{Local: true, Self: busy, Peers: []PeerLoad{peer("b", busy)}}, ""},
		{"gain within hop and margin", View{Local: true, Self: Load{Ready: 4, Open: 4}, Peers: []PeerLoad{peer("b", Load{Ready: 4, Open: 3})}, Hop: ms}, ""},
		{"gain above hop and margin", View{Local: true, Self: Load{Ready: 4, Open: 5}, Peers: []PeerLoad{peer("b", Load{Ready: 4, Open: 3})}, Hop: ms}, "b"},
		{"idle but slow here", View{Local: true, Idle: true, Self: Load{Ready: 2, Service: 100 * ms}, Peers: []PeerLoad{peer("b", idle)}}, "b"},
		{"a little slower is no reason", View{Local: true, Idle: true, Self: Load{Ready: 2, Service: 14 * ms}, Peers: []PeerLoad{peer("b", idle)}}, ""},
		{"idle, nothing measured here", View{Local: true, Idle: true, Self: idle, Peers: []PeerLoad{peer("b", Load{Ready: 2, Service: ms})}}, ""},
		{"slow there", View{Local: true, Self: Load{Ready: 2, Open: 3}, Peers: []PeerLoad{peer("b", Load{Ready: 2, Service: 100 * ms})}}, ""},
		{"one long-lived more per worker here", View{Local: true, Self: Load{Ready: 2, Long: 4}, Peers: []PeerLoad{peer("b", Load{Ready: 2, Long: 2})}, Hop: ms}, "b"},
		{"long-lived in equal parts", View{Local: true, Self: Load{Ready: 2, Long: 4}, Peers: []PeerLoad{peer("b", Load{Ready: 2, Long: 4})}, Hop: ms}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.v.Median = 10 * ms
			if got := (LeastLoad{}).Choose(tc.v); got != tc.want {
				t.Errorf("chose %q, want %q", got, tc.want)
			}
		})
	}
}

func TestDrawsAreDistinctAndUniform(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	const n, rounds = 5, 20000
	seen := make(map[string]int)
	for range rounds {
		// The best of the two drawn wins, so peer i of n wins when it is drawn and no better one is.
		var peers []PeerLoad
		for i := range n {
			peers = append(peers, PeerLoad{node(i), Load{Ready: 1, Open: float64(i)}})
		}
		seen[(LeastLoad{}).Choose(View{Peers: peers, Median: 10 * ms, Rand: rnd.Uint64()})]++
	}
	for i := range n {
		want := float64(n-1-i) / (n * (n - 1) / 2) // pairs in which i is the better one, of all pairs
		if got := float64(seen[node(i)]) / rounds; math.Abs(got-want) > 0.02 {
			t.Errorf("%s won %.3f of the draws, want %.3f", node(i), got, want)
		}
	}
}

func TestEstimateFades(t *testing.T) {
	at := time.Unix(100, 0)
	base := peerApp{report: Report{Ready: 2, Outstanding: 10}, receivedAt: at, mean: 1}
	for _, tc := range []struct {
		name string
		age  time.Duration
		edit func(*peerApp)
		want float64
	}{
		{"fresh", 0, func(*peerApp) {}, 10},
		{"one service time old", 10 * ms, func(*peerApp) {}, 2 + 8/math.E},
		{"very old", time.Minute, func(*peerApp) {}, 2},
		{"from the future", -time.Second, func(*peerApp) {}, 10},
		{"sent and finished since", 0, func(p *peerApp) { p.sent, p.done = 3, 1 }, 12},
		{"what is open from here is never discounted", time.Minute, func(p *peerApp) { p.own = 7 }, 7},
		{"never negative", time.Minute, func(p *peerApp) { p.done = 50 }, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := base
			tc.edit(&p)
			if got := p.estimate(at.Add(tc.age), 10*ms); math.Abs(got-tc.want) > 1e-9 {
				t.Errorf("estimate %v, want %v", got, tc.want)
			}
		})
	}
}

func TestUpdate(t *testing.T) {
	var p peerApp
	p.update(Report{Ready: 2, Outstanding: 8}, time.Unix(1, 0), 2)
	if want := 2 + 2*reportAlpha; math.Abs(p.mean-want) > 1e-9 {
		t.Errorf("mean %v, want %v: seeded with the cluster's, then smoothed", p.mean, want)
	}
	p.sent, p.done = 3, 2
	p.update(Report{}, time.Unix(2, 0), 5)
	if p.seeded || p.sent != 0 || p.done != 0 {
		t.Errorf("a peer that does not serve keeps %+v", p)
	}
	p.update(Report{Ready: 1, Outstanding: 5}, time.Unix(3, 0), 5)
	if p.mean != 5 {
		t.Errorf("mean %v after the return, want the cluster's 5", p.mean)
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
	l := newLedger()
	if l.measured() != 0 {
		t.Errorf("%v before anything was measured", l.measured())
	}
	l.observe(20 * ms)
	if l.measured() != 20*ms {
		t.Errorf("%v after one observation of 20 ms", l.measured())
	}
	l.observe(40 * ms)
	if l.measured() != 30*ms {
		t.Errorf("%v after 20 and 40 ms", l.measured())
	}
	for range 1000 {
		l.observe(10 * ms)
	}
	if d := l.measured() - 10*ms; d < 0 || d > ms {
		t.Errorf("%v after many of 10 ms", l.measured())
	}
	before := l.measured()
	l.observe(time.Hour)
	if got, most := l.measured()-before, time.Duration(serviceAlpha*float64(serviceMax)); got > most {
		t.Errorf("one observation moved the average by %v, want at most %v", got, most)
	}
	l.observe(-time.Hour)
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
		b := New(LeastLoad{})
		p := b.Picker("app")
		if tc.self > 0 {
			p.ledger.observe(tc.self)
		}
		for i, d := range tc.peers {
			p.SetReport(node(i), Report{Ready: 1, Service: d}, time.Unix(1, 0))
			b.SetLink(node(i), true)
		}
		p.SetReport("dead", Report{Ready: 1, Service: time.Minute}, time.Unix(1, 0)) // the last word of a dead peer must not steer
		if got := p.medianService(); got != tc.want {
			t.Errorf("%s: %v, want %v", tc.name, got, tc.want)
		}
	}
}

func TestHop(t *testing.T) {
	b := New(LeastLoad{})
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
