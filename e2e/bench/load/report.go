package load

import (
	"slices"
	"time"
)

// Report is what became of the requests of a run. Times are seconds, latencies milliseconds.
type Report struct {
	Sent       int            `json:"sent"`
	Failed     int            `json:"failed"`
	Classes    map[string]int `json:"classes,omitempty"`
	InFlight   int            `json:"in_flight"`   // InFlight counts the failed requests that had been sent when the event began.
	Late       int            `json:"late"`        // Late counts answers that were later than the limit.
	IdleClosed int            `json:"idle_closed"` // IdleClosed counts kept connections that were found closed before they were used again.
	P50        float64        `json:"p50_ms"`
	P99        float64        `json:"p99_ms"`
	P999       float64        `json:"p999_ms"`
	Max        float64        `json:"max_ms"`
	EventTook  float64        `json:"event_s"`
	Stall      float64        `json:"stall_s"`     // Stall is the longest that an answer took that came after the event's begin.
	LastFail   float64        `json:"last_fail_s"` // LastFail is when the last failed request was due, after the event's begin.
	By         map[int]int    `json:"by"`          // By counts the answers of each process.
	Failures   []Failure      `json:"failures,omitempty"`
}

// Failure is one failed request.
type Failure struct {
	At    float64 `json:"at_s"`   // At is when it was due, after the event's begin.
	After float64 `json:"after"`  // After is how long until it failed.
	Class string  `json:"class"`  // Class is one of the classes of failures.
	PID   int     `json:"pid"`    // PID answered before on the same connection; 0 = nobody.
	Idle  float64 `json:"idle_s"` // Idle is how long the connection had been idle.
	From  string  `json:"from"`   // From is the client's end of the connection.
	Error string  `json:"detail"` // Error is the error in words.
}

const mostFailures = 50 // described one by one (count)

func (r *run) report(event time.Duration) Report {
	rep := Report{Sent: len(r.outcomes), Classes: make(map[string]int), By: make(map[int]int)}
	slices.SortFunc(r.outcomes, func(a, b outcome) int { return int(a.due - b.due) })
	var ok []time.Duration
	for _, o := range r.outcomes {
		if o.err != nil {
			rep.fail(o, event)
			continue
		}
		ok = append(ok, o.latency)
		rep.By[o.pid]++
		if o.due+o.latency > event {
			rep.Stall = max(rep.Stall, o.latency.Seconds())
		}
		if o.latency > r.Late {
			rep.Late++
		}
	}
	slices.Sort(ok)
	rep.P50, rep.P99, rep.P999, rep.Max = quantile(ok, 0.5), quantile(ok, 0.99), quantile(ok, 0.999), quantile(ok, 1)
	return rep
}

func (r *Report) fail(o outcome, event time.Duration) {
	at := (o.due - event).Seconds()
	r.LastFail = at
	r.Failed++
	if at <= 0 && at+o.latency.Seconds() >= 0 {
		r.InFlight++
	}
	class := classify(o.err, o.reused)
	r.Classes[class]++
	if len(r.Failures) < mostFailures {
		r.Failures = append(r.Failures, Failure{At: at, After: o.latency.Seconds(), Class: class, PID: o.pid, Idle: o.idle.Seconds(), From: o.port, Error: o.err.Error()})
	}
}

// quantile of sorted values, in milliseconds.
func quantile(sorted []time.Duration, q float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	i := min(int(q*float64(len(sorted))), len(sorted)-1)
	return float64(sorted[i].Microseconds()) / 1000
}
