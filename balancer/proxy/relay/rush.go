package relay

import "time"

// rush tells whether a loop has so much to do that the time of each event does not matter.
type rush struct {
	since int64 // nanoseconds, of this period
	n     int   // events in it
	on    bool  // there were many in the period before
}

const (
	rushPeriod = int64(10 * time.Millisecond)
	rushEvents = 200 // in a period
)

func (r *rush) count(n int, now int64) {
	if now-r.since >= rushPeriod {
		r.on = r.n >= rushEvents && now-r.since < 2*rushPeriod
		r.since, r.n = now, 0
	}
	r.n += n
}
