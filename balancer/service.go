package balancer

import "time"

// Bounds of the service time measured on short connections.
const (
	// serviceAlpha is the weight of one observation in a service-time average (policy: alpha 1/128); the first observations
	// weigh more, so that the average is of use early.
	serviceAlpha = 1.0 / 128
	// serviceSeed stands in while nobody in the cluster has measured anything.
	serviceSeed = 10 * time.Millisecond
	// serviceMin is the least that one observation counts as; one beyond serviceMax does not count: such a connection is kept open for
	// its own sake, and says nothing about service.
	serviceMin = 50 * time.Microsecond
	serviceMax = 2 * time.Second
	// serviceAge is how long a measurement holds without a new one. A node that was slow and gets nothing since could never show that it
	// is well again.
	serviceAge = 10 * time.Second
)

// service is what a short connection takes on this node, apart from what it waits for others. Two averages see it from two sides, and neither
// sees too much: how long those took that found their worker with nothing else to do, and what passed on a busy worker between one
// end and the next. The first is true for workers of any kind, but a worker that is never idle gives none; the second is true
// for a worker that serves one after the other, and too low for one that serves many at once. So the larger one is taken.
type service struct {
	alone, busy average
	last        time.Time // of the last observation
}

// average is an exponentially weighted one.
type average struct {
	value   time.Duration
	samples int
}

func (a *average) add(d time.Duration) {
	a.samples++
	alpha := max(serviceAlpha, 1/float64(a.samples))
	a.value += time.Duration(alpha * float64(max(d, serviceMin)-a.value))
}

// observe takes in a connection that ended at now, took so long in all, and so long since the one before it on the same worker ended.
func (s *service) observe(now time.Time, whole, gap time.Duration, alone bool) {
	if whole > serviceMax {
		return
	}
	s.refresh(now)
	s.busy.add(gap)
	if alone {
		s.alone.add(whole)
	}
}

// timed takes in a connection that a worker accepted by itself, and timed.
func (s *service) timed(now time.Time, whole time.Duration) {
	if whole <= serviceMax {
		s.refresh(now)
		s.alone.add(whole)
	}
}

// refresh notes an observation. After a time without any, what was known stands for one.
func (s *service) refresh(now time.Time) {
	if s.stale(now) {
		s.alone.samples, s.busy.samples = min(s.alone.samples, 1), min(s.busy.samples, 1)
	}
	s.last = now
}

func (s *service) stale(now time.Time) bool {
	return !s.last.IsZero() && now.Sub(s.last) > serviceAge
}

// measured is the smoothed service time, 0 while nothing was measured. A guess must not pass for a measurement: a node that believed
// itself slow would send everything away and never learn better.
func (s *service) measured(now time.Time) time.Duration {
	if s.stale(now) {
		return 0
	}
	return max(s.alone.value, s.busy.value)
}
