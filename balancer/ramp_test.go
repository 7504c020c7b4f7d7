package balancer

import (
	"testing"
	"time"
)

// TestHeldConnectionsAtTwoDoors has connections that stay come at two nodes with two workers each, at both alike. Each node hears of the other every 50 ms
// and a little late, so it knows its own new ones and not the other's: nearly all crossed, and cost three times the descriptors.
func TestHeldConnectionsAtTwoDoors(t *testing.T) {
	nodes := []*rig{newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"}), newRig(t, Worker{ID: "w1"}, Worker{ID: "w2"})}
	names := []string{"one", "two"}
	for i, r := range nodes {
		r.b.SetLink(names[1-i], true)
		r.p.ledger.service.timed(r.n, 2*ms)
	}
	type news struct {
		due  time.Time
		to   int
		what Report
	}
	var way []news
	crossed, n := 0, 10000
	now := start
	for k := range n {
		now = now.Add(400 * time.Microsecond)
		for _, r := range nodes {
			r.n = now
		}
		for i := range nodes {
			if (k+60*i)%125 == 0 {
				way = append(way, news{now.Add(2 * ms), 1 - i, nodes[i].p.Local(now)})
			}
		}
		for len(way) > 0 && !now.Before(way[0].due) {
			nodes[way[0].to].p.SetReport(names[1-way[0].to], way[0].what, now)
			way = way[1:]
		}
		door := k % 2
		got, err := nodes[door].pick(PickInfo{Rand: uint64(k) * 0x9e3779b97f4a7c15})
		if err != nil {
			t.Fatal(err)
		}
		got.Taken()
		if got.Target.Kind != KindPeer {
			continue
		}
		crossed++
		there, err := nodes[1-door].pick(PickInfo{LocalOnly: true})
		if err != nil {
			t.Fatal(err)
		}
		there.Taken()
	}
	a, b := nodes[0].p.Local(now), nodes[1].p.Local(now)
	t.Logf("%d of %d crossed; %d and %d are served", crossed, n, a.Outstanding+a.Long, b.Outstanding+b.Long)
	if crossed > n/6 {
		t.Errorf("%d of %d connections crossed", crossed, n)
	}
	if d := a.Outstanding + a.Long - b.Outstanding - b.Long; d > n/50 || d < -n/50 {
		t.Errorf("%d more are served by one than by the other", d)
	}
}
