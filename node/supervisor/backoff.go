package supervisor

import "time"

// The restart curve: PM2's exp_backoff_restart_delay, on by default.
const (
	backoffFirst  = 100 * time.Millisecond
	backoffFactor = 1.5
	backoffMax    = 15 * time.Second
	backoffReset  = 30 * time.Second // a worker that lived this long starts the curve anew
	minUptime     = time.Second      // a worker that dies before this counts as a failed start
	maxFailures   = 16               // failed starts in a row before the slot is given up
)

// backoff is the delay before the next start of a slot's worker.
type backoff struct {
	delay    time.Duration
	failures int // failed starts in a row
}

// next returns how long to wait after a worker that lived for uptime, and whether the slot should be given up instead.
func (b *backoff) next(uptime time.Duration) (delay time.Duration, giveUp bool) {
	switch {
	case b.delay == 0 || uptime >= backoffReset:
		b.delay = backoffFirst
	default:
		b.delay = min(time.Duration(float64(b.delay)*backoffFactor), backoffMax)
	}
	if uptime < minUptime {
		b.failures++
	} else {
		b.failures = 0
	}
	return b.delay, b.failures >= maxFailures
}
