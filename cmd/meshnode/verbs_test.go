package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/node/api"
	"meshnode/node/config"
)

func TestHelp(t *testing.T) {
	term := offline(t)
	for _, line := range []string{"help", "-h", "--help", "-insecure -h"} {
		if code := term.run(t, line); code != exitDone || term.errs.Len() > 0 {
			t.Errorf("%s: exit code %d, %s", line, code, term.errs)
		}
		golden(t, "help", term.out.String())
	}
	for _, v := range verbs() {
		for _, line := range []string{"help " + v.name, v.name + " -h", v.name + " x --help"} {
			if code := term.run(t, line); code != exitDone || term.errs.Len() > 0 {
				t.Errorf("%s: exit code %d, %s", line, code, term.errs)
			}
			golden(t, "help-"+v.name, term.out.String())
		}
	}
}

func TestVerbsAreComplete(t *testing.T) {
	seen := map[string]string{}
	for _, v := range verbs() {
		for _, word := range append([]string{v.name}, v.aliases...) {
			if seen[word] != "" {
				t.Errorf("%q is a word of %s and of %s", word, v.name, seen[word])
			}
			seen[word] = v.name
		}
		if v.brief == "" || len(v.examples) == 0 || strings.HasSuffix(v.brief, ".") {
			t.Errorf("%s: the help is not complete", v.name)
		}
		for _, line := range v.more {
			if len(line) > 95 {
				t.Errorf("%s: a line of help has %d letters", v.name, len(line))
			}
		}
	}
}

func TestMistakes(t *testing.T) {
	term := online(t, example())
	term.touch(t, "tool*", "server.js")
	for line, want := range map[string]string{
		"strat x":        "meshnode: there is no verb \"strat\"; did you mean start?\nsee: meshnode help\n",
		"server.js":      "meshnode: there is no verb \"server.js\"; to start that script: meshnode start server.js\nsee: meshnode help\n",
		"tool":           "meshnode: there is no verb \"tool\"; to start that file: meshnode start tool\nsee: meshnode help\n",
		"frobnicate":     "meshnode: there is no verb \"frobnicate\"\nsee: meshnode help\n",
		"help strat":     "meshnode: there is no verb \"strat\"; did you mean start?\nsee: meshnode help help\n",
		"-jion x":        "meshnode: there is no flag -jion; did you mean -join?\nsee: meshnode help\n",
		"-insecure list": "meshnode: the verb comes first: meshnode list [flags]\nsee: meshnode help\n",
		"-insecure lsit": "meshnode: there is no verb \"lsit\"; did you mean list?\nsee: meshnode help\n",
		"list -jsn":      "meshnode: there is no flag -jsn; did you mean -json?\nsee: meshnode help list\n",
		"status x":       "meshnode: \"x\" is one argument too many\nsee: meshnode help status\n",
		"leave now":      "meshnode: \"now\" is one argument too many\nsee: meshnode help leave\n",
		"reload":         "meshnode: which app? give its name, or all\nsee: meshnode help reload\n",
		"rollback":       "meshnode: give an app and, if you like, a release: meshnode rollback api 3\nsee: meshnode help rollback\n",
		"rollback all":   "meshnode: name the app: releases are counted for each by itself\nsee: meshnode help rollback\n",
		"rollback api x": "meshnode: \"x\" is no number of a release; see: meshnode releases api\nsee: meshnode help rollback\n",
		"releases":       "meshnode: which app? give its name\nsee: meshnode help releases\n",
		"scale api":      "meshnode: give an app and a number of workers: meshnode scale api 4\nsee: meshnode help scale\n",
		"scale api four": "meshnode: \"four\" is no number of workers; give one like 4, +2, -2 or max\nsee: meshnode help scale\n",
		"scale api 0":    "meshnode: an app with 0 workers is a stopped one: meshnode stop\nsee: meshnode help scale\n",
		"scale api +0":   "meshnode: \"+0\" changes nothing; give one like +2\nsee: meshnode help scale\n",
		"scale api 5000": "meshnode: 5000 is more than 1024 workers on a node\nsee: meshnode help scale\n",
		"start":          "meshnode: what shall be started? name a script, a program, an app or an app file\nsee: meshnode help start\n",
		"run":            "meshnode: what shall be run? name a script or a program\nsee: meshnode help run\n",
		"run a b":        "meshnode: \"b\" is one argument too many; arguments for the app stand behind --\nsee: meshnode help run\n",
		"stop -wait x a": "meshnode: -wait: \"x\" is no time; give one with its unit, like 30s\nsee: meshnode help stop\n",
	} {
		term.expect(t, line, exitFailed, "", want)
	}
}

func TestNoNode(t *testing.T) {
	term := offline(t)
	socket := filepath.Join(term.dir, "s")
	term.touch(t, "server.js", "bin/node*")
	none := "meshnode: no node is running here (no socket at " + socket + "); start one with: meshnode\n"
	for _, line := range []string{
		"list", "status", "members", "describe api", "logs", "reload api", "restart all", "stop api", "delete api", "scale api 2", "leave", "releases api", "rollback api",
		"start server.js", "start missing.js", "start api", "list -json",
	} {
		term.expect(t, line, exitFailed, "", none)
	}
	other := strings.ReplaceAll(none, socket, "/nowhere/meshnode.sock")
	term.expect(t, "list -addr unix:/nowhere/meshnode.sock", exitFailed, "", other)
	term.environ = []string{"MESHNODE_DATA_DIR=/nowhere"}
	term.expect(t, "list", exitFailed, "", other)
	term.environ = nil
	term.expect(t, "list -data-dir /nowhere", exitFailed, "", other)
}

func TestDialErrors(t *testing.T) {
	for err, want := range map[error]string{
		fs.ErrNotExist:       "no node is running here (no socket at /s); start one with: meshnode",
		syscall.ECONNREFUSED: "no node is running here (nobody answers at /s); start one with: meshnode",
		syscall.EACCES:       "you may not talk to the node here (no permission for /s); try it as root or as the node's user",
		syscall.EMFILE:       "the node cannot be reached at /s: dial: too many open files",
	} {
		if got := (&dialError{path: "/s", err: fmt.Errorf("dial: %w", err)}).Error(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestSocketPlaces(t *testing.T) {
	c := &console{dir: "/work", environ: []string{"HOME=/h", "XDG_STATE_HOME=/state", "MESHNODE_ADDR=/env.sock", "MESHNODE_DATA_DIR=/env"}}
	for _, d := range []struct {
		t    target
		env  []string
		want string
	}{
		{target{addr: "x.sock", dataDir: "/d"}, c.environ, "/work/x.sock"},
		{target{addr: "unix:/x.sock"}, c.environ, "/x.sock"},
		{target{dataDir: "d"}, []string{"MESHNODE_DATA_DIR=/env"}, "/work/d/meshnode.sock"},
		{target{}, c.environ, "/env.sock"},
		{target{}, []string{"MESHNODE_DATA_DIR=/env"}, "/env/meshnode.sock"},
	} {
		c.environ = d.env
		if got := d.t.socket(c); got != d.want {
			t.Errorf("%+v: got %q, want %q", d.t, got, d.want)
		}
	}
}

func TestForeground(t *testing.T) {
	term := offline(t)
	term.environ = []string{"HOME=" + term.dir, "PATH=" + filepath.Join(term.dir, "bin")}
	term.touch(t, "server.js", "bin/node*")
	var settings config.Settings
	var options nodeOptions
	term.runNode = func(_ context.Context, s config.Settings, o nodeOptions) error {
		settings, options = s, o
		return nil
	}
	if code := term.run(t, "-join a,b -node n --insecure"); code != exitDone || options.app != nil || options.version != "v1.2.3" {
		t.Errorf("%d %+v %s", code, options, term.errs)
	}
	if d := cmp.Diff([]string{"a:7946", "b:7946"}, settings.Join); d != "" || settings.Node != "n" || !settings.Insecure {
		t.Errorf("%+v", settings)
	}
	if code := term.run(t, "run -join a -node n -i 3 server.js -name web -- -x --y"); code != exitDone {
		t.Fatalf("%d %s", code, term.errs)
	}
	want := []string{"node", filepath.Join(term.dir, "server.js"), "-x", "--y"}
	app, err := options.app(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, app.Command); d != "" || app.Workers != 3 || app.Name != "web" || settings.Node != "n" {
		t.Errorf("%+v %s", app, d)
	}
	term.expect(t, "-cores x -log-level loud -node n", exitFailed, "", "meshnode: there are 2 problems:\n"+
		"  -cores: \"x\" is not a whole number; leave it out to use all cores\n"+
		"  -log-level: there is no level \"loud\"; use one of trace, debug, info, warn, error\n")
	term.runNode = func(context.Context, config.Settings, nodeOptions) error {
		return api.Errorf(api.CodeConflict, "start this one with another name", "the name is taken")
	}
	term.expect(t, "-node a", exitFailed, "", "meshnode: the name is taken; start this one with another name\n")
	term.runNode = func(context.Context, config.Settings, nodeOptions) error {
		return fmt.Errorf("open the peer port: in use")
	}
	term.expect(t, "-node n", exitFailed, "", "meshnode: open the peer port: in use\n")
}

func TestKeygenAndVersion(t *testing.T) {
	term := offline(t)
	term.expect(t, "keygen", exitDone, "mk1-test\n", "")
	term.expect(t, "keygen -json", exitDone, "{\n  \"key\": \"mk1-test\"\n}\n", "")
	for _, line := range []string{"version", "-v", "--version"} {
		if code := term.run(t, line); code != exitDone || !strings.HasPrefix(term.out.String(), "meshnode v1.2.3 (go1.") {
			t.Errorf("%s: %d %q", line, code, term.out)
		}
	}
	term.run(t, "version -json")
	var got map[string]string
	if err := json.Unmarshal(term.out.Bytes(), &got); err != nil || got["version"] != "v1.2.3" {
		t.Error(err, got)
	}
	if version() == "" {
		t.Error("this binary has no version")
	}
}

func TestAdmit(t *testing.T) {
	f := &fakeNode{}
	term := online(t, f)
	term.expect(t, "admit", exitDone, "no server waits to be admitted\n", "")
	term.expect(t, "admit -json", exitDone, "[]\n", "")
	term.expect(t, "admit abcd-efgh-jklm", exitDone, "admitted web-4 (10.0.0.4): it has the cluster key now, and joins\n", "")
	if d := cmp.Diff([]string{"admit abcd-efgh-jklm"}, f.asked); d != "" {
		t.Error(d)
	}
	term.expect(t, "admit a b", exitFailed, "", "meshnode: \"b\" is one argument too many; a code is one word\nsee: meshnode help admit\n")
	term = online(t, &fakeNode{fail: api.Errorf(api.CodeNotFound, "see who waits with: meshnode admit", "no server shows that code")})
	term.expect(t, "admit ABCD-EFGH-JKLM", exitFailed, "", "meshnode: no server shows that code; see who waits with: meshnode admit\n")
}

func TestToken(t *testing.T) {
	f := &fakeNode{}
	term := online(t, f)
	term.expect(t, "token list", exitDone, "there is no token\n", "")
	term.expect(t, "token create", exitDone, "mt1-test\n",
		"lets 1 server in until 2026-03-04 06:06:07 UTC; start it with: MESHNODE_TOKEN=<this> meshnode -join 10.0.0.1:7946\n")
	if code := term.run(t, "token -ttl 10m -uses 20 create -json"); code != exitDone || !strings.Contains(term.out.String(), `"token": "mt1-test"`) || term.errs.Len() > 0 {
		t.Errorf("%d %s %s", code, term.out, term.errs)
	}
	term.expect(t, "token revoke 3f2a9c1e", exitDone, "revoked 3f2a9c1e: it lets nobody in any more\n", "")
	if d := cmp.Diff([]string{"token {3600 1}", "token {600 20}", "revoke 3f2a9c1e"}, f.asked); d != "" {
		t.Error(d)
	}
	for line, want := range map[string]string{
		"token":            "create, list or revoke?",
		"token crate":      "there is no \"crate\" of tokens; did you mean create?",
		"token frobnicate": "there is no \"frobnicate\" of tokens; there are create, list and revoke",
		"token revoke":     "which token? give its id; see: meshnode token list",
		"token list x":     "\"x\" is one argument too many",
		"token revoke a b": "\"b\" is one argument too many",
	} {
		term.expect(t, line, exitFailed, "", "meshnode: "+want+"\nsee: meshnode help token\n")
	}
}

func TestForceLeave(t *testing.T) {
	members := func(role string) []api.MemberStatus {
		return []api.MemberStatus{{Node: "web-1", Status: "alive", Role: "leader"}, {Node: "web-2", Status: "left", Role: role}}
	}
	term := online(t, &fakeNode{status: api.Status{Members: members("")}})
	term.expect(t, "force-leave web-2", exitDone, "web-2 is taken out of the cluster\n", "")
	term.expect(t, "force-leave web-2 -json", exitDone, "{\n  \"node\": \"web-2\",\n  \"removed\": true\n}\n", "")
	term.expect(t, "force-leave -detach web-2", exitDone, "web-2 is being taken out of the cluster\n", "")
	term.expect(t, "force-leave", exitFailed, "", "meshnode: name one server, as `meshnode members` shows it\nsee: meshnode help force-leave\n")

	term = online(t, &fakeNode{status: api.Status{Members: members("voter")}})
	term.expect(t, "force-leave web-2 -wait 1ms", exitFailed, "",
		"meshnode: not waiting any longer; the leader takes the server out as soon as that leaves enough votes\n")

	term = online(t, &fakeNode{fail: api.Errorf(api.CodeConflict, "run `meshnode leave` there, or stop it first", "web-2 is up (alive)")})
	term.expect(t, "force-leave web-2", exitRefused, "", "meshnode: web-2 is up (alive); run `meshnode leave` there, or stop it first\n")
}

func TestKey(t *testing.T) {
	term := online(t, &fakeNode{})
	term.expect(t, "key rotate", exitDone, "the cluster key is replaced on 2 servers\n", "")
	term.expect(t, "key rotate -force", exitDone, "the cluster key is replaced on 2 servers; to be admitted again: web-2; to be given another certificate: deploy\n", "")
	term.expect(t, "key rotate -json", exitDone, "{\n  \"key\": \"aa\",\n  \"nodes\": [\n    \"web-1\",\n    \"web-3\"\n  ],\n  \"left\": [],\n  \"operators\": []\n}\n", "")
	term.expect(t, "key", exitFailed, "", "meshnode: rotate?\nsee: meshnode help key\n")
	term.expect(t, "key turn", exitFailed, "", "meshnode: there is no \"turn\" of a key; there is rotate\nsee: meshnode help key\n")
	term = online(t, &fakeNode{fail: api.Errorf(api.CodeConflict, "bring it back", "web-2 is down")})
	term.expect(t, "key rotate", exitRefused, "", "meshnode: web-2 is down; bring it back\n")
}

func TestLeave(t *testing.T) {
	f := &fakeNode{}
	term := online(t, f)
	f.left = func() { go term.server.Close() }
	term.expect(t, "leave", exitDone, "this server has left the cluster and its node has ended\n",
		"this server has left the cluster; its open connections may finish now\n")

	term = online(t, &fakeNode{})
	term.expect(t, "leave -detach", exitDone, "this server has left the cluster; its node ends when its connections are done\n", "")
	term.expect(t, "leave -json -detach", exitDone, "{\n  \"left\": true,\n  \"stopped\": false\n}\n", "")
	term.expect(t, "leave -wait 1ms", exitFailed, "",
		"this server has left the cluster; its open connections may finish now\n"+
			"meshnode: not waiting any longer; the node ends when its connections are done\n")

	term = online(t, &fakeNode{fail: api.Errorf(api.CodeNoQuorum, "bring back web-2", "there is no quorum")})
	term.expect(t, "leave", exitRefused, "", "meshnode: there is no quorum; bring back web-2\n")
}
