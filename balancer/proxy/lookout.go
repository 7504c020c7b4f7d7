package proxy

import (
	"net"
	"slices"
	"sync"
	"time"

	"meshnode/balancer"
)

const (
	lookEvery = 50 * time.Millisecond  // a look at the workers for which connections wait
	hungAfter = 300 * time.Millisecond // a worker that accepts nothing this long is hung: as long as a Node.js worker may say nothing
	heldUp    = 150 * time.Millisecond // a look that comes this long after the last says nothing of workers: the node itself did not run
	spokenOf  = 2 * time.Second        // a worker that hangs this long is spoken of
	waitsKept = 256                    // connections of one worker that are not known to be accepted (count): of more, the oldest and the newest
	waitsSeen = 16                     // of these, the oldest that are asked about at a look, beside the newest
)

// Hung is a worker that accepts nothing.
type Hung struct {
	Worker  string
	For     time.Duration
	Waiting int // Waiting connections that it has not accepted (count)
}

// Hung lists the workers that accept nothing at this moment. They are given connections only where nobody else can be.
func (s *Server) Hung() []Hung { return s.lookout.hung(time.Now()) }

// lookout finds workers that are dialed and accept nothing: the kernel completes the handshake for a program that does not run, so a connection that
// could be dialed says nothing. A worker is hung while connections wait for it and it has accepted none of them for hungAfter. One that is slow to answer
// is not; one that does nothing else while it works on a request is, and is better off without a second one.
type lookout struct {
	s      *Server
	kernel *fates // nil: it cannot be asked

	mu      sync.Mutex // guards all below
	lines   map[string]*line
	running bool
	left    bool
}

// line is what waits for one worker. The goroutine of run owns all but what says otherwise.
type line struct {
	worker  string
	target  Worker
	app     string
	picker  *balancer.Picker
	waits   []wait    // oldest first
	moved   time.Time // when it was last seen to have accepted one
	since   time.Time // since when it is hung; zero = it is not. Guarded by the lookout's lock
	fresh   []wait    // dialed since the last look; guarded by the lookout's lock
	probe   net.Conn  // a connection of ours that waits there, so that it shows when the worker accepts again
	rescue  *rescue   // under way, nil = none; guarded by the lookout's lock
	spoken  bool
	lendsNo bool // what waits there cannot be had
	gone    bool // its process is; guarded by the lookout's lock
}

// wait is a connection that was dialed and is not known to be accepted.
type wait struct {
	c    *conn // nil for our own
	r    balancer.PickResult
	at   time.Time
	path path
}

func newLookout(s *Server) *lookout {
	o := &lookout{s: s, lines: make(map[string]*line)}
	var err error
	if o.kernel, err = openFates(); err != nil {
		s.log.Warn("workers that accept nothing are not noticed", "err", err)
	}
	return o
}

// dialed notes that a worker was dialed.
func (o *lookout) dialed(c *conn, r balancer.PickResult, w Worker, wc net.Conn) {
	p, ok := pathOf(wc)
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.left || o.kernel == nil {
		return
	}
	l := o.lines[r.Target.ID]
	if l == nil {
		l = &line{worker: r.Target.ID, target: w, app: c.app, picker: c.picker}
		o.lines[l.worker] = l
	}
	if len(l.fresh) == waitsKept { // the newest matters: if that is accepted, all are
		l.fresh = l.fresh[:waitsKept-1]
	}
	l.fresh = append(l.fresh, wait{c: c, r: r, at: time.Now(), path: p})
	if !o.running {
		o.running = o.s.start(o.run)
	}
}

func pathOf(c net.Conn) (path, bool) {
	ours, ok := c.LocalAddr().(*net.TCPAddr)
	if !ok {
		return path{}, false
	}
	theirs, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return path{}, false
	}
	p := path{worker: theirs.AddrPort(), ours: ours.AddrPort()}
	return p, p.worker.IsValid() && p.ours.IsValid()
}

// run looks until nothing waits any more.
func (o *lookout) run() {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-t.C:
		case <-o.s.closing:
			o.leave()
			_, _ = o.collect()
			return
		}
		now := time.Now()
		late := now.Sub(last) > heldUp
		last = now
		lines, over := o.collect()
		if over {
			return
		}
		for _, l := range lines {
			if late {
				l.moved = now
			}
			o.look(l, now)
		}
	}
}

// collect takes in what was dialed since the last look, and forgets workers for which nothing waits. over means that there is nobody to look at.
func (o *lookout) collect() (out []*line, over bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.left {
		for _, l := range o.lines {
			l.end()
		}
		clear(o.lines)
	}
	for id, l := range o.lines {
		l.waits = append(l.waits, l.fresh...)
		if n := len(l.waits); n > waitsKept {
			l.waits[waitsKept-1] = l.waits[n-1]
			clear(l.waits[waitsKept:])
			l.waits = l.waits[:waitsKept]
		}
		l.fresh = nil
		switch {
		case l.gone:
			l.end()
			delete(o.lines, id)
		case len(l.waits) == 0 && l.since.IsZero() && l.rescue == nil:
			delete(o.lines, id)
		default:
			out = append(out, l)
		}
	}
	o.running = len(o.lines) > 0
	return out, !o.running
}

// look asks the kernel what has become of what waits for a worker, and follows.
func (o *lookout) look(l *line, now time.Time) {
	if r := l.rescue; r != nil {
		if !r.over() { // it has what it takes, and we could not tell it from what the worker accepts
			if now.Sub(r.begun) > rescueLong {
				l.knock()
			}
			return
		}
		if err := r.failed(); err != nil {
			l.lendsNo = true
			o.s.grumble.warn(o.s.log, "what waits for a worker that accepts nothing has to wait for it", "worker", l.worker, "err", err)
		}
		l.waits = slices.DeleteFunc(l.waits, func(w wait) bool { return r.has(w.path.ours) })
		if r.has(r.probe) {
			l.unask()
		}
		o.setRescue(l, nil)
	}
	if l.check(o.kernel) {
		l.moved = now
	}
	hung := !l.since.IsZero()
	switch {
	case hung && l.moved.After(l.since):
		o.wellAgain(l, now)
		return
	case !hung && len(l.waits) > 0 && now.Sub(later(l.moved, l.waits[0].at)) >= hungAfter:
		o.setSince(l, now)
	case !hung:
		return
	}
	l.picker.SetHung(l.worker, true)
	if !l.spoken && now.Sub(l.since) >= spokenOf {
		l.spoken = true
		o.s.log.Warn("worker accepts nothing, and gets connections only where nobody else does", "worker", l.worker, "count", len(l.waits))
	}
	if l.probe == nil && len(l.waits) == 0 {
		l.ask()
	}
	if l.worthRescue() {
		o.setRescue(l, o.s.rescue(l))
	}
}

// check forgets what does not wait any more, and reports whether the worker has accepted something. Connections are accepted in their order, so most
// often the newest answers for all.
func (l *line) check(kernel *fates) (moved bool) {
	if l.probe != nil {
		if p, _ := pathOf(l.probe); kernel.of(p) != fateWaits { // gone: only a worker that runs resets it, or one that has ended
			l.unask()
			moved = true
		}
	}
	n := len(l.waits)
	if n == 0 {
		return moved
	}
	switch kernel.of(l.waits[n-1].path) {
	case fateAccepted:
		l.waits = l.waits[:0]
		return true
	case fateGone:
		l.waits = l.waits[:n-1]
	}
	kept := l.waits[:0]
	for i, w := range l.waits {
		f := fateWaits
		if i < waitsSeen {
			f = kernel.of(w.path)
		}
		moved = moved || f == fateAccepted
		if f == fateWaits {
			kept = append(kept, w)
		}
	}
	clear(l.waits[len(kept):])
	l.waits = kept
	return moved
}

func (o *lookout) setSince(l *line, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.since = at
}

func (o *lookout) setRescue(l *line, r *rescue) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.rescue = r
}

func (o *lookout) wellAgain(l *line, now time.Time) {
	if l.spoken {
		o.s.log.Info("worker accepts connections again", "worker", l.worker, "dur", now.Sub(l.since))
	}
	o.setSince(l, time.Time{})
	l.spoken, l.lendsNo = false, false
	l.unask()
	l.picker.SetHung(l.worker, false)
}

// later is the later one of two times.
func later(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

// hung lists the workers that accept nothing.
func (o *lookout) hung(now time.Time) []Hung {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []Hung
	for _, l := range o.lines {
		if !l.since.IsZero() {
			out = append(out, Hung{Worker: l.worker, For: now.Sub(l.since) + hungAfter})
		}
	}
	return out
}

// forget drops a worker whose process is gone.
func (o *lookout) forget(worker string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l := o.lines[worker]; l != nil {
		l.gone = true
	}
}

// leave ends all looking, at the next look: the server closes, or a successor has taken over.
func (o *lookout) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.left = true
}

// close ends it for good, once run has ended.
func (o *lookout) close() {
	if o.kernel != nil {
		o.kernel.close()
	}
}

// end closes what there is of a worker that is looked at no more.
func (l *line) end() {
	l.unask()
	if l.rescue != nil && l.gone {
		l.rescue.abandon()
	}
}
