package supervisor

import "time"

// The restart curve: PM2's exp_backoff_restart_delay, on by default.
const (
	backoffFactor = 1.5
	backoffMax    = 15 * time.Second
	backoffReset  = 30 * time.Second // a worker that lived this long starts the curve anew
)

// backoff is the delay before the next start of a slot's worker.
type backoff struct {
	delay    time.Duration
	failures int // failed starts in a row
}

// next returns how long to wait after a worker that lived for uptime, and whether the slot should be given up instead.
func (b *backoff) next(r Restart, uptime time.Duration) (delay time.Duration, giveUp bool) {
	switch {
	case r.Delay > 0:
		b.delay = r.Delay
	case b.delay == 0 || uptime >= backoffReset:
		b.delay = r.Backoff
	default:
		b.delay = min(time.Duration(float64(b.delay)*backoffFactor), backoffMax)
	}
	if uptime < r.MinUptime {
		b.failures++
	} else {
		b.failures = 0
	}
	return b.delay, r.Max > 0 && b.failures >= r.Max
}
