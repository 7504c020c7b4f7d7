package balancer

import "time"

// Waiter is the place of a connection in the queue of its app at this node. Wait for C, then pick with it.
type Waiter struct {
	// C says that there may be room now.
	C <-chan struct{}

	c          chan struct{} // one place
	since      time.Time
	in         bool
	prev, next *Waiter
}

// Since is when it came.
func (w *Waiter) Since() time.Time { return w.since }

// queue holds the connections that wait for room, in the order in which they came. Whoever is placed wakes the next.
type queue struct {
	first, last       *Waiter
	n                 int
	refused, timeouts uint64
}

// Waits are what became of connections that found no room (counts).
type Waits struct {
	Waiting  int    // Waiting now
	Refused  uint64 // Refused at once because the queue was full
	TimedOut uint64 // TimedOut in the queue
}

// Wait takes a connection into the queue; front puts it before all others, because it had its turn already. Error: ErrQueueFull.
func (p *Picker) Wait(now time.Time, front bool) (*Waiter, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	q := &p.queue
	if q.n >= p.set.Queue && !front {
		q.refused++
		p.totals.refused.Add(1)
		return nil, ErrQueueFull
	}
	c := make(chan struct{}, 1)
	w := &Waiter{C: c, c: c, since: now, in: true}
	switch {
	case q.first == nil:
		q.first, q.last = w, w
	case front:
		w.next, q.first.prev, q.first = q.first, w, w
	default:
		w.prev, q.last.next, q.last = q.last, w, w
	}
	q.n++
	p.totals.waiting.Add(1)
	if q.first == w {
		q.wake() // what it waits for may have come meanwhile
	}
	return w, nil
}

// Again is when the first in the queue should look again by itself, from now on: a peer that was full may have room by then.
func (p *Picker) Again(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return min(max(p.peers.median(p.ledger.service.measured(now))/refusedSteps, lookMin), lookMax)
}

// Bounds of Again.
const (
	lookMin = time.Millisecond
	lookMax = 100 * time.Millisecond
)

// Leave takes a connection out of the queue that waits no longer.
func (p *Picker) Leave(w *Waiter, timedOut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !w.in {
		return
	}
	if timedOut {
		p.queue.timeouts++
		p.totals.timedOut.Add(1)
	}
	p.served(w)
}

// served ends a connection's wait, if it has one, and lets the next look.
func (p *Picker) served(w *Waiter) {
	if w == nil || !w.in {
		return
	}
	p.queue.remove(w)
	p.totals.waiting.Add(-1)
	p.queue.wake()
}

// Waits tells how many connections wait, and what became of others.
func (p *Picker) Waits() Waits {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Waits{Waiting: p.queue.n, Refused: p.queue.refused, TimedOut: p.queue.timeouts}
}

func (q *queue) remove(w *Waiter) {
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.prev, w.next, w.in = nil, nil, false
	q.n--
}

// wake lets the first look whether there is room.
func (q *queue) wake() {
	if q.first == nil {
		return
	}
	select {
	case q.first.c <- struct{}{}:
	default:
	}
}

// patient decides whether the connection takes what is there, or waits: behind others that wait already, or for a faster node than the one
// that has room. A slow one is worth its while only when the queue is so long that its turn would come later (Lin and Kumar, "Optimal
// Control of a Queueing System with Two Heterogeneous Servers", IEEE TAC 1984).
func (p *Picker) patient(v *view, peer *peerApp) (*peerApp, error) {
	if p.set.MaxConnections == 0 || v.info.LocalOnly {
		return peer, nil
	}
	ahead, waited := 0, time.Duration(0)
	if w := v.info.Waiter; w != nil {
		waited = v.info.Now.Sub(w.since)
		for ; w.prev != nil; w = w.prev {
			ahead++
		}
	} else {
		ahead = p.queue.n
	}
	own := v.self.Service
	if peer != nil {
		own = peer.report.Service
	}
	service := smoothService(own, v.median)
	if _, ok := p.policy.(leastLoad); ok && service > v.median {
		if f := v.fastest(); f != nil && ahead == 0 {
			v.look.Why = WhyCheaperThere
			return f, nil
		}
		wait, any := v.turnOf(ahead, service)
		switch {
		case any && wait+v.median < service && waited+v.median < service:
			v.look.Why = WhyFaster
			return nil, ErrFull
		case any:
			return peer, nil
		}
	}
	if ahead > 0 {
		v.look.Why = WhyLine
		return nil, ErrFull
	}
	return peer, nil
}

// turnOf is how long the connection behind so many others is expected to wait for a node that is faster than the given service time; false means
// that there is none.
func (v *view) turnOf(ahead int, slow time.Duration) (time.Duration, bool) {
	rate := 0.0 // ends of connections per nanosecond
	add := func(workers float64, own time.Duration) {
		if s := smoothService(own, v.median); float64(s)*serviceBand < float64(slow) {
			rate += workers * float64(v.set.concurrency()) / float64(s)
		}
	}
	add(v.self.Workers, v.self.Service)
	for _, list := range [][]*peerApp{v.peers.near, v.peers.far} {
		for _, p := range list {
			if s := v.state(p, false); s == StateFree || s == StateFull {
				add(v.load(p).Workers, p.report.Service)
			}
		}
	}
	if rate == 0 {
		return 0, false
	}
	return time.Duration(float64(ahead+1) / rate), true
}
