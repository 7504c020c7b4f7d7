package api

import "github.com/armon/go-metrics"

// Names of the metrics this package emits, all counters.
var (
	metricRequests = []string{"api", "requests"}            // requests that reached a route
	metricErrors   = []string{"api", "errors"}              // of these, answered with an error
	metricRefused  = []string{"api", "connections_refused"} // connections over the limit
)

// count adds one to a counter; m may be nil.
func count(m *metrics.Metrics, name []string) {
	if m != nil {
		m.IncrCounter(name, 1)
	}
}
