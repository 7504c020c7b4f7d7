package balancer

import "time"

// Bounds of what counts as a short connection.
const (
	// longFloor is the least age at which a connection counts as long-lived; see ledger.age.
	longFloor = 100 * time.Millisecond
	// longFactor times the service time is the age at which a connection counts as long-lived.
	longFactor = 10
)

// claim is one connection given to a target and not given back. Exactly one of worker and peer is set.
type claim struct {
	target     Target
	since      time.Time
	worker     *workerState
	peer       *peerApp
	flags      claimFlags
	prev, next *claim // in ledger.young while the claim is short
}

type claimFlags struct {
	pending bool // offered, not yet taken
	long    bool // older than ledger.age's limit
	ended   bool // its target has sent all it will
	done    bool // given back
	alone   bool // its worker did not have to let it wait
	door    bool // it came in at this node
}

// claimList is a list of claims, oldest first. It is its claims' own: adding one allocates nothing.
type claimList struct {
	first, last *claim
	n           int
}

func (l *claimList) push(c *claim) {
	c.prev, c.next = l.last, nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
	l.n++
}

func (l *claimList) remove(c *claim) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	l.n--
}

// ledger keeps the claims: how many are open on local workers, how many of these are long-lived, how long the short ones take; and
// which of the claims on peers are still short.
type ledger struct {
	workers map[string]*workerState
	order   []*workerState // the ready ones, by ID
	young   claimList
	short   int // on local workers
	long    int // on local workers
	door    int // on local workers, of connections that came in here
	picks   uint64
	since   time.Time // when the node began to serve, zero while it does not
	fresh   bool      // it is not yet noted since when some workers serve
	service service
	direct  directSum
}

func newLedger() ledger { return ledger{workers: make(map[string]*workerState)} }

// claimWorker gives a connection to a worker that serves so many at once.
func (l *ledger) claimWorker(w *workerState, now time.Time, door bool, concurrency int) *claim {
	l.picks++
	if w.pending == 0 {
		w.progress, w.moved = now, false
	}
	c := &claim{target: Target{KindWorker, w.ID}, worker: w, since: now}
	c.flags = claimFlags{pending: true, alone: w.open-w.long+w.direct.short < concurrency, door: door}
	w.open++
	w.pending++
	w.lastUse = l.picks
	l.short++
	if door {
		l.door++
	}
	l.young.push(c)
	return c
}

func (l *ledger) claimPeer(p *peerApp, now time.Time) *claim {
	p.flow.open++
	p.flow.own++
	c := &claim{target: Target{KindPeer, p.name}, peer: p, since: now, flags: claimFlags{pending: true}}
	l.young.push(c)
	return c
}

// taken notes that the target has the connection.
func (l *ledger) taken(c *claim) {
	c.flags.pending = false
	if c.worker != nil {
		c.worker.pending--
		c.worker.moved = true
	}
}

// release takes a claim off its target. What a long-lived connection took is no service time; but one that was merely slow counts, else a node that takes
// longer than longFloor for everything would never learn that it is slow.
func (l *ledger) release(c *claim, d DoneInfo) {
	if c.flags.pending {
		l.taken(c)
	}
	if !c.flags.long {
		l.young.remove(c)
	}
	if c.worker == nil {
		c.peer.flow.open--
		if !c.flags.long {
			c.peer.flow.own--
		}
		return
	}
	w := c.worker
	w.open--
	if c.flags.door {
		l.door--
	}
	if c.flags.long {
		w.long--
		l.long--
	} else {
		l.short--
	}
	l.forget(w)
	if !d.Refused && !d.Failed {
		l.service.observe(d.Now, d.Now.Sub(c.since), d.Now.Sub(later(c.since, w.ended)), c.flags.alone)
		w.ended = d.Now
	}
}

// linger marks a claim that is about to be released while its worker still has the connection, from which it may read.
func (l *ledger) linger(c *claim) {
	c.flags.ended = true
	if c.worker != nil {
		c.worker.ending++
	}
}

// part ends a claim that has lingered.
func (l *ledger) part(c *claim) {
	if c.worker != nil {
		c.worker.ending--
		l.forget(c.worker)
	}
}

func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// longAfter is the age at which a connection counts as long-lived.
func (l *ledger) longAfter(now time.Time) time.Duration {
	return max(longFloor, longFactor*l.service.measured(now))
}

// age counts claims as long-lived from when they are much older than the service time. A claim that is pending stays short: it waits behind
// a busy worker, which says nothing about the connection. Cost: one step for each claim that turns long, once, and for each
// pending one, of which the windows allow few.
func (l *ledger) age(now time.Time) {
	limit := l.longAfter(now)
	for c := l.young.first; c != nil; {
		if now.Sub(c.since) < limit {
			return
		}
		next := c.next
		if !c.flags.pending {
			l.young.remove(c)
			c.flags.long = true
			if c.worker != nil {
				c.worker.long++
				l.short--
				l.long++
			} else {
				c.peer.flow.own--
			}
		}
		c = next
	}
}
