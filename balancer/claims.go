package balancer

import (
	"container/list"
	"time"
)

// Bounds of what counts as a short connection, and of the service time measured on them.
const (
	// serviceAlpha is the weight of one observation in the service-time average (policy: alpha 1/128); the first observations
	// weigh more, so that the average is of use early.
	serviceAlpha = 1.0 / 128
	// serviceSeed stands in while nothing was measured.
	serviceSeed = 10 * time.Millisecond
	// serviceCap bounds one observation: a connection that stays open for minutes says nothing about service.
	serviceCap = time.Second
	// longFloor is the least age at which a connection counts as long-lived; see longAfter.
	longFloor = 100 * time.Millisecond
	// longFactor times the service time is the age at which a connection counts as long-lived.
	longFactor = 10
)

// claim is one connection given to a target and not given back.
type claim struct {
	target  Target
	since   time.Time
	pending bool          // offered, not yet taken
	long    bool          // older than longAfter
	done    bool          // given back
	elem    *list.Element // position in ledger.young while the claim is short and local
}

// workerState is what is known of one local worker. It outlives the worker's membership in the ready set while claims are open.
type workerState struct {
	Worker
	ready   bool
	open    int // claims, short and long
	pending int // of these, offered and not yet taken
	lastUse uint64
}

// ledger keeps the claims on local workers: how many are open, how many of these are long-lived, how long the short ones take.
type ledger struct {
	workers map[string]*workerState
	young   *list.List // of *claim, oldest first
	short   int
	long    int
	picks   uint64
	service time.Duration
	samples int
}

func newLedger() ledger {
	return ledger{workers: make(map[string]*workerState), young: list.New()}
}

// setReady replaces the set of workers that may be chosen.
func (l *ledger) setReady(workers []Worker) {
	for _, w := range l.workers {
		w.ready = false
	}
	for _, w := range workers {
		s := l.workers[w.ID]
		if s == nil {
			s = &workerState{}
			l.workers[w.ID] = s
		}
		s.Worker, s.ready = w, true
	}
	for id, w := range l.workers {
		l.forget(id, w)
	}
}

// forget drops a worker that is neither ready nor in use.
func (l *ledger) forget(id string, w *workerState) {
	if !w.ready && w.open == 0 {
		delete(l.workers, id)
	}
}

func (l *ledger) readyCount() int {
	n := 0
	for _, w := range l.workers {
		if w.ready {
			n++
		}
	}
	return n
}

// best returns the ready worker with the fewest open claims and room in its window, the longest unused first among equals.
// full tells that a worker was passed over only because its window is full.
func (l *ledger) best(tried []string) (best *workerState, full bool) {
	for _, w := range l.workers {
		switch {
		case !w.ready || contains(tried, w.ID):
			continue
		case w.Window > 0 && w.pending >= w.Window:
			full = true
			continue
		}
		if best == nil || w.open < best.open || w.open == best.open && w.lastUse < best.lastUse {
			best = w
		}
	}
	return best, full
}

func (l *ledger) claim(w *workerState, now time.Time) *claim {
	c := &claim{target: Target{KindWorker, w.ID}, since: now, pending: true}
	l.picks++
	w.open++
	w.pending++
	w.lastUse = l.picks
	l.short++
	c.elem = l.young.PushBack(c)
	return c
}

func (l *ledger) taken(c *claim) {
	if w := l.workers[c.target.ID]; w != nil {
		w.pending--
	}
}

func (l *ledger) release(c *claim, d DoneInfo) {
	if w := l.workers[c.target.ID]; w != nil {
		w.open--
		l.forget(c.target.ID, w)
	}
	if c.long {
		l.long--
	} else {
		l.short--
		l.young.Remove(c.elem)
	}
	if !d.Refused && !d.Failed {
		l.observe(d.Now.Sub(c.since))
	}
}

// observe takes one service time into the average.
func (l *ledger) observe(d time.Duration) {
	d = min(max(d, 0), serviceCap)
	l.samples++
	alpha := max(serviceAlpha, 1/float64(l.samples))
	l.service += time.Duration(alpha * float64(d-l.service))
}

// measured is the smoothed service time, or the seed while nothing was measured.
func (l *ledger) measured() time.Duration {
	if l.samples == 0 {
		return serviceSeed
	}
	return max(l.service, 50*time.Microsecond)
}

// age moves claims that have become long-lived out of the short ones. Cost: one step for each claim that turns long, once.
func (l *ledger) age(now time.Time) {
	limit := max(longFloor, longFactor*l.measured())
	for e := l.young.Front(); e != nil; e = l.young.Front() {
		c := e.Value.(*claim)
		if now.Sub(c.since) < limit {
			return
		}
		l.young.Remove(e)
		c.elem, c.long = nil, true
		l.short--
		l.long++
	}
}

func contains(ids []string, id string) bool {
	for _, s := range ids {
		if s == id {
			return true
		}
	}
	return false
}
