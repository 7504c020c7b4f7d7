package output

import "github.com/armon/go-metrics"

// Names of the metrics of this package, all counters under "output".
const (
	metricRotated = "rotated"  // files that turned over
	metricRemoved = "removed"  // older files that were removed
	metricCapped  = "capped"   // times that a file being written was emptied for the cap
	metricBytes   = "gzip_in"  // bytes that were compressed
	metricGzip    = "gzip_out" // bytes that came out of it
)

// meter is a go-metrics sink that may be absent.
type meter struct{ m *metrics.Metrics }

func (m meter) count(name string, n uint64) {
	if m.m != nil && n > 0 {
		m.m.IncrCounter([]string{"output", name}, float32(n))
	}
}
