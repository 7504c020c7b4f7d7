package balancer

import (
	"container/heap"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The simulated cluster: every node has a Balancer of its own, as shipped; workers serve one connection after the other.
const (
	simHop     = 500 * time.Microsecond
	simReports = 50 * time.Millisecond
	simWork    = 10 * time.Millisecond
	simWindow  = 20 * time.Millisecond // of arrivals counted for the index of dispersion
)

type simCell struct {
	nodes, workers, arrivals int
	load                     float64
	slow                     int     // the first so many nodes ...
	factor                   float64 // ... take so many times as long
}

type simEvent struct {
	at  time.Duration
	seq int
	do  func()
}

type simQueue []simEvent

func (q simQueue) Len() int { return len(q) }
func (q simQueue) Less(i, j int) bool {
	return q[i].at < q[j].at || q[i].at == q[j].at && q[i].seq < q[j].seq
}
func (q simQueue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *simQueue) Push(x any)   { *q = append(*q, x.(simEvent)) }
func (q *simQueue) Pop() any {
	old := *q
	e := old[len(old)-1]
	*q = old[:len(old)-1]
	return e
}

type sim struct {
	t       *testing.T
	cell    simCell
	rnd     *rand.Rand
	epoch   time.Time
	now     time.Duration
	seq     int
	queue   simQueue
	bal     []*Balancer
	free    map[string]time.Duration // when each worker will have served what it has
	open    map[string]int           // for the oracle
	times   []time.Duration
	windows map[int][]int
	arrived int
}

func newSim(t *testing.T, c simCell) *sim {
	s := &sim{t: t, cell: c, rnd: rand.New(rand.NewPCG(7, 11)), epoch: time.Unix(1000, 0), free: make(map[string]time.Duration),
		open: make(map[string]int), windows: make(map[int][]int)}
	for i := range c.nodes {
		b := New(node(i))
		var ws []Worker
		for w := range c.workers {
			ws = append(ws, Worker{ID: worker(i, w)})
		}
		b.Picker("app").SetWorkers(ws)
		for j := range c.nodes {
			if i != j {
				b.SetLink(node(j), true)
			}
		}
		s.bal = append(s.bal, b)
	}
	return s
}

func node(i int) string      { return fmt.Sprintf("n%02d", i) }
func worker(i, w int) string { return fmt.Sprintf("%s/%d", node(i), w) }

func (s *sim) clock() time.Time { return s.epoch.Add(s.now) }

func (s *sim) after(d time.Duration, do func()) {
	s.seq++
	heap.Push(&s.queue, simEvent{s.now + d, s.seq, do})
}

// run lets connections arrive, in equal shares at all nodes, and calls place for each.
func (s *sim) run(place func(n int, work time.Duration)) {
	gap := float64(simWork) / (float64(s.cell.nodes*s.cell.workers) * s.cell.load)
	var arrive func()
	arrive = func() {
		s.arrived++
		place(s.rnd.IntN(s.cell.nodes), time.Duration(s.rnd.ExpFloat64()*float64(simWork)))
		if s.arrived < s.cell.arrivals {
			s.after(time.Duration(s.rnd.ExpFloat64()*gap), arrive)
		}
	}
	s.after(0, arrive)
	for len(s.queue) > 0 {
		e := heap.Pop(&s.queue).(simEvent)
		s.now = e.at
		e.do()
	}
}

// serve queues a connection at a worker and calls over when it is done.
func (s *sim) serve(n int, w string, began, work time.Duration, over func()) {
	if n < s.cell.slow {
		work = time.Duration(float64(work) * s.cell.factor)
	}
	slot := int(s.now / simWindow)
	if s.windows[slot] == nil {
		s.windows[slot] = make([]int, s.cell.nodes)
	}
	s.windows[slot][n]++
	s.free[w] = max(s.free[w], s.now) + work
	s.after(s.free[w]-s.now, func() {
		s.times = append(s.times, s.now-began)
		over()
	})
}

// mesh places with the shipped code.
func (s *sim) mesh() {
	for i := range s.bal {
		s.after(time.Duration(i)*simReports/time.Duration(s.cell.nodes), func() { s.report(i) })
	}
	s.run(func(n int, work time.Duration) {
		began, own := s.now, s.bal[n].Picker("app")
		r, err := own.Pick(PickInfo{Now: s.clock(), Rand: s.rnd.Uint64()})
		if err != nil {
			s.t.Fatal(err)
		}
		if r.Target.Kind == KindWorker {
			r.Taken()
			s.serve(n, r.Target.ID, began, work, func() { r.Done(DoneInfo{Now: s.clock()}) })
			return
		}
		s.after(simHop, func() {
			s.bal[n].ObserveHop(simHop)
			r.Taken()
			to := s.index(r.Target.ID)
			in, err := s.bal[to].Picker("app").Pick(PickInfo{Now: s.clock(), Rand: s.rnd.Uint64(), LocalOnly: true})
			if err != nil {
				s.t.Fatal(err)
			}
			in.Taken()
			s.serve(to, in.Target.ID, began, work, func() {
				in.Done(DoneInfo{Now: s.clock()})
				r.Done(DoneInfo{Now: s.clock()})
			})
		})
	})
}

func (s *sim) index(name string) int {
	for i := range s.cell.nodes {
		if node(i) == name {
			return i
		}
	}
	s.t.Fatalf("no node %s", name)
	return -1
}

// report gives node i's load to all others, and comes again as long as connections arrive.
func (s *sim) report(i int) {
	r := s.bal[i].Picker("app").Local(s.clock())
	for j, b := range s.bal {
		if i != j {
			b.Picker("app").SetReport(node(i), r, s.clock())
		}
	}
	if s.arrived < s.cell.arrivals {
		s.after(simReports, func() { s.report(i) })
	}
}

// oracle joins the shortest queue of the whole cluster, with perfect knowledge and no hop.
func (s *sim) oracle() {
	s.run(func(_ int, work time.Duration) {
		best, at := "", 0
		for n := range s.cell.nodes {
			for w := range s.cell.workers {
				if id := worker(n, w); best == "" || s.open[id] < s.open[best] {
					best, at = id, n
				}
			}
		}
		s.open[best]++
		s.serve(at, best, s.now, work, func() { s.open[best]-- })
	})
}

func (s *sim) percentile(p float64) time.Duration {
	slices.Sort(s.times)
	return s.times[int(p*float64(len(s.times)-1))]
}

// fano is the variance of the connections that a node gets in a window over their mean: 1 for a Poisson process, much more when the nodes
// all choose the same target at the same time.
func (s *sim) fano() float64 {
	var sum, squares, n float64
	for slot := range int(s.now / simWindow) {
		for node := range s.cell.nodes {
			v := 0.0
			if w := s.windows[slot]; w != nil {
				v = float64(w[node])
			}
			sum, squares, n = sum+v, squares+v*v, n+1
		}
	}
	mean := sum / n
	return (squares/n - mean*mean) / mean
}

func TestSimulatedCluster(t *testing.T) {
	for _, tc := range []struct {
		name             string
		cell             simCell
		p99, fano, share float64 // bounds: times the oracle, index of dispersion, forwarded of all
	}{
		{"equal nodes", simCell{nodes: 4, workers: 2, arrivals: 60000, load: 0.7}, 1.25, 2, 0.6},
		{"equal nodes, busy", simCell{nodes: 4, workers: 2, arrivals: 60000, load: 0.9}, 1.5, 2, 0.6},
		{"one node four times slower", simCell{nodes: 4, workers: 2, arrivals: 60000, load: 0.5, slow: 1, factor: 4}, 0.8, 2.5, 0.6}, // this oracle knows queues, not speeds,
	} {
		t.Run(tc.name, func(t *testing.T) {
			ours, best := newSim(t, tc.cell), newSim(t, tc.cell)
			ours.mesh()
			best.oracle()
			var sum Counts
			for _, b := range ours.bal {
				c := b.Counts()
				sum.Taken, sum.Returned, sum.Forwarded = sum.Taken+c.Taken, sum.Returned+c.Returned, sum.Forwarded+c.Forwarded
			}
			p99 := float64(ours.percentile(0.99)) / float64(best.percentile(0.99))
			share := float64(sum.Forwarded) / float64(tc.cell.arrivals)
			t.Logf("p99 %v, %.2f times the oracle's %v; dispersion %.2f; forwarded %.2f", ours.percentile(0.99), p99, best.percentile(0.99), ours.fano(), share)
			if sum.Taken != sum.Returned {
				t.Errorf("%d claims taken, %d given back", sum.Taken, sum.Returned)
			}
			if p99 > tc.p99 || math.IsNaN(p99) {
				t.Errorf("p99 is %.2f times the oracle's, want at most %.2f", p99, tc.p99)
			}
			if f := ours.fano(); f > tc.fano {
				t.Errorf("index of dispersion %.2f, want at most %.2f: the nodes herd", f, tc.fano)
			}
			if share > tc.share {
				t.Errorf("%.2f of the connections were forwarded, want at most %.2f", share, tc.share)
			}
		})
	}
}
