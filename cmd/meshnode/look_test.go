package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
	"meshnode/store/spec"
)

// example is a cluster with something of everything.
func example() *fakeNode {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	app := spec.App{
		Name: "api", Command: []string{"node", "/srv/api/server.js", "--greet", "it's me"}, Dir: "/srv/api", Workers: 2,
		Env: map[string]string{"TOKEN": "s3cret", "NODE_ENV": "production"}, Listen: []string{":3000"}, Standing: spec.Standing{Learned: []string{":3000", ":9229"}, Release: 4},
	}.WithDefaults()
	workers := []api.WorkerStatus{
		{App: "api", Worker: "10", Node: "web-1", PID: 4711, Status: "ready", Mode: "cluster", Release: 4, CPU: 12.4, Memory: 67_317_760, Connections: 12, Uptime: 93784},
		{App: "api", Worker: "2", Node: "web-1", Status: "backoff", Mode: "cluster", Release: 4, Restarts: 16},
		{App: "mailer", Worker: "0", Node: "web-2", PID: 12, Status: "ready", Mode: "port", Release: 1, Memory: 1023, Uptime: 59.9},
	}
	return &fakeNode{
		status: api.Status{
			Cluster: "c-3f2a9c1e", Leader: "web-1", Quorum: true, Index: 42,
			Members: []api.MemberStatus{
				{Node: "web-1", Addr: "10.0.0.1:7946", Status: "alive", Role: "leader", Cores: 8, Load: 0.314, Connections: 1200, ForwardedIn: 3, ForwardedOut: 45678, Version: "v1.2.3", Uptime: 93784, Trusted: &api.Trusted{Since: at, By: "key"}},
				{Node: "web-2", Addr: "10.0.0.2:7946", Status: "failed", Role: "voter", Cores: 16, Load: 0.9, Connections: 7, Version: "v1.2.3", Uptime: 12},
				{Node: "web-3", Addr: "10.0.0.3:7946", Status: "alive", Cores: 4, Uptime: 3},
			},
			Apps: []api.AppStatus{
				{App: "api", Release: 4, Listen: []string{":3000", ":9229"}, Workers: 24, Ready: 23, Restarts: 16, Connections: 1207},
				{App: "mailer", Release: 1, Stopped: true},
			},
			Warnings: []api.Warning{{What: "web-2 does not answer since 12s", Remedy: "look at that server, or take it out with: meshnode leave there"}, {What: "no remedy for this one"}},
		},
		workers: workers,
		apps: map[string]api.Description{
			"api": {
				App: app, Status: api.AppStatus{App: "api", Release: 4, Workers: 2, Ready: 1, Restarts: 16, Connections: 12},
				Nodes: []api.NodeWorkers{
					{Node: "web-1", Workers: workers[:2], Progress: api.NodeProgress{Node: "web-1", State: api.StateFailed, Error: "not ready within 30s"}},
				},
				Exits:     []api.Exit{{Time: at, Node: "web-1", Worker: "2", Release: 4, Code: 1, Reason: "not ready within 30s"}, {Time: at, Node: "web-1", Worker: "2", Release: 4, Code: -1, Signal: "SIGKILL"}},
				Listeners: []api.Listener{{Node: "web-1", Addr: ":3000", State: api.ListenerOpen}, {Node: "web-2", Addr: ":3000", State: api.ListenerFailed, Error: "address already in use"}},
			},
			"mailer": {App: spec.App{Name: "mailer", Namespace: "batch", Command: []string{"/usr/bin/mailer"}, Dir: "/", Stopped: true, Standing: spec.Standing{Release: 1}, WaitReady: true,
				Process: spec.Process{User: "mail"}, Care: spec.Care{Restart: spec.Restart{Cron: "0 4 * * *", MaxMemory: 300 << 20}}}.WithDefaults()},
		},
		releases: []api.Release{
			{Release: 4, Since: at, State: api.ReleaseRollingOut, Command: app.Command, Changed: []string{"command", "env.A", "env.B", "env.C", "env.D"}, Rollout: &api.Rollout{Stable: 3, Node: "web-2", Done: 1, Nodes: 3}},
			{Release: 3, Since: at, State: api.ReleaseServing, Command: app.Command, Changed: []string{"env.A"}, Same: 1},
			{Release: 2, State: api.ReleaseRefused, Command: app.Command, Refusal: &api.Refusal{Release: 2, Kept: 1, Node: "web-2", Reason: "exited with code 1", Tail: []string{"Error: boom"}}},
			{Release: 1, State: api.ReleaseFormer, Command: app.Command},
		},
		door: door{waiting: []api.Admission{{Node: "web-4", ID: "web-4-0a1b2c3d", Addr: "10.0.0.4", Version: "v1.2.3", Since: at, Via: "web-2"}, {Node: "x", Addr: "fd00::1", Since: at, Via: "web-1"}},
			tokens: []api.Token{{ID: "3f2a9c1e", Expires: at, Uses: 3}, {ID: "00000000", Expires: at, Expired: true}}},
		lines: []api.LogLine{
			{Time: at, Node: "web-1", App: "api", Worker: "2", Stream: api.StreamOut, Text: "listening <3000>"},
			{Time: at, Node: "web-2", App: "mailer", Worker: "0", Stream: api.StreamErr, Text: "trouble"},
		},
	}
}

func TestScreens(t *testing.T) {
	term := online(t, example())
	for name, line := range map[string]string{
		"status": "status", "status-node": "status -node web-3", "list": "list", "list-app": "ps mailer", "members": "members",
		"describe": "describe api", "describe-all": "show all", "logs": "logs", "list-json": "ls -json -node web-2", "members-json": "members -json -node web-3",
		"releases": "releases api", "admit": "admit", "token-list": "token list",
	} {
		t.Run(name, func(t *testing.T) {
			if code := term.run(t, line); code != exitDone || term.errs.Len() > 0 {
				t.Errorf("exit code %d, %s", code, term.errs)
			}
			golden(t, name, term.out.String())
		})
	}
	if term.run(t, "describe api"); strings.Contains(term.out.String(), "s3cret") {
		t.Error("a variable's value is on the screen")
	}
}

func TestSettings(t *testing.T) {
	f := example()
	f.status.Settings = map[string]string{"forward": "tls", "idle_timeout": "0"}
	term := online(t, f)
	term.expect(t, "set", exitDone, "forward=tls\nidle_timeout=0\n", "")
	term.expect(t, "set forward=plain", exitDone, "forward=plain\nidle_timeout=0\n", "")
	term.run(t, "status")
	if !strings.Contains(term.out.String(), "plain text between servers") {
		t.Errorf("status does not tell: %s", term.out)
	}
	for _, line := range []string{"set forward", "set colour=red", "set forward=smoke", "set forward=tls forward=plain"} {
		if code := term.run(t, line); code == exitDone || term.out.Len() > 0 {
			t.Errorf("%s: exit code %d, %s", line, code, term.out)
		}
	}
}

func TestEmptyScreens(t *testing.T) {
	term := online(t, &fakeNode{})
	const none = "no apps yet; start one with: meshnode start server.js\n"
	term.expect(t, "list", exitDone, none, "")
	term.expect(t, "list -json", exitDone, "[]\n", "")
	term.expect(t, "describe all", exitDone, none, "")
	term.expect(t, "stop all", exitDone, "", "there are no apps\n")
	term.expect(t, "stop all -json", exitDone, "[]\n", "there are no apps\n")
	term.run(t, "status")
	golden(t, "status-empty", term.out.String())
}

func TestJSONIsTheStatus(t *testing.T) {
	f := example()
	term := online(t, f)
	term.run(t, "status -json")
	var got api.Status
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Cluster != f.status.Cluster || len(got.Members) != 3 || got.Warnings[0] != f.status.Warnings[0] {
		t.Errorf("%+v", got)
	}
}

func TestNarrowing(t *testing.T) {
	term := online(t, example())
	term.expect(t, "list -node wbe-1", exitFailed, "", "meshnode: there is no node \"wbe-1\"; did you mean web-1?\n")
	term.expect(t, "status -node other", exitFailed, "", "meshnode: there is no node \"other\"; there are web-1, web-2, web-3\n")
	term.expect(t, "list -node web-3", exitDone, "no workers\n", "")
	term.expect(t, "list aip", exitFailed, "", "meshnode: there is no app \"aip\"; did you mean api?\n")
	term.expect(t, "list /zz/", exitFailed, "", "meshnode: no app matches /zz/\nsee: meshnode help list\n")
	term.expect(t, "list /(/", exitFailed, "", "meshnode: /(/ is no regular expression: error parsing regexp: missing closing ): `(`\nsee: meshnode help list\n")
}

func TestLogs(t *testing.T) {
	term := online(t, example())
	term.expect(t, "logs -err", exitDone, "mailer|0@web-2 | trouble\n", "")
	term.expect(t, "logs -out", exitDone, "api|2@web-1 | listening <3000>\n", "")
	term.expect(t, "logs api -json", exitDone,
		`{"time":"2026-03-04T05:06:07Z","node":"web-1","app":"api","worker":"2","stream":"out","text":"listening <3000>"}`+"\n", "")
	term.expect(t, "logs -node web-2 all", exitDone, "mailer|0@web-2 | trouble\n", "")
	term.expect(t, "logs -n -1", exitFailed, "", "meshnode: -n: \"-1\" is no number of lines\nsee: meshnode help logs\n")
	term.expect(t, "logs api mailer -since 10m -grep x -worker 2 -nostream -f", exitDone, "api|2@web-1 | listening <3000>\nmailer|0@web-2 | trouble\n", "")
	term.expect(t, "logs -since never", exitFailed, "", "meshnode: -since: \"never\" is no time; give one like 10m or 2026-01-31T12:00:00Z\nsee: meshnode help logs\n")
	term.expect(t, "logs -grep (", exitRefused, "", "meshnode: the pattern is no regular expression: error parsing regexp: missing closing ): `(`\n")
	term.expect(t, "logs -f api", exitFailed, "api|2@web-1 | listening <3000>\n", "meshnode: the node has stopped sending; look with: meshnode status\n")
}

func TestLogGaps(t *testing.T) {
	term := online(t, &fakeNode{lines: []api.LogLine{
		{Node: "web-1", Kind: api.KindUnreachable, Text: "gossip calls it failed"},
		{Node: "web-2", App: "api", Stream: api.StreamOut, Text: "x"}, {Node: "web-2", Kind: api.KindDropped, Dropped: 120},
	}})
	term.expect(t, "logs", exitDone, "api|*@web-2 | x\n... 120 lines dropped on web-2: this screen was too slow\n",
		"meshnode: web-1 cannot be reached, its lines are missing: gossip calls it failed\n")
}

func TestLogColours(t *testing.T) {
	line := api.LogLine{Node: "n", App: "a", Worker: "1", Stream: api.StreamErr, Text: "\x1b[1mx"}
	if got := logText(line, true); got != "\x1b[31ma|1@n |\x1b[0m \x1b[1mx\x1b[0m" {
		t.Errorf("got %q", got)
	}
	if got := logText(line, false); got != "a|1@n | \x1b[1mx" {
		t.Errorf("got %q", got)
	}
}

func TestOrders(t *testing.T) {
	f := &fakeNode{}
	term := online(t, f)
	term.expect(t, "flush api", exitFailed, "web-1: log files are emptied\n", "meshnode: web-2: no answer\n")
	term.expect(t, "reopen-logs", exitFailed, "web-1: log files are opened anew\n", "meshnode: web-2: no answer\n")
	term.expect(t, "sendSignal USR2 api", exitFailed, "web-1: SIGUSR2 is sent\n", "meshnode: web-2: no answer\n")
	term.expect(t, "reset all", exitFailed, "web-1: restarts are counted from 0\n", "meshnode: web-2: no answer\n")
	if d := cmp.Diff([]string{"flush api", "reopen ", "signal SIGUSR2 api", "reset "}, f.asked); d != "" {
		t.Error(d)
	}
}

func TestTable(t *testing.T) {
	table := newTable("NAME", ">N", "NOTE")
	if table.String() != "" {
		t.Error("a head without lines")
	}
	table.row("müller", "5", "")
	table.row("x", "-", "a")
	table.row("y", "1234", "")
	want := "NAME       N  NOTE\nmüller     5\nx          -  a\ny       1234\n"
	if d := cmp.Diff(want, table.String()); d != "" {
		t.Error(d)
	}
}

func TestHuman(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{humanDuration(-1), "0s"}, {humanDuration(math.NaN()), "0s"}, {humanDuration(59.9), "59s"}, {humanDuration(60), "1m0s"},
		{humanDuration(3599), "59m59s"}, {humanDuration(3600), "1h0m"}, {humanDuration(93784), "1d2h"}, {humanDuration(math.Inf(1)), "11574074d1h"},
		{humanBytes(0), "0B"}, {humanBytes(1023), "1023B"}, {humanBytes(1024), "1.0KiB"}, {humanBytes(1<<20 - 1), "1.0MiB"},
		{humanBytes(67_317_760), "64.2MiB"}, {humanBytes(math.MaxUint64), "16384.0PiB"},
		{humanShare(0.314), "31%"}, {humanShare(math.NaN()), "-"}, {humanSeconds(90), "1m30s"}, {humanSeconds(0.5), "500ms"},
		{plural(1, "node"), "1 node"}, {plural(0, "node"), "0 nodes"}, {listOrDash(nil), "-"}, {orDash("x"), "x"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

func TestRolloutOnTheScreens(t *testing.T) {
	f := example()
	f.status.Apps[0].Rollout = &api.Rollout{Stable: 3, Node: "web-2", Done: 1, Nodes: 3}
	d := f.apps["api"]
	d.Status.Rollout = f.status.Apps[0].Rollout
	f.apps["api"] = d
	term := online(t, f)
	if term.run(t, "status"); !strings.Contains(term.out.String(), "\napi: release 3 -> 4, at web-2, 1 of 3 nodes done\n") {
		t.Errorf("status:\n%s", term.out)
	}
	if term.run(t, "describe api"); !strings.Contains(term.out.String(), "4, in the place of 3: at web-2, 1 of 3 nodes done\n") {
		t.Errorf("describe:\n%s", term.out)
	}
	d.Status.Rollout, d.Refused = nil, &api.Refusal{Release: 5, Kept: 4, Node: "web-2", Reason: "exited with code 1", Tail: []string{"Error: boom"}}
	f.apps["api"] = d
	if term.run(t, "describe api"); !strings.Contains(term.out.String(), "release 5 was refused, and release 4 went on: web-2: exited with code 1\n    Error: boom\n") {
		t.Errorf("describe:\n%s", term.out)
	}
}

func TestExplain(t *testing.T) {
	term := online(t, example())
	if code := term.run(t, "explain api -client 10.1.2.3 -n 3"); code != 0 {
		t.Fatalf("exit code %d: %s", code, term.errs)
	}
	golden(t, "explain", term.out.String())
	for _, line := range []string{"explain", "explain api -n 65", "explain api -client web"} {
		if code := term.run(t, line); code != 1 || !strings.Contains(term.errs.String(), "meshnode help explain") {
			t.Errorf("%s: exit code %d: %s", line, code, term.errs)
		}
	}
}
