package balancer

import (
	"container/list"
	"slices"
	"time"
)

// Bounds of what counts as a short connection, and of the service time measured on them.
const (
	// serviceAlpha is the weight of one observation in the service-time average (policy: alpha 1/128); the first observations
	// weigh more, so that the average is of use early.
	serviceAlpha = 1.0 / 128
	// serviceSeed stands in while nobody in the cluster has measured anything.
	serviceSeed = 10 * time.Millisecond
	// serviceMin is the least that one observation counts as; one beyond serviceMax does not count: such a connection is kept open for
	// its own sake, and says nothing about service.
	serviceMin = 50 * time.Microsecond
	serviceMax = 2 * time.Second
	// stallAfter is how long a worker with a full window may take nothing before connections go elsewhere.
	stallAfter = 100 * time.Millisecond
	// longFloor is the least age at which a connection counts as long-lived; see ledger.age.
	longFloor = 100 * time.Millisecond
	// longFactor times the service time is the age at which a connection counts as long-lived.
	longFactor = 10
)

// claim is one connection given to a target and not given back. Exactly one of worker and peer is set.
type claim struct {
	target  Target
	since   time.Time
	worker  *workerState
	peer    *peerApp
	pending bool          // offered, not yet taken
	long    bool          // older than ledger.age's limit
	done    bool          // given back
	elem    *list.Element // position in ledger.young while the claim is short
}

// workerState is what is known of one local worker. It outlives the worker's membership in the ready set while claims are open.
type workerState struct {
	Worker
	ready   bool
	open    int // claims, short and long
	pending int // of these, offered and not yet taken
	lastUse uint64

	direct   direct    // what it accepted by itself
	progress time.Time // when it last took something, or was offered something after having nothing to take
	moved    bool      // it took something since progress was looked at
}

// ledger keeps the claims: how many are open on local workers, how many of these are long-lived, how long the short ones take; and
// which of the claims on peers are still short.
type ledger struct {
	workers map[string]*workerState
	young   *list.List // of *claim, oldest first
	short   int        // on local workers
	long    int        // on local workers
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
	for _, w := range l.workers {
		l.forget(w)
	}
}

// forget drops a worker that is neither ready nor in use.
func (l *ledger) forget(w *workerState) {
	if !w.ready && w.load() == 0 {
		delete(l.workers, w.ID)
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

// best returns the ready worker that should have the next connection: the one with the fewest open connections, the longest unused first among
// equals. It may have its window full; then the connection waits for it rather than pile up where answers come sooner, unless a worker with
// room has hardly more (one claim). A worker that has its window full and has taken nothing for stallAfter is passed over: it is blocked.
// stalled tells that one was.
func (l *ledger) best(tried []string, now time.Time) (best *workerState, stalled bool) {
	var free *workerState
	for _, w := range l.workers {
		switch {
		case !w.ready || slices.Contains(tried, w.ID):
			continue
		case w.full() && w.stalled(now):
			stalled = true
			continue
		}
		if best == nil || w.before(best) {
			best = w
		}
		if !w.full() && (free == nil || w.before(free)) {
			free = w
		}
	}
	if free != nil && free.load() <= best.load()+1 {
		return free, stalled
	}
	return best, stalled
}

// full tells that no more may be offered before the worker takes something.
func (w *workerState) full() bool { return w.Window > 0 && w.pending >= w.Window }

// stalled tells that the worker has taken nothing for a while, though something was offered.
func (w *workerState) stalled(now time.Time) bool {
	if w.moved {
		w.moved, w.progress = false, now
	}
	return now.Sub(w.progress) >= stallAfter
}

// before orders workers by open connections, then by how long they were unused, then by ID: the choice never hangs on the order of a map.
func (w *workerState) before(o *workerState) bool {
	switch {
	case w.load() != o.load():
		return w.load() < o.load()
	case w.lastUse != o.lastUse:
		return w.lastUse < o.lastUse
	}
	return w.ID < o.ID
}

func (l *ledger) claimWorker(w *workerState, now time.Time) *claim {
	l.picks++
	if w.pending == 0 {
		w.progress, w.moved = now, false
	}
	w.open++
	w.pending++
	w.lastUse = l.picks
	l.short++
	return l.add(&claim{target: Target{KindWorker, w.ID}, worker: w, since: now})
}

func (l *ledger) claimPeer(name string, p *peerApp, now time.Time) *claim {
	p.own++
	p.sent++
	return l.add(&claim{target: Target{KindPeer, name}, peer: p, since: now})
}

func (l *ledger) add(c *claim) *claim {
	c.pending = true
	c.elem = l.young.PushBack(c)
	return c
}

// taken notes that the target has the connection.
func (l *ledger) taken(c *claim) {
	c.pending = false
	if c.worker != nil {
		c.worker.pending--
		c.worker.moved = true
	}
}

// release ends a claim. What a long-lived connection took is no service time; but one that was merely slow counts, else a node that takes
// longer than longFloor for everything would never learn that it is slow.
func (l *ledger) release(c *claim, d DoneInfo) {
	if c.pending {
		l.taken(c)
	}
	c.done = true
	if !c.long {
		l.young.Remove(c.elem)
	}
	if c.worker == nil {
		if !c.long {
			c.peer.own--
			c.peer.done++
		}
		return
	}
	c.worker.open--
	l.forget(c.worker)
	if c.long {
		l.long--
	} else {
		l.short--
	}
	if !d.Refused && !d.Failed {
		l.observe(d.Now.Sub(c.since))
	}
}

// observe takes one service time into the average, unless it is none.
func (l *ledger) observe(d time.Duration) {
	if d > serviceMax {
		return
	}
	d = max(d, serviceMin)
	l.samples++
	alpha := max(serviceAlpha, 1/float64(l.samples))
	l.service += time.Duration(alpha * float64(d-l.service))
}

// measured is the smoothed service time, 0 while nothing was measured. A guess must not pass for a measurement: a node that believed
// itself slow would send everything away and never learn better.
func (l *ledger) measured() time.Duration {
	if l.samples == 0 {
		return 0
	}
	return l.service
}

// longAfter is the age at which a connection counts as long-lived.
func (l *ledger) longAfter() time.Duration { return max(longFloor, longFactor*l.measured()) }

// age counts claims as long-lived from when they are much older than the service time. A claim that is pending stays short: it waits behind
// a busy worker, which says nothing about the connection. Cost: one step for each claim that turns long, once, and for each
// pending one, of which the windows allow few.
func (l *ledger) age(now time.Time) {
	limit := l.longAfter()
	for e := l.young.Front(); e != nil; {
		c := e.Value.(*claim)
		if now.Sub(c.since) < limit {
			return
		}
		next := e.Next()
		if !c.pending {
			l.young.Remove(e)
			c.elem, c.long = nil, true
			if c.worker != nil {
				l.short--
				l.long++
			} else {
				c.peer.own--
			}
		}
		e = next
	}
}
