package quorum

// Names of the counters, below the prefix of the sink.
const (
	metricChanges = "changes"
	metricFailed  = "failed"
)

func (l *Loop) count(name string) {
	if l.Metrics != nil {
		l.Metrics.IncrCounter([]string{"quorum", name}, 1)
	}
}
