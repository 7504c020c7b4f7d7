package telemetry

import (
	"github.com/armon/go-metrics"
	successor "github.com/hashicorp/go-metrics"
)

// bridge is a sink of the successor module that emits to an instance of the module we use.
type bridge struct{ to *metrics.Metrics }

// SetGauge implements the successor's MetricSink.
func (b bridge) SetGauge(key []string, val float32) { b.to.SetGauge(key, val) }

// SetGaugeWithLabels implements the successor's MetricSink.
func (b bridge) SetGaugeWithLabels(key []string, val float32, labels []successor.Label) {
	b.to.SetGaugeWithLabels(key, val, convert(labels))
}

// SetPrecisionGauge implements the successor's PrecisionGaugeMetricSink; without it such gauges would be dropped.
func (b bridge) SetPrecisionGauge(key []string, val float64) { b.to.SetGauge(key, float32(val)) }

// SetPrecisionGaugeWithLabels implements the successor's PrecisionGaugeMetricSink.
func (b bridge) SetPrecisionGaugeWithLabels(key []string, val float64, labels []successor.Label) {
	b.to.SetGaugeWithLabels(key, float32(val), convert(labels))
}

// EmitKey implements the successor's MetricSink.
func (b bridge) EmitKey(key []string, val float32) { b.to.EmitKey(key, val) }

// IncrCounter implements the successor's MetricSink.
func (b bridge) IncrCounter(key []string, val float32) { b.to.IncrCounter(key, val) }

// IncrCounterWithLabels implements the successor's MetricSink.
func (b bridge) IncrCounterWithLabels(key []string, val float32, labels []successor.Label) {
	b.to.IncrCounterWithLabels(key, val, convert(labels))
}

// AddSample implements the successor's MetricSink.
func (b bridge) AddSample(key []string, val float32) { b.to.AddSample(key, val) }

// AddSampleWithLabels implements the successor's MetricSink.
func (b bridge) AddSampleWithLabels(key []string, val float32, labels []successor.Label) {
	b.to.AddSampleWithLabels(key, val, convert(labels))
}

func convert(labels []successor.Label) []metrics.Label {
	out := make([]metrics.Label, len(labels))
	for i, l := range labels {
		out[i] = metrics.Label{Name: l.Name, Value: l.Value}
	}
	return out
}

var _ successor.PrecisionGaugeMetricSink = bridge{}
