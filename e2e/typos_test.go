package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// typo is a mistake of somebody who types, and what he must read.
type typo struct{ text, want string }

// mistypedKeys are keys of an app with two letters exchanged; each must be told the right one.
func mistypedKeys() []typo {
	var out []typo
	for _, key := range []string{"name", "instances", "watch", "args", "port", "mode", "listen", "kill_timeout", "listen_timeout", "drain_timeout", "max_restarts", "min_uptime",
		"autorestart", "restart_delay", "max_memory_restart", "cron_restart", "namespace", "interpreter", "wait_ready", "stop_signal", "secret_env", "filter_env", "log_rotate",
		"rollout", "health", "balance", "limits", "error_file", "proxy_protocol"} {
		i := len(key) / 2
		for key[i] == key[i-1] {
			i++
		}
		wrong := key[:i-1] + key[i:i+1] + key[i-1:i] + key[i+1:]
		out = append(out, typo{fmt.Sprintf("%s: 1", wrong), fmt.Sprintf("%s: there is no such key; did you mean %s?", wrong, key)})
	}
	return out
}

// mistypedValues are mistakes inside an app.
func mistypedValues() []typo {
	return []typo{
		{"health: { pth: '/' }", "did you mean path?"},
		{"balance: { polcy: 'random' }", "did you mean policy?"},
		{"limits: { memroy: '1G' }", "did you mean memory?"},
		{"rollout: { ordr: 'stop-first' }", "ordr: there is no such key"},
		{"log_rotate: { szie: '1M' }", "szie: there is no such key"},
		{"balance: { policy: 'fastest' }", "use one of least_load"},
		{"mode: 'clutser'", "use one of"},
		{"instances: 'many'", "is no number of workers"},
		{"instances: -3000", "workers"},
		{"port: 'http'", "is no port"},
		{"port: 70000", "port"},
		{"kill_timeout: 'soon'", "is no time"},
		{"kill_timeout: '2d'", "is not between 0 and 86400"},
		{"stop_signal: 'KILL'", "use one of SIGTERM"},
		{"max_memory_restart: '1 cow'", "is no size"},
		{"cron_restart: 'every day'", "cron_restart"},
		{"env: 1", "must be an object of variables"},
		{"autorestart: 'no'", "must be true or false"},
		{"listen: 'x'", "want host:port or :port"},
		{"name: 'a b'", "use 1 to 63 letters"},
		{"name: 'web'", "there are two apps of that name"},
		{"script: 'x'", "is given on line"},
		{"port: 80, port: 81", "is given on line"},
		{"port: 80", "x.json:1"}, // stands in front of the bracket that is missing
	}
}

// TestTyposChangeNothing mistypes app files, whose other apps are right, flags and verbs at a running server, and what another one is started with.
func TestTyposChangeNothing(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 2)
	n := l.Host(1).Start()
	n.Voters(20*time.Second, 1, 1)
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	served := loadOn(t, 50, l, []*lab.Node{n})
	before, workers := state(t, []*lab.Node{n}), pids(t, n)
	tried := 0
	refused := func(what, want string, r lab.Result) {
		t.Helper()
		tried++
		if r.Code != 1 || !strings.Contains(r.Err, want) {
			t.Errorf("%s: exit %d, want 1 and %q:\n%s%s", what, r.Code, want, r.Out, r.Err)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "x.json")
	for _, c := range append(mistypedKeys(), mistypedValues()...) {
		text := fmt.Sprintf("{apps: [{script: %[1]q, name: 'web', instances: 3}, {script: %[1]q, %[2]s}]}", lab.App(t, "plain.js"), c.text)
		if c.want == "x.json:1" {
			text = text[:len(text)-3]
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		refused(c.text, c.want, n.Run("apply", file))
	}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"did you mean -instances?", []string{"start", "-instnces", "3", "-n", "other", lab.App(t, "plain.js")}},
		{"did you mean -kill-timeout?", []string{"start", "-kill-timout", "3s", "-n", "other", lab.App(t, "plain.js")}},
		{"plane.js", []string{"start", strings.Replace(lab.App(t, "plain.js"), "plain", "plane", 1)}},
		{"there is no flag -worker", []string{"scale", "web", "-worker", "3"}},
		{"is no number of workers", []string{"scale", "web", "three"}},
		{`did you mean "web"?`, []string{"scale", "wbe", "3"}},
		{`did you mean "web"?`, []string{"delete", "wbe"}},
		{"did you mean reload?", []string{"relaod", "web"}},
		{"there is no setting", []string{"set", "forwrd=plain", "idle_timeout=1h"}},
		{"is neither tls nor plain", []string{"set", "idle_timeout=1h", "forward=plane"}},
		{"is no time", []string{"set", "forward=plain", "idle_timeout=soon"}},
	} {
		refused(strings.Join(c.args, " "), c.want, n.Run(c.args[0], c.args[1:]...))
	}
	starvation(t, n)
	tried += settingsTypos(t, l, dir)
	if after := state(t, []*lab.Node{n}); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if now := pids(t, n); fmt.Sprint(now) != fmt.Sprint(workers) {
		t.Errorf("the workers were %v and are %v", workers, now)
	}
	lost(t, "typos", served)
	measured(t, 48, "%d mistakes: each refused with exit 1 and the place or the nearest word: %v; configuration, workers and members are as before", tried, !t.Failed())
}

// starvation asks for no workers at all.
func starvation(t *testing.T, n *lab.Node) {
	t.Helper()
	for to, code := range map[string]int{"0": 1, "-2": 2, "-9": 2} {
		r := n.Run("scale", "web", to)
		said, _, _ := strings.Cut(r.Err, "\n")
		if r.Code != code || !strings.Contains(said, "meshnode stop") {
			t.Errorf("scale web %s: exit %d, want %d: %s", to, r.Code, code, r.Err)
		}
		measured(t, 49, "scale web %s: exit %d, %q", to, r.Code, said)
	}
}

// settingsTypos starts a second server with mistakes, and returns how many.
func settingsTypos(t *testing.T, l *lab.Lab, dir string) int {
	t.Helper()
	file := filepath.Join(dir, "settings.yaml")
	join := l.Host(1).IP + ":7946"
	cases := []struct {
		want, text string
		env, args  []string
	}{
		{want: "settings.yaml:2: jion: there is no such key; did you mean join?", text: "node: h2\njion: x\n"},
		{want: "settings.yaml:1: log_levl: there is no such key; did you mean log_level?", text: "log_levl: debug\n"},
		{want: "settings.yaml:1: cores", text: "cores: [1, 2]\n"},
		{want: "settings.yaml:2: zone: is given on line 1 already", text: "zone: a\nzone: b\n"},
		{want: "key_file", text: "key: mk1-x\n"},
		{want: "not valid YAML", text: "join: [a\n"},
		{want: "did you mean -advertise?", args: []string{"-advertize", "10.0.0.1"}},
		{want: "did you mean info?", args: []string{"-log-level", "inof"}},
		{want: "is not a whole number", args: []string{"-cores", "many"}},
		{want: "is not an address", args: []string{"-bind", "a:b:c"}},
		{want: "is not of the form name=value", args: []string{"-tag", "disk"}},
		{want: "did you mean MESHNODE_JOIN?", env: []string{"MESHNODE_JION=a"}},
		{want: "did you mean MESHNODE_INSECURE?", env: []string{"MESHNODE_INSECUR=1"}},
	}
	for _, c := range cases {
		args := append([]string{"-join", join}, c.args...)
		if c.text != "" {
			args = append(args, "-config", file)
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n := l.Host(2).Prepare(args...)
		n.Env = c.env
		n.Restart()
		code, out, err := n.Exited(10 * time.Second)
		if err != nil || code != 1 || !strings.Contains(out, c.want) {
			t.Errorf("%s%v%v: exit %d, %v, want 1 and %q:\n%s", c.text, c.args, c.env, code, err, c.want, out)
		}
		if _, err := os.Stat(n.Dir); err == nil {
			t.Errorf("%s%v%v: the data folder was made", c.text, c.args, c.env)
		}
	}
	return len(cases)
}
