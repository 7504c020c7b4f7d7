package balancer

import (
	"slices"
	"time"
)

// Bounds of what is kept of the connections that a worker accepts by itself.
const (
	directPast   = 64 // readings kept of one worker (count)
	directWeight = 16 // observations that one report counts as, at most
)

// Direct is what a worker says of the connections that it accepted by itself, from a listening socket of its own. They are no claims: nobody
// here sees them begin or end, so they are known by what the worker reports.
type Direct struct {
	Open  int           // Open connections (count).
	Taken uint64        // Taken is the number ever accepted (count).
	Timed uint64        // Timed is the number of those whose time from accept to end was taken, a sample (count).
	Spent time.Duration // Spent is the sum of these times.
}

// direct is what follows from a worker's reports. Long-lived connections are told from others by age, as for claims: no more of the open ones
// can be young than were accepted within the limit.
type direct struct {
	Direct
	short int
	past  []reading // oldest first
}

type reading struct {
	at    time.Time
	taken uint64
}

// SetDirect takes in what a worker reports of the connections that it accepted by itself. It does nothing for a worker that is not known.
func (p *Picker) SetDirect(worker string, d Direct, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.ledger.workers[worker]
	if w == nil {
		return
	}
	fewer := d.Open < w.direct.Open
	p.ledger.direct(w, d, now)
	p.ledger.forget(w)
	if fewer {
		p.notify()
	}
}

// Ready reports whether a worker may be chosen.
func (p *Picker) Ready(worker string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.ledger.workers[worker]
	return w != nil && w.ready
}

// Stays reports whether a connection that came in now would be served here whichever peers were drawn, so that the workers may as well accept by
// themselves. Nothing is claimed.
func (p *Picker) Stays(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	view, w, _ := p.view(PickInfo{Now: now})
	if w == nil {
		return false
	}
	for _, peer := range slices.Clone(view.Peers) {
		view.Peers = []PeerLoad{peer}
		if p.policy.Choose(view) != "" {
			return false
		}
	}
	return true
}

// direct takes a worker's report in.
func (l *ledger) direct(w *workerState, d Direct, now time.Time) {
	s := &w.direct
	if d.Taken < s.Taken { // of another process
		*s = direct{}
	}
	if n := d.Timed - s.Timed; n > 0 && n <= d.Timed {
		for range min(n, directWeight) {
			l.observe((d.Spent - s.Spent) / time.Duration(n))
		}
	}
	limit := l.longAfter()
	if n := len(s.past); n == 0 || now.Sub(s.past[n-1].at) >= limit/directPast {
		s.past = append(s.past, reading{now, d.Taken})
	}
	for len(s.past) > 1 && (now.Sub(s.past[1].at) >= limit || len(s.past) > directPast+1) {
		s.past = s.past[1:]
	}
	s.Direct = d
	s.short = min(d.Open, int(d.Taken-s.past[0].taken))
}

// load is what is open on the worker, claimed or not (count).
func (w *workerState) load() int { return w.open + w.direct.Open }

// allShort and allLong are what is open on local workers, claimed or not (count).
func (l *ledger) allShort() int {
	n := l.short
	for _, w := range l.workers {
		n += w.direct.short
	}
	return n
}

func (l *ledger) allLong() int {
	n := l.long
	for _, w := range l.workers {
		n += w.direct.Open - w.direct.short
	}
	return n
}
