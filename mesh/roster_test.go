package mesh

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/armon/go-metrics"
)

func TestApertureIsFullMeshUpTo17(t *testing.T) {
	for n := range fullMesh {
		peers := names(n)
		if got := aperture("self", peers, 0); len(got) != n {
			t.Errorf("%d peers: %d links", n, len(got))
		}
	}
	for _, n := range []int{17, 40, 300} {
		if got := aperture("self", names(n), 0); len(got) != apertureSize || !slices.IsSorted(got) {
			t.Errorf("%d peers: %v", n, got)
		}
	}
}

// One peer more or less changes one place at most.
func TestApertureIsStable(t *testing.T) {
	peers := names(100)
	before := aperture("self", peers, 0)
	for i := range peers {
		without := slices.Delete(slices.Clone(peers), i, i+1)
		gone := 0
		for _, name := range aperture("self", without, 0) {
			if !slices.Contains(before, name) {
				gone++
			}
		}
		if gone > 1 {
			t.Errorf("without %s %d places changed", peers[i], gone)
		}
	}
}

// A wider aperture holds the narrow one, and ends at all peers.
func TestApertureWidens(t *testing.T) {
	peers := names(100)
	narrow, wide := aperture("self", peers, 0), aperture("self", peers, 40)
	if len(wide) != 40 {
		t.Errorf("40 wanted: %d links", len(wide))
	}
	for _, name := range narrow {
		if !slices.Contains(wide, name) {
			t.Errorf("%s is in the narrow aperture and not in the wide one", name)
		}
	}
	if got := aperture("self", peers, 1000); len(got) != 100 {
		t.Errorf("1000 wanted of 100: %d links", len(got))
	}
}

// Everybody is chosen about equally often.
func TestApertureIsEven(t *testing.T) {
	all := names(100)
	chosen := make(map[string]int)
	for i, self := range all {
		for _, name := range aperture(self, slices.Delete(slices.Clone(all), i, i+1), 0) {
			chosen[name]++
		}
	}
	for _, name := range all {
		if n := chosen[name]; n < 4 || n > 32 {
			t.Errorf("%s is chosen by %d of 100, expected about 16", name, n)
		}
	}
}

func names(n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("node-%d", i))
	}
	return all
}

func at(seconds int) time.Time { return time.Unix(1_700_000_000+int64(seconds), 0) }

func member(name string, started int) Member {
	return Member{Name: name, ID: "s-" + name, Addr: "10.0.0.1:1", StartedAt: at(started)}
}

func (r *roster) statusOf(name string) Status { return r.entries[name].member.Status }

// The order in which death and notice arrive does not matter, and a notice of an earlier process does not count.
func TestRosterTellsLeftFromFailed(t *testing.T) {
	r := newRoster("me")
	m := member("a", 0)
	r.apply(change{m, true}, at(1))
	r.assess(at(1))
	r.apply(change{m, false}, at(2))
	r.assess(at(2))
	if s := r.statusOf("a"); s != Failed {
		t.Fatal(s)
	}
	if !r.heed(originOf(m), at(3)) || r.heed(originOf(m), at(3)) {
		t.Error("a notice is news once")
	}
	r.assess(at(3))
	if s := r.statusOf("a"); s != Left {
		t.Fatal(s)
	}
	again := member("a", 10)
	if !r.apply(change{again, true}, at(11)) {
		t.Error("a restart was not seen")
	}
	r.assess(at(11))
	r.apply(change{again, false}, at(12))
	r.assess(at(12))
	if s := r.statusOf("a"); s != Failed {
		t.Errorf("the notice of an earlier process made it %s", s)
	}
	if r.heed(originOf(m), at(13)) {
		t.Error("an old notice is no news")
	}
	// A clock that was set back does not silence the process that lives now.
	back := member("a", -100)
	r.apply(change{back, true}, at(14))
	r.apply(change{back, false}, at(15))
	r.heed(originOf(back), at(15))
	r.assess(at(15))
	if s := r.statusOf("a"); s != Left {
		t.Error(s)
	}
}

func TestRosterForgetsAfterADay(t *testing.T) {
	r := newRoster("me")
	r.apply(change{member("me", 0), true}, at(0))
	r.apply(change{member("a", 0), true}, at(0))
	r.assess(at(0))
	r.apply(change{member("a", 0), false}, at(10))
	r.heed(originOf(member("a", 0)), at(10))
	r.assess(at(10))
	day := int(keepGone / time.Second)
	r.assess(at(10 + day))
	if len(r.entries) != 2 || len(r.notices) != 1 {
		t.Error("forgotten too early")
	}
	r.assess(at(11 + day))
	if len(r.entries) != 1 || len(r.notices) != 0 {
		t.Errorf("%d entries and %d notices are left", len(r.entries), len(r.notices))
	}
}

func TestRestartWithinAliveIsANewBeginning(t *testing.T) {
	r := newRoster("me")
	r.apply(change{member("a", 0), true}, at(0))
	r.assess(at(0))
	r.entries["a"].load = &PeerLoad{}
	r.apply(change{member("a", 5), true}, at(6))
	r.assess(at(6))
	e := r.entries["a"]
	if e.load != nil || !e.member.Since.Equal(at(6)) {
		t.Errorf("%+v", e)
	}
	// A load stream that has told us of the new process already keeps its record.
	e.load, e.from = &PeerLoad{}, at(9).UnixMilli()
	if r.apply(change{member("a", 9), true}, at(9)) || e.load == nil {
		t.Error("the new process's own record was dropped")
	}
}

func TestRecordsOfALaterProcessAreNews(t *testing.T) {
	e := &entry{load: &PeerLoad{Load: Load{Seq: 1000}}, from: 5}
	for _, test := range []struct {
		seq  uint32
		from int64
		want bool
	}{{1001, 5, true}, {1000, 5, false}, {999, 5, false}, {1, 6, true}, {2000, 4, false}} {
		if got := e.isNews(Load{Seq: test.seq}, test.from); got != test.want {
			t.Errorf("seq %d from %d: %v", test.seq, test.from, got)
		}
	}
	e.load.Seq = 1<<32 - 1
	if !e.isNews(Load{Seq: 2}, 5) {
		t.Error("sequence numbers wrap")
	}
}

// Everything that comes from outside has a bound.
func TestInboxIsBounded(t *testing.T) {
	box := newInbox()
	refused := 0
	for i := range maxMembers + 5 {
		from := origin{name: fmt.Sprint(i)}
		if !box.leave(func(n *notes) bool { return put(n.leaves, from.name, from, maxMembers) }) {
			refused++
		}
	}
	if n := box.take(); refused != 5 || len(n.leaves) != maxMembers {
		t.Errorf("%d refused, %d kept", refused, len(n.leaves))
	}
	if n := box.take(); len(n.leaves) != 0 {
		t.Error("notes were taken twice")
	}
}

func TestRosterSizeIsBounded(t *testing.T) {
	facts, err := newFacts(Member{Name: "me", ID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	full := make([]Member, maxMembers)
	full[3].Name = "known"
	facts.members.Store(&full)
	d := &delegate{facts: facts, inbox: newInbox(), meter: &meter{}}
	if d.admit(Member{Name: "new"}) == nil || d.admit(Member{Name: "known"}) != nil {
		t.Error("the bound is not held, or holds against known members")
	}
}

func TestMetricsArrive(t *testing.T) {
	sink := metrics.NewInmemSink(time.Minute, time.Hour)
	cfg := metrics.DefaultConfig("")
	cfg.EnableHostname, cfg.EnableRuntimeMetrics, cfg.EnableServiceLabel = false, false, false
	met, err := metrics.New(cfg, sink)
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{sink: met}
	m.redial()
	m.packets.Add(3)
	m.flush([]Member{{Status: Alive}, {Status: Failed}}, 7)
	data := sink.Data()[0]
	for _, gauge := range []string{"mesh.members;status=alive", "mesh.members;status=failed", "mesh.links_up"} {
		if _, ok := data.Gauges[gauge]; !ok {
			t.Errorf("no gauge %s in %v", gauge, data.Gauges)
		}
	}
	for _, counter := range []string{"mesh.redials", "mesh.refused;reason=packets"} {
		if _, ok := data.Counters[counter]; !ok {
			t.Errorf("no counter %s in %v", counter, data.Counters)
		}
	}
}
