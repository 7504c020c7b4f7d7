package telemetry

import (
	"bytes"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/armon/go-metrics"
	successor "github.com/hashicorp/go-metrics"
)

func newMetrics(t *testing.T) *Metrics {
	t.Helper()
	m, err := NewMetrics()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// series is one metric as a scrape shows it.
type series struct {
	counter, gauge, sum float64
	samples             uint64
	labels              []string // "name=value"
}

// find returns the one series of a name.
func find(t *testing.T, m *Metrics, name string) series {
	t.Helper()
	all, err := m.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range all {
		if names = append(names, f.GetName()); f.GetName() == name {
			if len(f.Metric) != 1 {
				t.Fatalf("%s comes %d times", name, len(f.Metric))
			}
			x := f.Metric[0]
			s := series{counter: x.GetCounter().GetValue(), gauge: x.GetGauge().GetValue(), sum: x.GetSummary().GetSampleSum(), samples: x.GetSummary().GetSampleCount()}
			for _, l := range x.Label {
				s.labels = append(s.labels, l.GetName()+"="+l.GetValue())
			}
			return s
		}
	}
	t.Fatalf("no metric %s among %v", name, names)
	return series{}
}

// The libraries' global instance is set once in a process.
var (
	bridgeTo = sync.OnceValues(func() (*Metrics, error) {
		m, err := NewMetrics()
		if err != nil {
			return nil, err
		}
		return m, BridgeLibraries(m)
	})
	runs atomic.Int64
)

func bridged(t *testing.T) *Metrics {
	t.Helper()
	m, err := bridgeTo()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// The two libraries emit to the global instance of the successor module. Without the bridge all of it is lost and nobody notices.
func TestLibrariesArrive(t *testing.T) {
	m := bridged(t)
	run := strconv.Itoa(int(runs.Add(1))) // all runs of this test share one instance
	// as raft and memberlist call it
	successor.IncrCounter([]string{"raft", "apply", run}, 2)
	successor.SetGaugeWithLabels([]string{"raft", "peers", run}, 3, []successor.Label{{Name: "peer_id", Value: "s2"}})
	successor.SetGauge([]string{"raft", "fsm", "pending", run}, 4)
	successor.MeasureSince([]string{"raft", "commitTime", run}, time.Now().Add(-time.Second))
	successor.AddSampleWithLabels([]string{"memberlist", "gossip", run}, 7, []successor.Label{{Name: "zone", Value: "a"}})
	successor.IncrCounterWithLabels([]string{"memberlist", "udp", "sent", run}, 512, []successor.Label{{Name: "network", Value: "lan"}})
	successor.SetPrecisionGauge([]string{"raft", "precise", run}, 9)
	successor.SetPrecisionGaugeWithLabels([]string{"raft", "exact", run}, 8, []successor.Label{{Name: "k", Value: "v"}})
	successor.EmitKey([]string{"raft", "key", run}, 1) // has no place in Prometheus; it must do no harm

	for name, want := range map[string]series{
		"meshnode_raft_apply_" + run:          {counter: 2},
		"meshnode_raft_peers_" + run:          {gauge: 3, labels: []string{"peer_id=s2"}},
		"meshnode_raft_fsm_pending_" + run:    {gauge: 4},
		"meshnode_raft_precise_" + run:        {gauge: 9},
		"meshnode_raft_exact_" + run:          {gauge: 8, labels: []string{"k=v"}},
		"meshnode_memberlist_gossip_" + run:   {sum: 7, samples: 1, labels: []string{"zone=a"}},
		"meshnode_memberlist_udp_sent_" + run: {counter: 512, labels: []string{"network=lan"}},
	} {
		if got := find(t, m, name); !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, want %+v", name, got, want)
		}
	}
	if s := find(t, m, "meshnode_raft_commitTime_"+run); s.samples != 1 || s.sum < 1000 {
		t.Errorf("a timing, in milliseconds: %+v", s)
	}

	// Another instance in the same process does not take them away from the first.
	if err := BridgeLibraries(newMetrics(t)); err != nil {
		t.Fatal(err)
	}
	successor.IncrCounter([]string{"raft", "apply", run}, 1)
	if s := find(t, m, "meshnode_raft_apply_"+run); s.counter != 3 {
		t.Errorf("after a second call: %+v", s)
	}
}

func TestOwnMetrics(t *testing.T) {
	m := newMetrics(t)
	m.IncrCounter([]string{"supervisor", "starts"}, 1)
	m.SetGaugeWithLabels([]string{"mesh", "members"}, 3, []metrics.Label{{Name: "zone", Value: "a"}})
	if s := find(t, m, "meshnode_supervisor_starts"); s.counter != 1 || s.labels != nil {
		t.Errorf("a counter, without the host's name: %+v", s)
	}
	if s := find(t, m, "meshnode_mesh_members"); s.gauge != 3 || !slices.Equal(s.labels, []string{"zone=a"}) {
		t.Errorf("a gauge: %+v", s)
	}
}

func TestCollect(t *testing.T) {
	m := newMetrics(t)
	n := 1.0
	read := func() float64 { return n }
	if err := m.Collect("things_total", "Things.", true, read); err != nil {
		t.Fatal(err)
	}
	if err := m.Collect("things_open", "Things that are open.", false, read); err != nil {
		t.Fatal(err)
	}
	n = 5
	if s := find(t, m, "meshnode_things_total"); s.counter != 5 {
		t.Errorf("a counter is read when somebody asks: %+v", s)
	}
	if s := find(t, m, "meshnode_things_open"); s.gauge != 5 {
		t.Errorf("a gauge is read when somebody asks: %+v", s)
	}
	if err := m.Collect("things_total", "Things.", true, func() float64 { return 9 }); err != nil {
		t.Fatalf("a node that begins anew: %v", err)
	}
	if s := find(t, m, "meshnode_things_total"); s.counter != 9 {
		t.Errorf("a node that began anew is read from its present parts: %+v", s)
	}
	if err := m.Collect("things_open", "Something else.", false, read); err == nil {
		t.Error("one name for two things is an error")
	}
}

func TestLogger(t *testing.T) {
	var b bytes.Buffer
	log := NewLogger(&b, "warn", true)
	log.Named("mesh").Info("hidden")
	log.Named("mesh").Warn("shown", "node", "s1")
	var line map[string]any
	if err := json.Unmarshal(b.Bytes(), &line); err != nil {
		t.Fatalf("%v: %s", err, b.String())
	}
	if line["@message"] != "shown" || line["node"] != "s1" || line["@module"] != "meshnode.mesh" {
		t.Errorf("line: %v", line)
	}
	if _, err := time.Parse("2006-01-02T15:04:05.000Z0700", line["@timestamp"].(string)); err != nil {
		t.Error(err)
	}
	b.Reset()
	NewLogger(&b, "info", false).Info("in words", "dur", time.Second)
	if !strings.Contains(b.String(), "[INFO]  meshnode: in words: dur=1s") {
		t.Errorf("line: %s", b.String())
	}
}
