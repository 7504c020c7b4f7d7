package node

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
	"meshnode/node/supervisor"
	"meshnode/store/spec"
)

func release(n uint64, change func(*spec.App)) spec.App {
	a := spec.App{Name: "web", Command: []string{"node", "a.js"}, Dir: "/", Env: map[string]string{"A": "1"}, Standing: spec.Standing{Release: n}}.WithDefaults()
	if change != nil {
		change(&a)
	}
	return a
}

func TestWhatAReleaseChanged(t *testing.T) {
	one := release(1, nil)
	env := func(a *spec.App) { a.Env["A"], a.Env["B"] = "2", "3" }
	for _, c := range []struct {
		name   string
		before []spec.Past
		app    spec.App
		want   []string
		same   uint64
	}{
		{"the first", nil, one, nil, 0},
		{"a reload", []spec.Past{{App: one}}, release(2, nil), nil, 0},
		{"scaled with it", []spec.Past{{App: one}}, release(2, func(a *spec.App) { a.Workers, a.Order = 9, spec.OrderRestart }), nil, 0},
		{"variables", []spec.Past{{App: one}}, release(2, env), []string{"env.A", "env.B"}, 0},
		{"a variable that is gone", []spec.Past{{App: one}}, release(2, func(a *spec.App) { a.Env = nil }), []string{"env.A"}, 0},
		{"command and time limit", []spec.Past{{App: one}}, release(2, func(a *spec.App) { a.Command, a.Timeouts.Kill = []string{"b"}, 1 }), []string{"command", "timeouts.kill_seconds"}, 0},
		{"against the last that served", []spec.Past{{App: one}, {App: release(2, env), Refused: "broken"}}, release(3, nil), nil, 0},
		{"as an older one", []spec.Past{{App: one}, {App: release(2, env)}}, release(3, nil), []string{"env.A", "env.B"}, 1},
	} {
		changed, same := compared(c.before, c.app)
		if d := cmp.Diff(c.want, changed); d != "" || same != c.same {
			t.Errorf("%s: repeats %d, want %d; changed (-want +got):\n%s", c.name, same, c.same, d)
		}
	}
}

func TestFailureCarriesTheLastLines(t *testing.T) {
	n := &Node{who: self{cores: 2}}
	lines := []string{"first", "", "  "}
	for range spec.MaxTailLines {
		lines = append(lines, strings.Repeat("x", 2*spec.MaxTailBytes))
	}
	p := n.progress(release(2, func(a *spec.App) { a.Workers = 1 }), []supervisor.Status{{App: "web", State: supervisor.StateReady, Release: 1, Refused: 2, Trouble: supervisor.Trouble{Error: "exited with code 1", Tail: lines}, PID: 1}})
	if p.State != api.StateFailed || len(p.Tail) != spec.MaxTailLines || len(p.Tail[0]) != spec.MaxTailBytes || p.Release != 1 {
		t.Errorf("%+v", p)
	}
	if got := tailOf([]string{"a", "", "b"}); cmp.Diff([]string{"a", "b"}, got) != "" {
		t.Errorf("empty lines are kept: %q", got)
	}
}

func TestTurnLimit(t *testing.T) {
	limits := spec.Timeouts{Listen: 30, Drain: 30, Kill: 10, Watch: -1}
	if got := turnLimit(limits, 2); got != 2*70*time.Second+rolloutSlack {
		t.Errorf("without a watch time: %s", got)
	}
	limits.Watch = 5
	if got := turnLimit(limits, 1); got != 75*time.Second+rolloutSlack {
		t.Errorf("with a watch time: %s", got)
	}
}

func TestRolloutInNumbers(t *testing.T) {
	n := &Node{}
	app := release(2, func(a *spec.App) {
		a.Modified, a.Rollout = 7, spec.Rollout{Stable: 1, Nodes: []string{"a", "b"}}
	})
	at := func(index uint64, state string) api.LocalStatus {
		return api.LocalStatus{Member: api.MemberStatus{AppliedIndex: index}, Progress: map[string]api.NodeProgress{"web": {State: state}}}
	}
	// What c does before its turn does not count, nor what b said before it had heard of its turn.
	all := map[string]api.LocalStatus{"a": at(7, api.StateDone), "b": at(6, api.StateDone), "c": at(7, api.StateDone)}
	if d := cmp.Diff(&api.Rollout{Stable: 1, Node: "b", Done: 1, Nodes: 3}, n.rolloutOf(app, all)); d != "" {
		t.Error(d)
	}
	if err := still(app); api.CodeOf(err) != api.CodeConflict || !strings.Contains(err.Error(), "b is at it") {
		t.Error(err)
	}
	app.Rollout = spec.Rollout{}
	if n.rolloutOf(app, all) != nil {
		t.Error("a rollout that is over is shown")
	}
}
