package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
	"meshnode/store/spec"
)

// files makes what the tests of start find in their folder.
func files(t *testing.T, term *terminal) {
	term.touch(t, "server.js", "app.cjs", "app.mjs", "job.ts", "tool.py", "run.sh", "web.rb", "page.php", "binary*", "data.txt", "apps.json", "my server.js",
		"sub/worker.js", "sub/bin*", "bin/node*", "bin/python3*", "bin/sh*", "bin/prog*", "bin/data")
}

func TestStartPrograms(t *testing.T) {
	term := online(t, &fakeNode{})
	files(t, term)
	in := func(name string) string { return filepath.Join(term.dir, name) }
	for _, c := range []struct {
		line, name string
		command    []string
	}{
		{"server.js", "server", []string{"node", in("server.js")}},
		{"./server.js", "server", []string{"node", in("server.js")}},
		{in("server.js"), "server", []string{"node", in("server.js")}},
		{"sub/worker.js", "worker", []string{"node", in("sub/worker.js")}},
		{"-cwd sub worker.js", "worker", []string{"node", in("sub/worker.js")}},
		{"app.cjs", "app", []string{"node", in("app.cjs")}},
		{"app.mjs", "app", []string{"node", in("app.mjs")}},
		{"job.ts", "job", []string{"node", in("job.ts")}},
		{"tool.py", "tool", []string{"python3", in("tool.py")}},
		{"run.sh", "run", []string{"sh", in("run.sh")}},
		{"binary", "binary", []string{in("binary")}},
		{"./binary -- -n 3", "binary", []string{in("binary"), "-n", "3"}},
		{"prog", "prog", []string{in("bin/prog")}},
		{"-interpreter prog data.txt", "data", []string{"prog", in("data.txt")}},
		{"-interpreter ./sub/bin data.txt", "data", []string{in("sub/bin"), in("data.txt")}},
		{"-interpreter none binary", "binary", []string{in("binary")}},
	} {
		f := &fakeNode{}
		one := online(t, f)
		one.dir, one.environ[2] = term.dir, term.environ[2]
		if code := one.run(t, "start "+c.line); code != exitDone {
			t.Errorf("start %s: exit code %d, %s", c.line, code, one.errs)
			continue
		}
		got := f.started[0].App
		if d := cmp.Diff(c.command, got.Command); d != "" || got.Name != c.name {
			t.Errorf("start %s: name %q, %s", c.line, got.Name, d)
		}
	}
}

func TestStartFlags(t *testing.T) {
	f := &fakeNode{}
	term := online(t, f)
	files(t, term)
	line := "start server.js -n api -i 4 -port 3000 -port 10.0.0.1:9000 -mode port -env A=1 -env B=x=y -cwd sub -wait-ready -order stop-first " +
		"-listen-timeout 1m -drain-timeout 500ms -kill-timeout 5s -replace -detach -- --verbose -n x"
	term.expect(t, line, exitDone, "api: the change is on its way; look with: meshnode describe api\n", "")
	want := api.StartRequest{Replace: true, App: spec.App{
		Name: "api", Command: []string{"node", filepath.Join(term.dir, "server.js"), "--verbose", "-n", "x"}, Dir: filepath.Join(term.dir, "sub"),
		Env: map[string]string{"A": "1", "B": "x=y"}, Workers: 4, Mode: spec.ModePort, Listen: []string{":3000", "10.0.0.1:9000"}, WaitReady: true,
		Timeouts: spec.Timeouts{Listen: 60, Drain: 0.5, Kill: 5}, Order: spec.OrderStopFirst,
	}}
	if d := cmp.Diff(want, f.started[0]); d != "" {
		t.Error(d)
	}
	term.run(t, "start server.js -n door -limit-connections 500 -limit-per-client 20 -port 53/udp -proxy-protocol -trusted-proxy 10.0.0.0/8 -trusted-proxy fd00::1 -send-proxy 2 -health tcp")
	clients := spec.Clients{Connections: 500, PerClient: 20, ProxyProtocol: []string{"*"}, TrustedProxies: []string{"10.0.0.0/8", "fd00::1"}}
	if a := f.started[1].App; cmp.Diff(clients, a.Clients) != "" || a.Listen[0] != ":53/udp" || a.Process.SendProxy != "v2" || !a.Health.TCP || a.Health.Path != "" {
		t.Errorf("%+v", a)
	}
	term.run(t, "start server.js")
	want = api.StartRequest{App: spec.App{
		Name: "server", Command: []string{"node", filepath.Join(term.dir, "server.js")}, Dir: term.dir, Mode: spec.ModeAuto, Order: spec.OrderStartFirst,
	}}
	if d := cmp.Diff(want, f.started[2]); d != "" {
		t.Error(d)
	}
}

func TestStartMistakes(t *testing.T) {
	f := example()
	term := online(t, f)
	files(t, term)
	in := func(name string) string { return filepath.Join(term.dir, name) }
	for line, want := range map[string]string{
		"sever.js":                        "there is no file " + in("sever.js") + "; did you mean server.js?",
		"sub/wroker.js":                   "there is no file " + in("sub/wroker.js") + "; did you mean worker.js?",
		"nowhere/x.js":                    "there is no folder " + in("nowhere"),
		"/nowhere/x.js":                   "there is no folder /nowhere",
		"frobnicate":                      "there is no file " + in("frobnicate"),
		"sub":                             in("sub") + " is a folder; name the script in it",
		"data.txt":                        in("data.txt") + " is not executable; say what runs it with -interpreter, or make it a program with: chmod +x " + in("data.txt"),
		"web.rb":                          "ruby is not installed here (it is not in PATH); install it, or name another with -interpreter",
		"-interpreter /no/such server.js": "there is no program /no/such; name another with -interpreter",
		"-cwd nowhere server.js":          "-cwd: there is no folder " + in("nowhere"),
		"-i many server.js":               "-i: \"many\" is no number of workers; give 1 to 1024, or max for one per core",
		"-i -1 server.js":                 "-i: \"-1\" is no number of workers; give 1 to 1024, or max for one per core",
		"-port x server.js":               "-port: \"x\" is neither a port from 1 to 65535 nor an address like 10.0.0.1:3000",
		"-port 70000 server.js":           "-port: \"70000\" is neither a port from 1 to 65535 nor an address like 10.0.0.1:3000",
		"-env s3cret server.js":           "-env: number 1 is not of the form NAME=value",
		"-mode clutser server.js":         "-mode: there is no \"clutser\"; did you mean cluster?",
		"-order random server.js":         "-order: there is no \"random\"; use one of start-first, stop-first",
		"-kill-timeout soon server.js":    "-kill-timeout: \"soon\" is no time; give one with its unit, like 30s, or a number of milliseconds",
		"-kill-timeout 0s server.js":      "-kill-timeout: \"0s\" must be more than nothing",
		"-limit-connections 0 server.js":  "-limit-connections: \"0\" is no number from 1",
		"-send-proxy v3 server.js":        "-send-proxy: \"v3\": use v1 or v2",
		"-trusted-proxy 10.1 -proxy-protocol server.js": "clients.trusted_proxies: \"10.1\" is neither an address nor a network like 10.0.0.0/8",
		"-n all server.js": "-name: \"all\" stands for every app and cannot be the name of one",
		"server.js more":   "\"more\" is one argument too many; arguments for the app stand behind --",
		"api -i 4":         "-i does not fit: api is there already; to change it: meshnode scale, or meshnode start -replace <script>",
		"api -- x":         "-- does not fit: api is there already; to change it: meshnode scale, or meshnode start -replace <script>",
		"api other":        "\"other\" is no app, but \"api\" is; start them one by one",
	} {
		term.expect(t, "start "+line, exitFailed, "", "meshnode: "+want+"\nsee: meshnode help start\n")
	}
	if len(f.started) > 0 {
		t.Errorf("started %+v", f.started)
	}
}

func TestStartBadDefaultName(t *testing.T) {
	term := online(t, &fakeNode{})
	files(t, term)
	if code := term.execute(t.Context(), []string{"start", "my server.js"}); code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	if want := "meshnode: \"my server\" cannot be the name of an app; give one with -name\nsee: meshnode help start\n"; term.errs.String() != want {
		t.Errorf("got %q", term.errs)
	}
}

func TestStartKnownApps(t *testing.T) {
	f := example()
	term := online(t, f)
	term.expect(t, "start api", exitDone, "api runs already, 1 of 2 workers ready\n", "")
	if len(f.started) > 0 {
		t.Errorf("started %+v", f.started)
	}
	f.progress = []api.Progress{{Done: true, Nodes: []api.NodeProgress{done("web-1", 2)}}}
	term.expect(t, "start all", exitDone, "api runs already, 1 of 2 workers ready\nmailer: release 3 runs, 2 of 2 workers ready on 1 node\n",
		"mailer on web-1: done, 2 of 2 workers ready\n")
	want := f.apps["mailer"].App
	want.Stopped = false
	if d := cmp.Diff([]api.StartRequest{{App: want, Replace: true}}, f.started); d != "" {
		t.Error(d)
	}
	term.expect(t, "start api -json", exitDone, "[]\n", "api runs already\n")
}

func TestStartConflictNamesTheRemedy(t *testing.T) {
	f := &fakeNode{fail: api.Errorf(api.CodeConflict, "", "there is an app server already")}
	term := online(t, f)
	files(t, term)
	term.expect(t, "start server.js", exitRefused, "",
		"meshnode: there is an app server already; use reload for new code, -replace for new flags, or another -name\n")
}

func TestCommandText(t *testing.T) {
	got := commandText([]string{"node", "/a b", "it's", "", "--x=1", "$HOME"})
	if want := `node '/a b' 'it'\''s' '' --x=1 '$HOME'`; got != want {
		t.Errorf("got %s", got)
	}
	if strings.Contains(workersText(0), "0") {
		t.Error("0 workers mean max")
	}
}
