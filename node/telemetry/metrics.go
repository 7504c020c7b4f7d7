package telemetry

import (
	"fmt"
	"sync"

	"github.com/armon/go-metrics"
	armonprom "github.com/armon/go-metrics/prometheus"
	successor "github.com/hashicorp/go-metrics"
	"github.com/prometheus/client_golang/prometheus"
)

// metricCrowded counts connections to -http that were ended because too many others came.
var metricCrowded = []string{"http", "crowded_out"}

// Metrics is the instance that all packages emit to, with what /metrics serves.
type Metrics struct {
	*metrics.Metrics
	Registry *prometheus.Registry
}

// NewMetrics returns an instance whose names begin with "meshnode", kept in a registry of its own.
func NewMetrics() (*Metrics, error) {
	reg := prometheus.NewRegistry()
	// Expiration 0: the default drops a series that was not written for a minute.
	sink, err := armonprom.NewPrometheusSinkFrom(armonprom.PrometheusOpts{Registerer: reg})
	if err != nil {
		return nil, fmt.Errorf("make the metrics sink: %w", err)
	}
	c := metrics.DefaultConfig("meshnode")
	c.EnableHostname = false
	m, err := metrics.New(c, sink)
	if err != nil {
		return nil, fmt.Errorf("make the metrics: %w", err)
	}
	return &Metrics{Metrics: m, Registry: reg}, nil
}

// Collect adds counts that are kept as plain numbers on the data path; read is called at each scrape, and may be from several at
// once. counter says that the number never falls; its name ends in "_total" then.
func (m *Metrics) Collect(name, help string, counter bool, read func() float64) error {
	o := prometheus.Opts{Namespace: "meshnode", Name: name, Help: help}
	var c prometheus.Collector
	if counter {
		c = prometheus.NewCounterFunc(prometheus.CounterOpts(o), read)
	} else {
		c = prometheus.NewGaugeFunc(prometheus.GaugeOpts(o), read)
	}
	m.Registry.Unregister(c) // a node that began anew reads from its present parts
	if err := m.Registry.Register(c); err != nil {
		return fmt.Errorf("register metric %s: %w", name, err)
	}
	return nil
}

var bridgeOnce sync.Once

// BridgeLibraries takes the metrics of raft and memberlist into m. It must run before either starts; the first call in a process wins,
// because the libraries have one global instance.
func BridgeLibraries(m *Metrics) error {
	var err error
	bridgeOnce.Do(func() {
		c := successor.DefaultConfig("")
		c.EnableHostname = false
		c.EnableRuntimeMetrics = false // else they come twice
		_, err = successor.NewGlobal(c, bridge{m.Metrics})
	})
	if err != nil {
		return fmt.Errorf("bridge the libraries' metrics: %w", err)
	}
	return nil
}
