package sim

import "time"

// worker serves connections: up to slots at once, the others in the order they came; or all at once, each the slower.
type worker struct {
	node, slots int
	share       bool
	busy        int
	line        []*conn // that wait, from head on
	head        int

	shared  []*conn // that share it
	virtual float64 // work done for each of these, in nanoseconds
	last    time.Duration
	ver     uint32 // of the event that is the next end
}

// count is the number of connections on the worker.
func (w *worker) count() int { return w.busy + len(w.line) - w.head + len(w.shared) }

// take gives a connection to the worker.
func (s *world) take(i int, c *conn) {
	w := &s.workers[i]
	c.worker = i
	s.count(w.node)
	switch {
	case w.share:
		s.advance(w)
		c.finish = w.virtual + s.speed(w.node)*float64(c.work)
		w.shared = append(w.shared, c)
		s.nextEnd(i)
	case w.busy < w.slots:
		w.busy++
		s.after(time.Duration(s.speed(w.node)*float64(c.work)), event{kind: end, n: i, conn: c})
	default:
		w.line = append(w.line, c)
	}
}

// advance brings the virtual time of a shared worker up to date.
func (s *world) advance(w *worker) {
	if n := len(w.shared); n > 0 {
		w.virtual += float64(s.now-w.last) * min(1, float64(w.slots)/float64(n))
	}
	w.last = s.now
}

// nextEnd plans the next end on a shared worker; those planned before are out of date.
func (s *world) nextEnd(i int) {
	w := &s.workers[i]
	w.ver++
	if len(w.shared) == 0 {
		return
	}
	first := w.shared[0]
	for _, c := range w.shared {
		if c.finish < first.finish {
			first = c
		}
	}
	left := max(first.finish-w.virtual, 0) * max(1, float64(len(w.shared))/float64(w.slots))
	s.after(time.Duration(left)+1, event{kind: end, n: i, ver: w.ver, conn: first})
}

// ended takes a connection off a worker, and lets it go on; false means that the event is out of date.
func (s *world) ended(e event) bool {
	w := &s.workers[e.n]
	if e.conn.lost {
		return false
	}
	if w.share {
		if e.ver != w.ver {
			return false
		}
		s.advance(w)
		for i, c := range w.shared {
			if c == e.conn {
				w.shared[i] = w.shared[len(w.shared)-1]
				w.shared = w.shared[:len(w.shared)-1]
				break
			}
		}
		s.nextEnd(e.n)
		return true
	}
	w.busy--
	if w.head < len(w.line) {
		c := w.line[w.head]
		w.line[w.head] = nil
		if w.head++; w.head > 64 && 2*w.head > len(w.line) {
			w.line = append(w.line[:0], w.line[w.head:]...)
			w.head = 0
		}
		w.busy++
		s.after(time.Duration(s.speed(w.node)*float64(c.work)), event{kind: end, n: e.n, conn: c})
	}
	return true
}

// clear loses all connections of a worker.
func (w *worker) clear() {
	w.busy, w.line, w.head, w.shared = 0, nil, 0, nil
	w.ver++
}
