package store

import (
	"time"

	metrics "github.com/armon/go-metrics"
)

// Names of what the store measures, below the prefix of the sink.
const (
	metricApply       = "apply"            // time of a proposal, from asking to the answer
	metricRefused     = "refused_busy"     // proposals over the limit
	metricStreams     = "refused_streams"  // streams over the limit
	metricFalse       = "refused_messages" // messages of peers in the name of another, or of servers that may say nothing
	metricIndex       = "index"            // last index published
	metricLeader      = "leader"           // 1 while this server leads
	metricKeepFailure = "keep_failed"      // copies of the configuration that could not be written
)

// meter is a go-metrics sink that may be absent.
type meter struct{ m *metrics.Metrics }

func (m meter) count(name string) {
	if m.m != nil {
		m.m.IncrCounter([]string{"store", name}, 1)
	}
}

func (m meter) gauge(name string, v float32) {
	if m.m != nil {
		m.m.SetGauge([]string{"store", name}, v)
	}
}

func (m meter) since(name string, start time.Time) {
	if m.m != nil {
		m.m.MeasureSince([]string{"store", name}, start)
	}
}
