package node

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
	"meshnode/node/supervisor"
	"meshnode/node/supervisor/output"
	"meshnode/store/spec"
)

func TestScaled(t *testing.T) {
	for _, c := range []struct {
		now  int
		to   string
		want int
		code string
	}{
		{2, "4", 4, ""}, {2, "+1", 3, ""}, {2, "-1", 1, ""}, {2, "max", 0, ""},
		{1, "-1", 0, api.CodeInvalid}, {2, "0", 0, api.CodeInvalid}, {2, "many", 0, api.CodeInvalid}, {2, "2000", 0, api.CodeInvalid},
	} {
		got, err := scaled(c.now, c.to)
		if api.CodeOf(err) != c.code || err == nil && got != c.want {
			t.Errorf("scale from %d to %q: %d, %v; want %d, %q", c.now, c.to, got, err, c.want, c.code)
		}
	}
}

func TestKeysAreNodesOwn(t *testing.T) {
	for addr, want := range map[string]string{
		":3000": "null:3000:4", "127.0.0.1:80": "127.0.0.1:80:4", "[::1]:3000": "::1:3000:6", "0.0.0.0:1": "0.0.0.0:1:4",
	} {
		key, _, _, ok := keyOf(addr)
		if !ok || key != want {
			t.Errorf("key of %s: %q, want %q", addr, key, want)
		}
		if back := addrOfKey(key); back != addr {
			t.Errorf("address of %s: %q, want %q", key, back, addr)
		}
	}
	if _, _, _, ok := keyOf("nonsense"); ok {
		t.Error("an address without a port has a key")
	}
}

func TestWorkerSpec(t *testing.T) {
	app := spec.App{Name: "web", Command: []string{"node", "/a.js"}, Dir: "/", Env: map[string]string{"B": "2", "A": "1"}, Listen: []string{":8080"},
		Standing: spec.Standing{Release: 3}, Timeouts: spec.Timeouts{Listen: 1, Drain: 2, Kill: 0.5}}
	got := workerSpec(app)
	want := supervisor.Spec{App: "web", Release: 3, Command: app.Command, Dir: "/", Env: []string{"A=1", "B=2"}, Mode: supervisor.ModeCluster, Port: 8080,
		Times:   supervisor.Times{Listen: time.Second, Watch: time.Second, Drain: 2 * time.Second, Kill: 500 * time.Millisecond},
		Restart: supervisor.Restart{MinUptime: time.Second, Max: 16, Backoff: 100 * time.Millisecond, WatchDelay: time.Second},
		Health:  supervisor.Health{Interval: 2 * time.Second, Timeout: time.Second, Fall: 3, Rise: 2, Hang: 10 * time.Second},
		Logs:    output.Policy{FileBytes: 50 << 20, Keep: 9, CapBytes: 1 << 30}, Guess: supervisor.Guess{Clients: []string{":8080"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("a Node app (-want +got):\n%s", d)
	}
	app.Mode, app.Listen = spec.ModeAuto, nil
	if got := workerSpec(app); !got.Undecided {
		t.Errorf("a Node app that nobody knows to listen: %+v", got)
	}
	app.Learned = []string{":3000"}
	if got := workerSpec(app); got.Undecided {
		t.Errorf("a Node app that has listened before: %+v", got)
	}
	app.Listen, app.Learned = []string{":8080"}, nil
	app.Command = []string{"python3", "/a.py"}
	if got := workerSpec(app); got.Mode != supervisor.ModePort || !got.Serves || got.Port != 0 {
		t.Errorf("another program: %+v", got)
	}
	app.Listen = nil
	if got := workerSpec(app); got.Serves {
		t.Errorf("a program without a client address is made to listen: %+v", got)
	}
}

func TestProgress(t *testing.T) {
	n := &Node{who: self{cores: 2}}
	n.s.Node = "a"
	app := spec.App{Name: "web", Standing: spec.Standing{Release: 2}, Workers: 2}
	slot := func(i int, state supervisor.State, release uint64) supervisor.Status {
		return supervisor.Status{App: "web", Slot: i, State: state, Release: release, PID: 1}
	}
	refused := slot(0, supervisor.StateReady, 1)
	refused.Refused, refused.Error = 2, "exited with code 1"
	for _, c := range []struct {
		name  string
		app   spec.App
		slots []supervisor.Status
		state string
		ready int
	}{
		{"nothing yet", app, nil, api.StateWorking, 0},
		{"one of two", app, []supervisor.Status{slot(0, supervisor.StateReady, 2), slot(1, supervisor.StateStarting, 2)}, api.StateWorking, 1},
		{"both", app, []supervisor.Status{slot(0, supervisor.StateReady, 2), slot(1, supervisor.StateReady, 2)}, api.StateDone, 2},
		{"one too many is still ending", app, []supervisor.Status{slot(0, supervisor.StateReady, 2), slot(1, supervisor.StateReady, 2), slot(2, supervisor.StateDraining, 2)}, api.StateWorking, 2},
		{"the old release still serves", app, []supervisor.Status{slot(0, supervisor.StateReady, 2), slot(1, supervisor.StateReady, 1)}, api.StateWorking, 1},
		{"the release was refused", app, []supervisor.Status{refused, slot(1, supervisor.StateReady, 1)}, api.StateFailed, 0},
		{"it crashes", app, []supervisor.Status{slot(0, supervisor.StateBackoff, 2), slot(1, supervisor.StateBackoff, 2)}, api.StateFailed, 0},
		{"stopped", spec.App{Name: "web", Standing: spec.Standing{Release: 2}, Stopped: true}, nil, api.StateDone, 0},
		{"one worker per core", spec.App{Name: "web", Standing: spec.Standing{Release: 2}}, []supervisor.Status{slot(0, supervisor.StateReady, 2), slot(1, supervisor.StateReady, 2)}, api.StateDone, 2},
	} {
		p := n.progress(c.app, c.slots)
		if p.State != c.state || p.Ready != c.ready {
			t.Errorf("%s: %+v, want %s with %d ready", c.name, p, c.state, c.ready)
		}
		if p.State == api.StateFailed && c.name == "the release was refused" && p.Release != 1 {
			t.Errorf("%s: serves release %d, want 1", c.name, p.Release)
		}
	}
}

func TestRestartDoesNotChangeTheAppsOrder(t *testing.T) {
	for _, c := range []struct{ own, asked, want spec.Order }{
		{spec.OrderStartFirst, "", spec.OrderStartFirst},
		{spec.OrderStartFirst, spec.OrderStopFirst, spec.OrderRestart},
		{spec.OrderRestart, "", spec.OrderStartFirst},
		{spec.OrderRestart, spec.OrderStopFirst, spec.OrderRestart},
		{spec.OrderStopFirst, "", spec.OrderStopFirst},
		{spec.OrderStopFirst, spec.OrderStopFirst, spec.OrderStopFirst},
	} {
		if got := ordered(c.own, c.asked); got != c.want {
			t.Errorf("own %s, asked %q: %s, want %s", c.own, c.asked, got, c.want)
		}
	}
}

func TestRestartLeavesNoServerWithoutAWorker(t *testing.T) {
	ready := func(app string, slot int) supervisor.Status {
		return supervisor.Status{App: app, Slot: slot, State: supervisor.StateReady}
	}
	for _, c := range []struct {
		name  string
		order spec.Order
		all   []supervisor.Status
		want  supervisor.Order
	}{
		{"another serves", spec.OrderRestart, []supervisor.Status{ready("web", 0), ready("web", 1)}, supervisor.StopFirst},
		{"it is the only one", spec.OrderRestart, []supervisor.Status{ready("web", 0), ready("other", 1)}, supervisor.StartFirst},
		{"the other is not ready", spec.OrderRestart, []supervisor.Status{ready("web", 0), {App: "web", Slot: 1, State: supervisor.StateBackoff}}, supervisor.StartFirst},
		{"it cannot run twice", spec.OrderStopFirst, []supervisor.Status{ready("web", 0)}, supervisor.StopFirst},
		{"a reload", spec.OrderStartFirst, []supervisor.Status{ready("web", 0), ready("web", 1)}, supervisor.StartFirst},
	} {
		if got := orderOf(spec.App{Name: "web", Order: c.order}, 0, c.all); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

func TestTheSameFailureIsSaidOnce(t *testing.T) {
	fails := func(why string) api.LocalStatus {
		return api.LocalStatus{Progress: map[string]api.NodeProgress{"web": {State: api.StateFailed, Error: why}, "fine": {State: api.StateDone}}}
	}
	got := failedApps(map[string]api.LocalStatus{"b": fails("no database"), "a": fails("no database"), "c": fails("no file")})
	var what []string
	for _, w := range got {
		what = append(what, w.What)
	}
	if d := cmp.Diff([]string{"web on a, b: no database", "web on c: no file"}, what); d != "" {
		t.Errorf("warnings (-want +got):\n%s", d)
	}
}

func TestReminderSaysItOnce(t *testing.T) {
	var r reminder
	if !r.due("a", "refused") || r.due("a", "refused") {
		t.Error("the same complaint is not said exactly once")
	}
	if !r.due("a", "no answer") || !r.due("b", "no answer") {
		t.Error("a new complaint is not said")
	}
}
