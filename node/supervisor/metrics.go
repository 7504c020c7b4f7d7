package supervisor

import "github.com/armon/go-metrics"

// Names of the metrics of this package, all counters under "supervisor".
const (
	metricStarts       = "starts"           // processes started
	metricFailures     = "failures"         // workers that ended unexpectedly or could not be started
	metricRefused      = "refused"          // releases that did not come up while an older worker served on
	metricDrainExpired = "drain_expired"    // drains that the deadline ended with connections open
	metricKilled       = "killed"           // workers that did not end in time after the stop signal
	metricRenewals     = "renewals"         // workers replaced though nobody asked for it: memory, health, clock, files
	metricDropped      = "renewals_dropped" // of these, those for which no room was left to wait
	metricUnwatched    = "unwatched"        // folders that are not watched because there are too many
	metricSkipped      = "skipped"          // messages of Node workers that were too large and dropped
)

// meter is a go-metrics sink that may be absent.
type meter struct{ m *metrics.Metrics }

func (m meter) count(name string, n uint64) {
	if m.m != nil && n > 0 {
		m.m.IncrCounter([]string{"supervisor", name}, float32(n))
	}
}
