package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// rolling returns three servers with two workers of rolling.js on each, and what starts another release of it.
func rolling(t *testing.T) (*lab.Lab, []*lab.Node, func(env ...string) []string) {
	t.Helper()
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	release := func(env ...string) []string {
		args := []string{"-n", "web", "-i", "2", "-replace"}
		for _, e := range env {
			args = append(args, "-env", e)
		}
		return append(args, lab.App(t, "rolling.js"))
	}
	nodes[0].Must("start", release("V=1")...)
	return l, nodes, release
}

// leaderOf returns the node that leads, and the others by name.
func leaderOf(t *testing.T, nodes []*lab.Node) (*lab.Node, []*lab.Node) {
	t.Helper()
	s, err := nodes[0].Status()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(nodes, func(n *lab.Node) bool { return n.Name == s.Leader })
	if i < 0 {
		t.Fatalf("no leader among the nodes: %+v", s)
	}
	return nodes[i], slices.Delete(slices.Clone(nodes), i, i+1)
}

// versions are the releases of the workers on each node.
func versions(n *lab.Node) (map[string]map[uint64]int, error) {
	ws, err := n.Workers()
	out := make(map[string]map[uint64]int)
	for _, w := range ws {
		if out[w.Node] == nil {
			out[w.Node] = make(map[uint64]int)
		}
		out[w.Node][w.Release]++
	}
	return out, err
}

// all waits until every worker that n sees is of that release and ready.
func all(t *testing.T, n *lab.Node, release uint64, workers int) {
	t.Helper()
	lab.Eventually(t, 30*time.Second, func() error {
		ws, err := n.Workers()
		if err != nil {
			return err
		}
		k := 0
		for _, w := range ws {
			if w.Release == release && w.Status == "ready" {
				k++
			}
		}
		if k != workers || len(ws) != workers {
			return fmt.Errorf("%d workers of release %d, want %d of %d: %+v", k, release, workers, len(ws), ws)
		}
		return nil
	})
}

func lost(t *testing.T, what string, load *lab.Load) {
	t.Helper()
	lostAtMost(t, 0, what, load)
}

// lostAtMost ends the load and allows for what was in flight on a server that was killed: requests that others had passed on to it.
func lostAtMost(t *testing.T, inFlight int, what string, load *lab.Load) {
	t.Helper()
	total, failed, _ := load.Stop()
	t.Logf("%s: %d of %d requests lost", what, len(failed), total)
	if len(failed) <= inFlight {
		return
	}
	for _, f := range failed[:min(len(failed), 10)] {
		t.Error(f)
	}
}

// inFlight is more than can be under way on a server that others pass requests of a few milliseconds on to, at 200 a second.
const inFlight = 4

// loadOn sends requests to all these nodes, half of them on new connections.
func loadOn(t *testing.T, rate int, l *lab.Lab, nodes []*lab.Node) *lab.Load {
	t.Helper()
	var urls []string
	for _, n := range nodes {
		urls = append(urls, n.URL(3000, "/"))
	}
	load := lab.StartLoad(rate, []*http.Client{l.Client(true), l.Client(false)}, urls)
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), rate/2) })
	return load
}

// reload goes over one server at a time: at no moment two of them run workers of both releases, and the leader comes last.
func TestReloadGoesNodeByNode(t *testing.T) {
	l, nodes, _ := rolling(t)
	leader, others := leaderOf(t, nodes)
	load := loadOn(t, 300, l, nodes)
	ended := make(chan lab.Result, 1)
	go func() { ended <- nodes[1].Run("reload", "web") }()
	var seen []string
	var result *lab.Result
	for looks := 0; result == nil; looks++ {
		select {
		case r := <-ended:
			result = &r
		default:
		}
		by, err := versions(nodes[0])
		if err != nil {
			t.Fatal(err)
		}
		var mixed []string
		for node, releases := range by {
			if len(releases) > 1 {
				mixed = append(mixed, node)
			}
			if releases[2] > 0 && !slices.Contains(seen, node) {
				seen = append(seen, node)
			}
		}
		if len(mixed) > 1 {
			t.Errorf("both releases run on %v: %v", mixed, by)
		}
	}
	if result.Code != 0 || !strings.Contains(result.Out, "release 2 runs, 6 of 6 workers ready on 3 nodes") {
		t.Errorf("reload: exit %d\n%s%s", result.Code, result.Out, result.Err)
	}
	if want := []string{others[0].Name, others[1].Name, leader.Name}; !slices.Equal(seen, want) {
		t.Errorf("turns %v, want %v", seen, want)
	}
	lost(t, "reload, one node at a time", load)
}

// A release that breaks on the second server only is rolled back on the first: exit 2 with the place, the reason and the worker's last lines,
// and the third has never changed. rollback then goes to a former release as a new one.
func TestReleaseThatBreaksOnTheSecondNode(t *testing.T) {
	l, nodes, release := rolling(t)
	leader, others := leaderOf(t, nodes)
	before := pids(t, leader)
	load := loadOn(t, 300, l, nodes)
	r := nodes[0].Run("start", release("V=2", "BREAK_ON="+others[1].Name)...)
	for _, want := range []string{"release 2 is refused, release 1 goes on everywhere", others[1].Name + ": exited with code 1", "    at Module.load"} {
		if r.Code != 2 || !strings.Contains(r.Err, want) {
			t.Errorf("exit %d, want 2 and %q:\n%s", r.Code, want, r.Err)
		}
	}
	all(t, nodes[0], 1, 6)
	lost(t, "a release that breaks on the second node", load)
	measured(t, 5, "nothing lost at 300/s; exit %d: %q", r.Code, lineWith(r.Err, "is refused"))
	after := pids(t, leader)
	kept := 0
	for pid := range after {
		if before[pid] {
			kept++
		}
	}
	if kept != 4 { // those of the second and the third; the first has replaced its two, twice
		t.Errorf("%d of 6 processes are the same as before, want 4", kept)
	}
	t.Log(r.Err)
	load = loadOn(t, 300, l, nodes)
	nodes[1].Must("start", release("V=3")...)
	all(t, nodes[0], 3, 6)
	r = nodes[2].Must("rollback", "web")
	all(t, nodes[0], 4, 6)
	lost(t, "a new release and rollback", load)
	if a, err := lab.Get(l.Client(true), nodes[0].URL(3000, "/")); err != nil || a.Version != "1" {
		t.Errorf("after the rollback: %+v, %v\n%s", a, err, r.Err)
	}
	for args, want := range map[string]string{"4": "release 4 of web is the present one", "17": "web has no release 17"} {
		if r := nodes[0].Run("rollback", "web", args); r.Code != 2 || !strings.Contains(r.Err, want) {
			t.Errorf("rollback to %s: exit %d, %s", args, r.Code, r.Err)
		}
	}
	states := make(map[uint64]string)
	var list []api.Release
	if err := json.Unmarshal([]byte(nodes[0].Must("releases", "web", "-json").Out), &list); err != nil {
		t.Fatal(err)
	}
	for _, x := range list {
		states[x.Release] = x.State
	}
	if want := map[uint64]string{4: "serving", 3: "former", 2: "refused", 1: "former"}; !maps.Equal(states, want) || list[0].Same != 1 {
		t.Errorf("releases: %v, the newest repeats %d", states, list[0].Same)
	}
	t.Log(nodes[0].Must("releases", "web").Out)
	t.Log(nodes[0].Must("describe", "web").Out)
}

// While one release is being rolled out, another is refused with a line that says what to do; scale works, and rollback takes it back.
func TestTwoReloadsAtOnce(t *testing.T) {
	l, nodes, release := rolling(t)
	load := loadOn(t, 200, l, nodes)
	nodes[0].Must("start", append(release("V=2", "START_MS=4000"), "-detach")...)
	r := nodes[1].Run("reload", "web")
	if r.Code != 2 || !strings.Contains(r.Err, "release 2 of web is still being rolled out") || !strings.Contains(r.Err, "meshnode rollback web") {
		t.Errorf("a second reload: exit %d\n%s", r.Code, r.Err)
	}
	if r := nodes[1].Must("status"); !strings.Contains(r.Out, "web: release 1 -> 2, ") {
		t.Errorf("status:\n%s", r.Out)
	}
	nodes[2].Must("scale", "web", "1")
	nodes[2].Must("rollback", "web")
	all(t, nodes[1], 1, 3)
	lost(t, "a release taken back", load)
	if r := nodes[1].Must("releases", "web"); !strings.Contains(r.Out, "taken back") {
		t.Errorf("releases:\n%s", r.Out)
	}
	nodes[1].Must("reload", "web")
	all(t, nodes[1], 3, 3)
}

// The leader is killed in the middle of a rollout: the next one goes on, and the old one has the release when it is back.
func TestLeaderKilledInTheMiddleOfARollout(t *testing.T) {
	l, nodes, release := rolling(t)
	leader, others := leaderOf(t, nodes)
	load := loadOn(t, 200, l, others)
	ended := make(chan lab.Result, 1)
	go func() { ended <- others[0].Run("start", release("V=2", "START_MS=700")...) }()
	lab.Eventually(t, 20*time.Second, func() error {
		by, err := versions(others[0])
		if err == nil && by[others[0].Name][2] < 1 {
			err = fmt.Errorf("the first node has no worker of release 2: %v", by)
		}
		return err
	})
	leader.Kill()
	r := <-ended
	if r.Code != 0 {
		t.Errorf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	all(t, others[1], 2, 4)
	lostAtMost(t, inFlight, "leader killed in the middle of a rollout", load)
	leader.Restart()
	all(t, leader, 2, 6)
	measured(t, 56, "the release is finished by the next leader, exit %d; the old one has it when it is back", r.Code)
}

// An app that cannot run twice has its gap on one server at a time, and the others serve meanwhile.
func TestStopFirstAppIsServedByTheOthers(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "1", "-order", "stop-first", "-env", "START_MS=700", lab.App(t, "rolling.js"))
	load := loadOn(t, 200, l, nodes)
	nodes[1].Must("reload", "web")
	all(t, nodes[0], 2, 3)
	lost(t, "reload of a stop-first app with one worker a server", load)
}

// A release that never listens is refused on the first server, after its time; the others have never changed. The node whose turn it is may die:
// the rollout goes on without it, and it has the release when it is back.
func TestReleaseThatNeverListensAndNodeThatDies(t *testing.T) {
	l, nodes, release := rolling(t)
	leader, others := leaderOf(t, nodes)
	before := pids(t, nodes[0])
	load := loadOn(t, 200, l, nodes)
	r := nodes[0].Run("start", append(release("V=2", "START_MS=60000"), "-listen-timeout", "2s")...)
	if r.Code != 2 || !strings.Contains(r.Err, "release 2 is refused, release 1 goes on everywhere ("+others[0].Name+": ") {
		t.Errorf("a release that never listens: exit %d\n%s", r.Code, r.Err)
	}
	t.Log(r.Err)
	if after := pids(t, nodes[0]); !maps.Equal(before, after) {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	lost(t, "a release that never listens", load)
	load = loadOn(t, 200, l, []*lab.Node{leader, others[1]})
	ended := make(chan lab.Result, 1)
	go func() { ended <- leader.Run("start", release("V=3", "START_MS=1500")...) }()
	lab.Eventually(t, 20*time.Second, func() error {
		s, err := leader.Status()
		if err == nil && (s.Apps[0].Rollout == nil || s.Apps[0].Rollout.Node != others[0].Name) {
			err = fmt.Errorf("it is not the turn of %s: %+v", others[0].Name, s.Apps[0].Rollout)
		}
		return err
	})
	others[0].Kill()
	if r := <-ended; r.Code != 0 {
		t.Errorf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	lostAtMost(t, inFlight, "the node whose turn it is killed", load)
	others[0].Restart()
	all(t, leader, 3, 6)
}

// Where nobody serves there is nothing to keep: a first release that fails exits with 1, and what mends it goes to all servers at once. A server that
// joins in the middle of a rollout runs the old release until its turn.
func TestFirstReleaseThatFailsAndServerThatJoins(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	script := []string{"-n", "web", "-i", "1", "-replace", lab.App(t, "rolling.js")}
	if r := nodes[0].Run("start", append([]string{"-env", "START_MS=60000", "-listen-timeout", "1s"}, script...)...); r.Code != 1 || !strings.Contains(r.Err, "web: does not run") {
		t.Errorf("a first release that fails: exit %d\n%s", r.Code, r.Err)
	}
	r := nodes[1].Must("start", append([]string{"-env", "V=2"}, script...)...)
	if strings.Contains(r.Err, "turn") || !strings.Contains(r.Out, "release 2 runs, 3 of 3 workers ready on 3 nodes") {
		t.Errorf("what mends it:\n%s%s", r.Out, r.Err)
	}
	if r := nodes[2].Run("rollback", "web"); r.Code != 2 || !strings.Contains(r.Err, "no former release that served") {
		t.Errorf("rollback to what never served: exit %d\n%s", r.Code, r.Err)
	}
	nodes[0].Must("start", append([]string{"-env", "V=3", "-env", "START_MS=1500", "-detach"}, script...)...)
	joining := l.AddHost().Start("-join", nodes[0].IP+":7946")
	first := uint64(0)
	lab.Eventually(t, 30*time.Second, func() error {
		by, err := versions(nodes[0])
		if err != nil {
			return err
		}
		for release := range by[joining.Name] {
			if first == 0 {
				first = release
			}
		}
		if by[joining.Name][3] == 0 {
			err = fmt.Errorf("%s has no worker of release 3: %v", joining.Name, by)
		}
		return err
	})
	t.Logf("the first release on the server that joined: %d", first)
	all(t, nodes[0], 3, 4)
}
