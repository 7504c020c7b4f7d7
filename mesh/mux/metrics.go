package mux

import "github.com/armon/go-metrics"

// Names of the metrics of this package. Streams accepted and dialed are one per client connection and therefore plain counters in Stats.
const (
	metricRefused    = "refused"     // counter, label reason: streams closed before they were given to a listener
	metricDialFailed = "dial_failed" // counter, label protocol: TCP connections on which our handshake failed
)

// Reasons of metricRefused.
const (
	reasonBusy       = "busy"        // too many handshakes under way
	reasonHandshake  = "handshake"   // not our protocol, another key, too slow
	reasonRole       = "role"        // whoever it is may not use this protocol
	reasonNoListener = "no_listener" // nobody speaks this protocol here
	reasonQueueFull  = "queue_full"  // the listener does not keep up
	// reasonDescriptors: this process has none left.
	reasonDescriptors = "descriptors"
)

// meter sends rare events to the metrics sink, if there is one.
type meter struct {
	sink *metrics.Metrics
}

func (m meter) count(name, value string) {
	if m.sink == nil {
		return
	}
	label := "reason"
	if name == metricDialFailed {
		label = "protocol"
	}
	m.sink.IncrCounterWithLabels([]string{"mux", name}, 1, []metrics.Label{{Name: label, Value: value}})
}

// Stats is a snapshot of a Mux's counters since Open.
type Stats struct {
	// Accepted counts streams given to a listener's queue.
	Accepted uint64
	// Dialed counts streams opened by Dial.
	Dialed uint64
	// Refused counts streams closed before they reached a listener.
	Refused uint64
	// Handshakes is how many are under way on the accepting side now, at most 256.
	Handshakes int
}

// Stats returns the counters now. It does not block.
func (m *Mux) Stats() Stats {
	return Stats{
		Accepted:   m.accepted.Load(),
		Dialed:     m.dialed.Load(),
		Refused:    m.refused.Load(),
		Handshakes: m.admission.inFlight(),
	}
}
