package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"meshnode/balancer"
)

// conn is a connection. It is used again when it is over.
type conn struct {
	came   time.Duration
	work   time.Duration
	door   int
	worker int
	finish float64 // of a shared worker's virtual time
	claims struct{ out, in balancer.PickResult }
	waiter *balancer.Waiter
	tried  []string
	ver    uint32 // of this use of the memory
	lost   bool   // its node died
}

// world is one run.
type world struct {
	cell    *Cell
	now     time.Duration
	seq     uint64
	events  heap4
	load    *rand.Rand // of arrivals and their work: the same for all who run the cell
	rnd     *rand.Rand // of decisions
	workers []worker
	place   placer
	came    int
	open    int
	free    []*conn
	cold    time.Duration // when the last node came back
	dead    int           // the node that is dead, -1 = none
	figures figures
}

// placer finds a worker for a connection, and is told when it is over.
type placer interface {
	arrive(c *conn)
	handle(e event)
	over(c *conn)
	fault(back bool)
	lost(c *conn)
}

func newWorld(c *Cell, seed uint64) *world {
	s := &world{cell: c, load: rand.New(rand.NewPCG(seed, 1)), rnd: rand.New(rand.NewPCG(seed, 2)), dead: -1}
	s.workers = make([]worker, c.Nodes*c.Workers/c.pooled())
	for i := range s.workers {
		s.workers[i] = worker{node: i * c.pooled() / c.Workers, slots: max(c.Slots, 1) * c.pooled(), share: c.Share}
	}
	s.figures.init(c)
	return s
}

func (s *world) after(d time.Duration, e event) {
	s.seq++
	e.at, e.seq = s.now+d, s.seq
	s.events.push(e)
}

// run lets all connections come, and end.
func (s *world) run() {
	s.after(0, event{kind: arrive})
	if f := s.cell.Faults; f.Crash > 0 {
		s.after(f.Crash, event{kind: fault})
		if f.Restart > 0 {
			s.after(f.Restart, event{kind: fault, n: 1})
		}
	}
	for len(s.events) > 0 && (s.came < s.cell.Arrivals || s.open > 0) {
		e := s.events.pop()
		s.now = e.at
		switch e.kind {
		case arrive:
			s.arrival()
		case end:
			if s.ended(e) {
				s.place.over(e.conn)
			}
		case fault:
			s.breaks(e.n == 1)
		default:
			s.place.handle(e)
		}
	}
}

// arrival lets one connection come, and plans the next.
func (s *world) arrival() {
	var c *conn
	if k := len(s.free); k > 0 {
		c, s.free = s.free[k-1], s.free[:k-1]
		*c = conn{tried: c.tried[:0], ver: c.ver + 1}
	} else {
		c = &conn{}
	}
	gap := time.Duration(s.load.ExpFloat64() / s.cell.rate())
	c.came, c.work, c.door = s.now, s.cell.work(s.load), s.cell.door(s.load)
	for c.door == s.dead { // clients go to another door at once
		c.door = s.load.IntN(s.cell.Nodes)
	}
	s.came++
	s.open++
	if s.came < s.cell.Arrivals {
		s.after(gap, event{kind: arrive})
	}
	s.place.arrive(c)
}

// done ends a connection that its client had an answer to.
func (s *world) done(c *conn) {
	s.open--
	s.figures.placed++
	s.figures.add(c.came, s.now)
	s.free = append(s.free, c)
}

// lose ends a connection that gets no answer.
func (s *world) lose(c *conn) {
	if !c.lost {
		c.lost = true
		s.open--
		s.figures.Lost++
		s.place.lost(c)
	}
}

// speed is how many times as long a node takes now.
func (s *world) speed(node int) float64 {
	c := s.cell
	f := 1.0
	if node >= c.Nodes-c.Slow && !c.SlowFirst || node < c.Slow && c.SlowFirst {
		f = c.Factor
	}
	if node == c.Nodes-1 && s.cold > 0 {
		if left := 1 - float64(s.now-s.cold)/float64(c.Faults.Warm); left > 0 {
			f *= 1 + (c.Faults.Cold-1)*left
		}
	}
	return f
}

// breaks kills the last node, or brings it back.
func (s *world) breaks(back bool) {
	last := s.cell.Nodes - 1
	if back {
		s.dead, s.cold = -1, s.now
		s.place.fault(true)
		return
	}
	s.dead = last
	for i := range s.workers {
		if w := &s.workers[i]; w.node == last {
			for _, c := range append(append([]*conn(nil), w.line[w.head:]...), w.shared...) {
				s.lose(c)
			}
			w.clear()
		}
	}
	for i := range s.events { // those under way there
		if e := &s.events[i]; e.kind == end && s.workers[e.n].node == last {
			s.lose(e.conn)
		}
	}
	s.place.fault(false)
}

// count counts an arrival at a node's workers.
func (s *world) count(node int) { s.figures.arrival(node, s.now) }

func name(i int) string { return fmt.Sprintf("n%04d", i) }
