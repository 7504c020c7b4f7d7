package balancer

import (
	"cmp"
	"slices"
	"time"
)

// stallAfter is how long a worker with a full window may take nothing before connections go elsewhere.
const stallAfter = 100 * time.Millisecond

// workerState is what is known of one local worker. It outlives the worker's membership in the ready set while claims are open.
type workerState struct {
	Worker
	hash    uint64
	ready   bool
	hung    bool // it accepts nothing at this moment
	open    int  // claims, short and long
	long    int  // of these, long-lived
	pending int  // of these, offered and not yet taken
	ending  int  // released claims whose connection is not over
	lastUse uint64

	direct   direct    // what it accepted by itself
	since    time.Time // when it became ready
	ended    time.Time // when it last ended a connection
	progress time.Time // when it last took something, or was offered something after having nothing to take
	moved    bool      // it took something since progress was looked at
}

// setReady replaces the set of workers that may be chosen. Since when they serve is noted at the next pick (begin): there is no clock here.
func (l *ledger) setReady(workers []Worker) {
	was := make(map[string]bool, len(l.order))
	for _, w := range l.order {
		was[w.ID], w.ready = true, false
	}
	l.order = l.order[:0]
	for _, w := range workers {
		s := l.state(w.ID)
		s.Worker, s.ready, s.hash = w, true, hashName(cmp.Or(w.Name, w.ID))
		if !was[w.ID] {
			s.since = time.Time{}
		}
		l.order = append(l.order, s)
	}
	slices.SortFunc(l.order, func(a, b *workerState) int { return cmp.Compare(a.ID, b.ID) })
	for _, w := range l.workers {
		l.forget(w)
	}
	if len(l.order) == 0 {
		l.since = time.Time{}
	}
	l.fresh = true
}

// begin notes since when workers serve.
func (l *ledger) begin(now time.Time) {
	if !l.fresh {
		return
	}
	l.fresh = false
	for _, w := range l.order {
		if w.since.IsZero() {
			w.since = now
		}
	}
	if l.since.IsZero() && len(l.order) > 0 {
		l.since = now
	}
}

// state returns what is known of a worker, made when there is nothing.
func (l *ledger) state(id string) *workerState {
	s := l.workers[id]
	if s == nil {
		s = &workerState{Worker: Worker{ID: id}}
		l.workers[id] = s
	}
	return s
}

// forget drops a worker that is neither ready nor in use.
func (l *ledger) forget(w *workerState) {
	if !w.ready && w.load() == 0 && w.ending == 0 {
		delete(l.workers, w.ID)
	}
}

// local is what there is to choose from on this node.
type local struct {
	best    *workerState // nil = nobody here
	rank    rank
	stalled bool // one was passed over that takes nothing
	limited bool // one was passed over that has all it may have
}

// best returns the ready worker that should have the next connection: the first one in the policy's order, of those with the lowest rank. It may have its window full; then the connection waits for it rather than pile up where answers come sooner, unless a
// worker with room has hardly more (one claim). A worker that has its window full and has taken nothing for stallAfter is passed over: it is
// blocked.
func (l *ledger) best(v *view, order policy) (out local) {
	var free *workerState
	now, set := v.info.Now, v.set
	first := func(a, b *workerState) bool {
		if ra, rb := a.rank(set), b.rank(set); ra != rb {
			return ra < rb
		}
		return order.before(v, a, b)
	}
	for _, w := range l.order {
		switch {
		case slices.Contains(v.info.Tried, w.ID):
			continue
		case set.MaxConnections > 0 && w.load() >= set.MaxConnections:
			out.limited = true
			continue
		case w.full() && w.stalled(now):
			out.stalled = true
			continue
		}
		if out.best == nil || first(w, out.best) {
			out.best = w
		}
		if !w.full() && (free == nil || first(w, free)) {
			free = w
		}
	}
	if free != nil && free.load() <= out.best.load()+1 && free.rank(set) <= out.best.rank(set) {
		out.best = free
	}
	if out.best != nil {
		out.rank = out.best.rank(set)
	}
	return out
}

// room is the number of connections that local workers may still get (count).
func (l *ledger) room(limit int) int {
	n := 0
	for _, w := range l.order {
		n += max(limit-w.load(), 0)
	}
	return n
}

// rank tells who is asked only where nobody of a lower rank can be.
type rank uint8

const (
	rankSoft rank = iota + 1 // it has reached the soft limit
	rankHung                 // it accepts nothing at this moment; it may be slow, so that it is still better than nobody
)

func (w *workerState) rank(s *Settings) rank {
	switch {
	case w.hung:
		return rankHung
	case s.SoftLimit > 0 && w.load() >= s.SoftLimit:
		return rankSoft
	}
	return 0
}

// able is the number of ready workers that accept; of all where none does.
func (l *ledger) able() (n int) {
	for _, w := range l.order {
		if !w.hung {
			n++
		}
	}
	if n == 0 {
		return len(l.order)
	}
	return n
}

// hung tells that there are ready workers, none of which accepts anything.
func (l *ledger) hung() bool {
	for _, w := range l.order {
		if !w.hung {
			return false
		}
	}
	return len(l.order) > 0
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

// unused orders workers by how long they were unused, then by ID.
func (w *workerState) unused(o *workerState) bool {
	if w.lastUse != o.lastUse {
		return w.lastUse < o.lastUse
	}
	return w.ID < o.ID
}
