package mesh

import (
	"sync/atomic"

	"github.com/armon/go-metrics"
)

// Names of the metrics of this package, all under "mesh". Memberlist's own keys are emitted by memberlist.
const (
	metricMembers = "members"  // gauge, label status
	metricLinks   = "links_up" // gauge: peers whose load stream is alive
	metricRefused = "refused"  // counter, label reason
	metricRedials = "redials"  // counter: load streams that ended and were dialed again
)

// Reasons of metricRefused.
const (
	reasonOtherCluster = "other_cluster" // a member of another cluster
	reasonMetadata     = "metadata"      // a member whose metadata cannot be read
	reasonMembers      = "members"       // a member beyond maxMembers
	reasonInbox        = "inbox"         // a note of memberlist beyond the inbox's bound
	reasonMessage      = "message"       // a user message that cannot be read
	reasonStreams      = "streams"       // a stream of a peer beyond the bound
	reasonPackets      = "packets"       // a packet, because memberlist did not keep up
	reasonApps         = "apps"          // apps of our own record beyond MaxApps or MaxAppName
)

// meter sends events to the metrics sink, if there is one, and counts the frequent ones in between.
type meter struct {
	sink    *metrics.Metrics
	packets atomic.Uint64 // packets dropped since the last flush
}

func (m *meter) refused(reason string, n int) {
	if m.sink != nil && n > 0 {
		m.sink.IncrCounterWithLabels([]string{"mesh", metricRefused}, float32(n), []metrics.Label{{Name: "reason", Value: reason}})
	}
}

func (m *meter) redial() {
	if m.sink != nil {
		m.sink.IncrCounter([]string{"mesh", metricRedials}, 1)
	}
}

// flush publishes the gauges and what has been counted since the last flush.
func (m *meter) flush(members []Member, links int) {
	m.refused(reasonPackets, int(m.packets.Swap(0)))
	if m.sink == nil {
		return
	}
	counts := map[Status]int{Alive: 0, Suspect: 0, Failed: 0, Left: 0}
	for _, member := range members {
		counts[member.Status]++
	}
	for status, n := range counts {
		m.sink.SetGaugeWithLabels([]string{"mesh", metricMembers}, float32(n), []metrics.Label{{Name: "status", Value: string(status)}})
	}
	m.sink.SetGauge([]string{"mesh", metricLinks}, float32(links))
}
