package balancer

import "time"

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
	p.ledger.reported(w, d, now)
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

// Stays reports whether a connection that came in now would be served here whichever peers were drawn and whoever the client is, so that the
// workers may as well accept by themselves. Nothing is claimed. Limits hold for claims alone: where there are some, nothing stays.
func (p *Picker) Stays(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set.MaxConnections > 0 || p.set.SoftLimit > 0 {
		return false
	}
	p.ledger.begin(now)
	p.ledger.age(now)
	v := &p.view
	v.begin(p, PickInfo{Now: now}, &Decision{})
	v.settle(p.ledger.best(v, p.policy))
	return v.here != nil && p.policy.stays(v)
}

// reported takes a worker's report in.
func (l *ledger) reported(w *workerState, d Direct, now time.Time) {
	s := &w.direct
	if d.Taken < s.Taken { // of another process
		l.leave(w)
	}
	if n := d.Timed - s.Timed; n > 0 && n <= d.Timed {
		for range min(n, directWeight) {
			l.service.timed(now, (d.Spent-s.Spent)/time.Duration(n))
		}
	}
	limit := l.longAfter(now)
	if n := len(s.past); n == 0 || now.Sub(s.past[n-1].at) >= limit/directPast {
		s.past = append(s.past, reading{now, d.Taken})
	}
	for len(s.past) > 1 && (now.Sub(s.past[1].at) >= limit || len(s.past) > directPast+1) {
		s.past = s.past[1:]
	}
	l.direct.short -= s.short
	l.direct.long -= s.Open - s.short
	s.Direct = d
	s.short = min(d.Open, int(d.Taken-s.past[0].taken))
	l.direct.short += s.short
	l.direct.long += s.Open - s.short
}

// load is what is open on the worker, claimed or not (count).
func (w *workerState) load() int { return w.open + w.direct.Open }

// leave forgets what the worker accepted by itself.
func (l *ledger) leave(w *workerState) {
	l.direct.short -= w.direct.short
	l.direct.long -= w.direct.Open - w.direct.short
	w.direct = direct{}
}

// directSum is what is open on all local workers that accept by themselves (counts).
type directSum struct{ short, long int }

// allShort and allLong are what is open on local workers, claimed or not (count).
func (l *ledger) allShort() int { return l.short + l.direct.short }

func (l *ledger) allLong() int { return l.long + l.direct.long }
