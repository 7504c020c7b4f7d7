package balancer

import (
	"math"
	"sort"
	"time"
)

// Bounds of what is kept of the connections that a worker accepts by itself.
const (
	directPast   = 64 // readings kept of one worker (count)
	directWeight = 16 // observations that one report counts as, at most
	// directEvery is how often a worker reports whose connections are short. What is shorter comes and goes unseen between two reports. Where
	// connections take directSeen or more, on average, it reports each that begins or ends within that time.
	directEvery = 50 * time.Millisecond
	directSeen  = 5 * time.Millisecond
	directFew   = 8 // of them, in directEvery (count)
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
// can be young than were accepted within the limit, and no more of the old ones have ended than the times of those that ended suggest.
type direct struct {
	Direct
	short  int
	coming int       // on their way to it, not reported yet
	past   []reading // oldest first
}

type reading struct {
	Direct
	at time.Time
}

// kept is how many of the connections that were open then are probably open still, if all of them are older than limit by now: each of them that has
// ended took that long, of which there are few where the times are exponential and their mean is short. Where that is wrong, it is for as long
// as limit, after which those that have ended were not open then.
func (r reading) kept(d Direct, limit time.Duration) int {
	ended := float64(r.Open + int(d.Taken-r.Taken) - d.Open)
	if timed := d.Timed - r.Timed; timed > 0 {
		mean := float64(d.Spent-r.Spent) / float64(timed)
		ended *= math.Exp(-float64(limit) / max(mean, 1))
	}
	return min(max(r.Open-max(int(math.Round(ended)), 0), 0), d.Open)
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

// SetComing says how many connections the kernel has given to a worker that the worker has not reported yet. Where connections are short, most of
// them have ended since.
func (p *Picker) SetComing(worker string, n int, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.ledger.workers[worker]
	if w == nil {
		return
	}
	turnover := p.ledger.turnover(now)
	if service := p.ledger.service.measured(now); n > directFew && service > 0 { // so many are not all seen
		turnover = max(turnover, float64(directEvery)/float64(service))
	}
	n = int(math.Round(float64(n) / turnover))
	p.ledger.direct.coming += n - w.direct.coming
	w.direct.coming = n
}

// turnover is how many connections that came and went unseen between two reports are as good as one that is open: the shorter they are, the more
// find place one after the other, and the less it matters where one of them goes. It is 1 where each is seen, or that is not known.
func (l *ledger) turnover(now time.Time) float64 {
	service := l.service.measured(now)
	if service == 0 || service >= directSeen {
		return 1
	}
	return math.Pow(float64(directEvery)/float64(service), 1.5)
}

// Ready reports whether a worker may be chosen.
func (p *Picker) Ready(worker string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.ledger.workers[worker]
	return w != nil && w.ready
}

// Unbounded is the Room where nobody else could serve.
const Unbounded = 1 << 16

// Room is how many connections that came in until the workers' next reports, one after the other, would all be served here, whichever peers were
// drawn and whoever the clients are: so many the workers may as well accept by themselves. It is Unbounded at most (count). Nothing is
// claimed. Limits hold for claims alone: where there are some, there is no room.
func (p *Picker) Room(now time.Time) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set.MaxConnections > 0 || p.set.SoftLimit > 0 {
		return 0
	}
	p.ledger.begin(now)
	p.ledger.age(now)
	v := &p.view
	v.begin(p, PickInfo{Now: now}, &Decision{})
	v.settle(p.ledger.best(v, p.policy))
	switch {
	case v.here == nil || !p.policy.stays(v):
		return 0
	case v.alone():
		return Unbounded
	}
	idle, open, here, busy := p.ledger.idle(), v.self.Open, v.here, &workerState{open: 1}
	k := sort.Search(Unbounded, func(k int) bool {
		v.self.Open, v.here = open+float64(k), here
		if k >= idle {
			v.here = busy
		}
		return !p.policy.stays(v)
	})
	return min(int(float64(k)*p.ledger.turnover(now)), Unbounded)
}

// idle is the number of workers that have no connection.
func (l *ledger) idle() (n int) {
	for _, w := range l.workers {
		if w.ready && w.load() == 0 {
			n++
		}
	}
	return n
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
		s.past = append(s.past, reading{d, now})
	}
	for len(s.past) > 1 && (now.Sub(s.past[1].at) >= limit || len(s.past) > directPast+1) {
		s.past = s.past[1:]
	}
	l.direct.short -= s.short
	l.direct.long -= s.Open - s.short
	s.Direct = d
	since := s.past[0]
	s.short = min(d.Open, int(d.Taken-since.Taken))
	if now.Sub(since.at) >= limit {
		s.short = min(s.short, d.Open-since.kept(d, limit))
	}
	l.direct.short += s.short
	l.direct.long += s.Open - s.short
}

func (p *Picker) direct() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ledger.direct.short + p.ledger.direct.long
}

// load is what is open on the worker, claimed or not (count).
func (w *workerState) load() int { return w.open + w.direct.Open + w.direct.coming }

// leave forgets what the worker accepted by itself.
func (l *ledger) leave(w *workerState) {
	l.direct.short -= w.direct.short
	l.direct.long -= w.direct.Open - w.direct.short
	l.direct.coming -= w.direct.coming
	w.direct = direct{}
}

// directSum is what is open on all local workers that accept by themselves (counts).
type directSum struct{ short, long, coming int }

// allShort and allLong are what is open on local workers, claimed or not (count).
func (l *ledger) allShort() int { return l.short + l.direct.short + l.direct.coming }

func (l *ledger) allLong() int { return l.long + l.direct.long }
