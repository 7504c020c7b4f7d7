package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/store/spec"
)

// ecosystem is a file with two apps; the tests' terminal has what they are made of.
const ecosystem = `{ apps: [
  { name: "api", script: "server.js", instances: 2, env: {A: 1}, env_production: {A: 2}, kill_timeout: "5s" },
  { name: "mailer", script: "mail.py", autostart: false },
] }`

// withFile writes an app file into the terminal's folder.
func withFile(t *testing.T, term *terminal, name, text string) {
	t.Helper()
	term.touch(t, "server.js", "mail.py", "bin/node*", "bin/python3*")
	if err := os.WriteFile(filepath.Join(term.dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// apiApp is the app api of the file, as the cluster has it.
func apiApp(term *terminal) spec.App {
	return spec.App{
		Name: "api", Command: []string{"node", filepath.Join(term.dir, "server.js")}, Dir: term.dir, Workers: 2, Env: map[string]string{"A": "1"},
		Timeouts: spec.Timeouts{Kill: 5}, Process: spec.Process{StopSignal: "SIGINT"}, Standing: spec.Standing{Release: 4, Modified: 9, Learned: []string{":3000"}},
	}.WithDefaults()
}

// cluster is a node that has the given apps.
func cluster(t *testing.T, apps func(term *terminal) []spec.App) (*terminal, *fakeNode) {
	t.Helper()
	f := &fakeNode{apps: map[string]api.Description{}, progress: []api.Progress{{Done: true, Nodes: []api.NodeProgress{done("a", 2)}}}}
	term := online(t, f)
	withFile(t, term, "eco.json", ecosystem)
	for _, a := range apps(term) {
		f.status.Apps = append(f.status.Apps, api.AppStatus{App: a.Name, Namespace: a.Namespace, Stopped: a.Stopped})
		f.apps[a.Name] = api.Description{App: a}
	}
	return term, f
}

func none(*terminal) []spec.App { return nil }

func TestStartFile(t *testing.T) {
	term, f := cluster(t, none)
	term.expect(t, "start eco.json -env production", exitDone, "api: release 3 runs, 2 of 2 workers ready on 1 node\n"+
		"mailer: is known and stopped; start it with: meshnode start mailer\n", "api on a: done, 2 of 2 workers ready\nmailer on a: done, 2 of 2 workers ready\n")
	want := apiApp(term)
	want.Env["A"], want.Standing = "2", spec.Standing{}
	if d := cmp.Diff(api.StartRequest{App: want}, f.started[0]); d != "" {
		t.Error(d)
	}
	if !f.started[1].App.Stopped || f.started[1].App.Workers != 1 || f.started[1].App.Order != spec.OrderStopFirst {
		t.Errorf("%+v", f.started[1])
	}
	f.started = nil
	term.expect(t, "start eco.json -only api -detach", exitDone, "api: the change is on its way; look with: meshnode describe api\n", "")
	if len(f.started) != 1 {
		t.Errorf("%+v", f.started)
	}
	for name, text := range map[string]string{"meshnode.yaml": "apps: [{name: y, script: server.js}]", "ecosystem.json": "{script: 'server.js', name: 'z'}"} {
		withFile(t, term, name, text)
	}
	if code := term.run(t, "start -detach"); code != exitDone || !strings.HasPrefix(term.out.String(), "z: ") {
		t.Errorf("%d %s%s", code, term.out, term.errs)
	}
	term.in = strings.NewReader("- {name: piped, script: server.js, pmx: false}")
	term.expect(t, "start - -detach", exitDone, "piped: the change is on its way; look with: meshnode describe piped\n",
		"warning: standard input: keys without a meaning here are left out: pmx\n")
}

func TestStartFileAgain(t *testing.T) {
	term, f := cluster(t, func(term *terminal) []spec.App { return []spec.App{apiApp(term)} })
	term.expect(t, "start eco.json -only api", exitDone, "api: unchanged; for new code: meshnode reload eco.json\n", "")
	term.expect(t, "apply eco.json -only api", exitDone, "api: unchanged\n", "")
	term.run(t, "apply eco.json -only api -json")
	var got []outcome
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || len(got) != 1 || got[0].Outcome != outcomeUnchanged || got[0].Release != 4 {
		t.Errorf("%v %+v", err, got)
	}
	if len(f.asked) > 0 {
		t.Errorf("asked %q", f.asked)
	}
	// A key that is gone from the file is gone from the app, and the change is based on what was seen.
	withFile(t, term, "eco.json", strings.Replace(ecosystem, `, kill_timeout: "5s"`, "", 1))
	term.run(t, "apply eco.json -only api")
	want := apiApp(term)
	want.Timeouts.Kill = 10
	if d := cmp.Diff([]api.StartRequest{{App: want, Replace: true}}, f.started); d != "" {
		t.Error(d)
	}
}

func TestStoppedAppsAndFiles(t *testing.T) {
	stopped := func(term *terminal) []spec.App {
		a := apiApp(term)
		a.Stopped = true
		return []spec.App{a}
	}
	term, f := cluster(t, stopped)
	term.expect(t, "apply eco.json -only api", exitDone, "api: unchanged\n", "")
	term.run(t, "apply eco.json -only api -env production")
	term.run(t, "start eco.json -only api")
	if len(f.started) != 2 || !f.started[0].App.Stopped || f.started[1].App.Stopped {
		t.Errorf("%+v", f.started)
	}
}

func TestRenewByFile(t *testing.T) {
	term, f := cluster(t, func(term *terminal) []spec.App { return []spec.App{apiApp(term)} })
	for _, line := range []string{"reload eco.json -only api", "startOrReload eco.json -only api", "restart eco.json -only api", "stop eco.json -only api", "delete eco.json -only api"} {
		if code := term.run(t, line); code != exitDone {
			t.Errorf("%s: %d %s", line, code, term.errs)
		}
	}
	if d := cmp.Diff([]string{"reload api", "reload api", "reload api stop-first", "stop api", "delete api"}, f.asked); d != "" {
		t.Error(d)
	}
	term.run(t, "restart eco.json -env production")
	if len(f.started) != 2 || f.started[0].App.Order != spec.OrderRestart || f.started[0].App.Env["A"] != "2" || f.started[1].App.Name != "mailer" {
		t.Errorf("%+v", f.started)
	}
}

func TestPlan(t *testing.T) {
	term, f := cluster(t, func(term *terminal) []spec.App {
		a := apiApp(term)
		a.Workers, a.Env, a.WaitReady, a.Order = 4, map[string]string{"A": "old", "GONE": "x"}, true, spec.OrderRestart
		return []spec.App{a}
	})
	code := term.run(t, "plan eco.json")
	golden(t, "plan", strings.ReplaceAll(term.out.String(), term.dir, "/srv"))
	if code != exitRefused || term.errs.Len() > 0 {
		t.Errorf("%d %s", code, term.errs)
	}
	term.run(t, "plan eco.json -json -only api")
	var got []planned
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || len(got) != 1 || got[0].Action != actionChange || !got[0].Renewed {
		t.Errorf("%v %+v", err, got)
	}
	a := apiApp(term)
	a.Workers = 3
	f.apps["api"] = api.Description{App: a}
	term.expect(t, "plan eco.json -only api", exitRefused, "api: changes, and its workers stay\n  workers  3 -> 2\n", "")
	f.apps["api"] = api.Description{App: apiApp(term)}
	term.expect(t, "plan eco.json -only api", exitDone, "api: unchanged\n", "")
	if len(f.asked) > 0 {
		t.Errorf("asked %q", f.asked)
	}
}

func TestValidateAndInit(t *testing.T) {
	term := offline(t)
	withFile(t, term, "eco.json", ecosystem)
	term.expect(t, "validate eco.json", exitDone, "eco.json is good: 2 apps: api, mailer\n", "")
	term.run(t, "validate eco.json -only api -json")
	var got []spec.App
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || len(got) != 1 || got[0].Timeouts.Drain != 30 {
		t.Errorf("%v %+v", err, got)
	}
	withFile(t, term, "bad.json", "{\n script: 'server.js',\n wach: true,\n autorestart: 3\n}")
	path := filepath.Join(term.dir, "bad.json")
	term.expect(t, "validate bad.json", exitFailed, "", "meshnode: there are 2 problems:\n  "+path+":3: app number 1: wach: there is no such key; did you mean watch?\n  "+
		path+":4: app number 1: autorestart: must be true or false, and not \"3\"\n")
	for line, want := range map[string]string{
		"validate": "which file? there is no ecosystem.config.js here; to make one: meshnode init", "validate a.json b.json": "\"b.json\" is one argument too many; give one file",
		"validate server.js": "server.js is no app file; those end in .config.js, .config.cjs, .config.mjs, .json, .yaml or .yml",
	} {
		term.expect(t, line, exitFailed, "", "meshnode: "+want+"\nsee: meshnode help validate\n")
	}
	for line, name := range map[string]string{"init -yaml": "meshnode.yaml", "init": "ecosystem.config.js"} {
		path := filepath.Join(term.dir, name)
		term.expect(t, line, exitDone, path+" is written; put your app into it, then: meshnode start "+name+"\n", "")
		term.expect(t, line, exitFailed, "", "meshnode: there is a file "+path+" already; it stays as it is\n")
	}
	term.expect(t, "validate meshnode.yaml -env production", exitDone, "meshnode.yaml is good: 1 app: app\n", "")
	text, err := os.ReadFile(filepath.Join(term.dir, "meshnode.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	// Every key that the comments offer is one.
	open := strings.NewReplacer("# args", "args", "# node_args", "node_args", "# port", "port", "# max_", "max_", "# cron", "cron", "# wait", "wait", "# listen", "listen",
		"# drain", "drain", "# kill", "kill", "# stop", "stop", "# rollout", "rollout", "# health", "health", "# limits", "limits", "# log_", "log_", "# cwd", "cwd").Replace(string(text))
	withFile(t, term, "open.yaml", open)
	term.expect(t, "validate open.yaml", exitDone, "open.yaml is good: 1 app: app\n", "")
}

// The delivered examples are good, as they stand.
func TestDeliveredExamples(t *testing.T) {
	term := offline(t)
	term.environ = os.Environ()
	for name, apps := range map[string]string{"ecosystem.config.js": "2 apps: web, nightly", "meshnode.yaml": "1 app: web"} {
		if _, err := exec.LookPath("node"); err != nil {
			t.Skip("no node in PATH: install Node.js to run this test")
		}
		path, err := filepath.Abs(filepath.Join("..", "..", "deploy", "examples", name))
		if err != nil {
			t.Fatal(err)
		}
		term.expect(t, "validate "+path, exitDone, path+" is good: "+apps+"\n", "")
	}
}

func TestFileMistakes(t *testing.T) {
	term, f := cluster(t, none)
	for line, want := range map[string]string{
		"start eco.json -i 4":                "-i does not fit an app file; write it into eco.json",
		"start eco.json -env A=1":            "-env with an app file is the name of one of its env_*; variables belong into the file",
		"start eco.json -replace":            "-replace does not fit an app file; write it into eco.json",
		"start eco.json x":                   "give one app file, and nothing behind it",
		"start eco.json -- x":                "give one app file, and nothing behind it",
		"start server.js -only x":            "-only needs an app file, like ecosystem.config.js",
		"reload api -env production":         "-env needs an app file, like ecosystem.config.js",
		"stop api -only x":                   "-only needs an app file, like ecosystem.config.js",
		"start server.js -log-type xml":      "-log-type: there is no \"xml\"; use one of raw, json",
		"start server.js -cron-restart x":    "-cron-restart: expected 5 to 6 fields, found 1: [x]",
		"start server.js -stop-signal KILL":  "-stop-signal: \"KILL\" cannot be; use one of SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2",
		"start server.js -max-restarts 0":    "-max-restarts: \"0\" is no number from 1",
		"start server.js -stop-exit-codes x": "-stop-exit-codes: \"x\" is no exit code",
	} {
		term.expect(t, line, exitFailed, "", "meshnode: "+want+"\nsee: meshnode help "+strings.Fields(line)[0]+"\n")
	}
	term.expect(t, "start none.json", exitFailed, "", "meshnode: "+filepath.Join(term.dir, "none.json")+": there is no such file\n")
	if len(f.asked) > 0 {
		t.Errorf("asked %q", f.asked)
	}
}

func TestCareFlags(t *testing.T) {
	f := &fakeNode{}
	term := online(t, f)
	files(t, term)
	term.run(t, "start server.js -detach -namespace shop -node-args --inspect -uid app -gid www -stop-signal int -shutdown-with-message -no-treekill -instance-var SLOT "+
		"-increment-var N -filter-env AWS_* -filter-env KEY -max-memory-restart 300M -c @daily -watch -ignore-watch *.log -watch-delay 500ms -no-autorestart "+
		"-stop-exit-codes 0,42 -max-restarts 5 -min-uptime 5000 -restart-delay 2s -exp-backoff-restart-delay 100 -health /ok -merge-logs -disable-logs -o out.log -e /e.log "+
		"-l all.log -time -log-type json -k 3000 -listen-timeout 1m -instances 2 -no-autostart -source-map-support")
	in := func(name string) string { return filepath.Join(term.dir, name) }
	want := spec.App{
		Name: "server", Namespace: "shop", Command: []string{"node", "--enable-source-maps", "--inspect", in("server.js")}, Dir: term.dir, Workers: 2, Stopped: true, Mode: spec.ModeAuto, Order: spec.OrderStartFirst,
		Timeouts: spec.Timeouts{Kill: 3, Listen: 60},
		Process: spec.Process{User: "app", Group: "www", InstanceVar: "SLOT", IncrementVar: "N", FilterEnv: []string{"AWS_*", "KEY"}, StopSignal: "SIGINT",
			StopMessage: true, LeaveTree: true},
		Care: spec.Care{
			Restart: spec.Restart{Off: true, StopExitCodes: []int{0, 42}, MinUptime: 5, Max: 5, Delay: 2, Backoff: 0.1, MaxMemory: 300 << 20, Cron: "@daily",
				Watch: []string{term.dir}, IgnoreWatch: []string{"*.log"}, WatchDelay: 0.5},
			Health: spec.Health{Path: "/ok"},
			Logs:   spec.Logs{Off: true, Merge: true, Out: in("out.log"), Err: "/e.log", Both: in("all.log"), DateFormat: "YYYY-MM-DDTHH:mm:ss", JSON: true},
		},
	}
	if len(f.started) != 1 {
		t.Fatalf("%s", term.errs)
	}
	if d := cmp.Diff(want, f.started[0].App); d != "" {
		t.Error(d)
	}
}

func TestWatchDelayIsInSecondsAsInPM2(t *testing.T) {
	for word, want := range map[string]float64{"4": 4, "4000ms": 4, "1m": 60, "0.5": 0.5} {
		if got, err := parseWatchDelay(word); got != want || err != nil {
			t.Errorf("%s: %v %v", word, got, err)
		}
	}
	for _, word := range []string{"", "0", "x", "-1"} {
		if got, err := parseWatchDelay(word); err == nil {
			t.Errorf("%s: %v", word, got)
		}
	}
}

func TestNamesOfApps(t *testing.T) {
	f := example()
	f.status.Apps[0].Namespace = "shop"
	f.workers[0].Namespace, f.workers[1].Namespace = "shop", "shop"
	term := online(t, f)
	term.run(t, "stop shop -detach")
	term.run(t, "stop /^m/ api mailer -detach")
	if d := cmp.Diff([]string{"stop api", "stop mailer", "stop api"}, f.asked); d != "" {
		t.Error(d)
	}
	term.run(t, "list shop")
	golden(t, "list-namespace", term.out.String())
	f.workers = f.workers[:2]
	term.colour = true
	term.run(t, "list")
	golden(t, "list-colour", term.out.String())
	term.expect(t, "stop /zz/", exitFailed, "", "meshnode: no app matches /zz/\nsee: meshnode help stop\n")
}

func TestSmallVerbs(t *testing.T) {
	f := example()
	term := online(t, f)
	term.expect(t, "pid api", exitDone, "4711\n", "")
	term.expect(t, "pid", exitDone, "web-1 4711\nweb-2 12\n", "")
	term.expect(t, "env api", exitDone, "NODE_ENV=production\nTOKEN=s3cret\n", "")
	term.expect(t, "env", exitFailed, "", "meshnode: which app? give its name\nsee: meshnode help env\n")
	term.run(t, "list -json mailer")
	plain := term.out.String()
	term.expect(t, "jlist mailer", exitDone, plain, "")
	for _, word := range []string{"save", "resurrect"} {
		if term.run(t, word); term.out.Len() == 0 || term.errs.Len() > 0 {
			t.Errorf("%s: %s%s", word, term.out, term.errs)
		}
	}
}

// The process that listens on the socket is told to end, and waited for.
func TestKill(t *testing.T) {
	term := online(t, example())
	if pid, err := (&target{}).nodePID(t.Context(), term.console); err != nil || pid != os.Getpid() {
		t.Errorf("%d, %v", pid, err)
	}
	term.boot = boot{systemd: true, systemctl: func(context.Context, ...string) error { return nil }}
	term.expect(t, "kill", exitFailed, "", "meshnode: the node is a service, and would come back; use: systemctl stop meshnode\n")
	c := exec.Command("sleep", "1000")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if err := term.end(t.Context(), c.Process.Pid, time.Minute); err != nil {
		t.Error(err)
	}
	if err := c.Wait(); err == nil {
		t.Error("it ended by itself")
	}
	offline(t).run(t, "kill")
}

func TestRunFile(t *testing.T) {
	term := offline(t)
	withFile(t, term, "eco.json", ecosystem)
	var ran []string
	term.runNode = func(ctx context.Context, _ config.Settings, o nodeOptions) error {
		app, err := o.app(ctx)
		if err == nil {
			ran = append(ran, app.Name)
		}
		return err
	}
	term.expect(t, "run eco.json -only api", exitDone, "", "")
	term.expect(t, "run eco.json", exitFailed, "", "meshnode: eco.json holds 2 apps; pick one with -only, or run the node and then: meshnode start eco.json\nsee: meshnode help run\n")
	term.expect(t, "run -", exitFailed, "", "meshnode: run reads its app anew when the node is started again; name a file\nsee: meshnode help run\n")
	if d := cmp.Diff([]string{"api"}, ran); d != "" {
		t.Error(d)
	}
}
