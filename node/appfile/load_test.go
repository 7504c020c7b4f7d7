package appfile

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/store/spec"
)

// Every mistake is reported at once, with its place.
func TestMistakes(t *testing.T) {
	dir := place(t)
	for _, c := range []struct{ name, source, want string }{
		{"a.json", "{\n  apps: [\n    { script: 'server.js',\n      instnces: 2,\n      kill_timeout: 'soon',\n      name: 'api' },\n    { script: 'sever.js', wach: true }\n  ]\n}",
			"a.json:4: app api: instnces: there is no such key; did you mean instances?\n" +
				"a.json:5: app api: kill_timeout: \"soon\" is no time; give one with its unit, like 30s, or a number of milliseconds\n" +
				"a.json:7: app number 2: wach: there is no such key; did you mean watch?"},
		{"b.yaml", "apps:\n  - script: server.js\n    nmae: api\n", "b.yaml:3: app number 1: nmae: there is no such key; did you mean name?"},
		{"c.json", `{"script": "server.js", "zzzzqqqq": 1}`, "c.json:1: app number 1: zzzzqqqq: there is no such key"},
		{"d.json", `{"apps": [{"script": "sever.js"}]}`, "d.json:1: app number 1: script: there is no file " + dir + "/sever.js; did you mean server.js?"},
		{"e.json", `{"apps": [{"name": "x"}]}`, "e.json:1: app x: script: missing: name the script or program to run"},
		{"f.json", `{"apps": [{"script": "server.js", "health": {"pth": "/"}, "limits": 3, "log_rotate": {"keep": 0}}]}`,
			"f.json:1: app number 1: health.pth: there is no such key; did you mean path?\n" +
				"f.json:1: app number 1: limits: must be an object, and not a number\nf.json:1: app number 1: log_rotate.keep: must be more than 0"},
		{"g.json", `{"apps": [{"script": "server.js", "rollout": {"x": 1}}]}`, "g.json:1: app number 1: rollout.x: there is no such key; there are order, watch"},
		{"h.json", `{"apps": [{"script": "server.js"}, {"script": "server.js"}]}`, "h.json:1: app server: there are two apps of that name"},
		{"i.json", `{"apps": [{"script": "server.js", "out": "a", "output": "b"}]}`, "i.json:1: app number 1: output: it says the same as out, which is given too"},
		{"j.json", `{"apps": [{"script": "server.js", "name": "a b"}]}`, "j.json:1: app a b: name: \"a b\": use 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first"},
		{"k.json", `{"apps": [{"script": "server.js", "__proto__": {}}]}`, "k.json:1: app number 1: __proto__: there is no such key"},
		{"l.json", `{"apps": [{"script": "server.js", "instances": "many", "port": "http"}]}`,
			"l.json:1: app server: instances: \"many\" is no number of workers; give 1 to 1024, or max for one per core\nl.json:1: app server: port: \"http\" is no port from 1 to 65535"},
		{"m.json", `{"apps": [{"script": "server.js", "cron_restart": "every day", "exec_mode": "x", "watch": 3.5e, "env": 1}]}`, "m.json:1: \"3.5e\" is no value; put a text between quotes"},
		{"n.json", `{"apps": [{"script": "server.js", "env": 1, "env_x": "a", "autorestart": "no", "max_restarts": -1, "stop_exit_codes": ["a"]}]}`,
			"n.json:1: app number 1: env: must be an object of variables, and not a number\nn.json:1: app number 1: env_x: must be an object of variables, and not a text\n" +
				"n.json:1: app number 1: autorestart: must be true or false, and not \"no\"\nn.json:1: app number 1: max_restarts: must be a whole number, and not \"-1\"\n" +
				"n.json:1: app number 1: stop_exit_codes: must be a whole number, and not \"a\""},
		{"o.json", `{"apps": [{"script": "server.js", "exec_mode": "x", "stop_signal": "KILL", "listen": "x", "max_memory_restart": "1 cow", "interpreter": {}}]}`,
			"o.json:1: app number 1: exec_mode: \"x\": use one of fork, cluster\n" +
				"o.json:1: app number 1: stop_signal: \"SIGKILL\": use one of SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2\n" +
				"o.json:1: app number 1: listen: \"x\": want host:port or :port\no.json:1: app number 1: max_memory_restart: \"1 cow\" is no size; give one like 300M or 1.5G\n" +
				"o.json:1: app number 1: interpreter: must be a text, and not an object"},
		{"p.json", `{"apps": [{"script": "server.js", "interpreter": "ruby"}, {"script": "app.py", "interpreter": "node@18"}]}`,
			"p.json:1: app number 1: script: ruby is not installed here (it is not in PATH); install it, or name another with interpreter\n" +
				"p.json:1: app number 2: script: node 18 cannot be chosen by its version; name the path of the program with interpreter"},
		{"q.json", `{"aps": [{"script": "server.js"}]}`, "q.json:1: aps: there is no such key; did you mean apps?"},
		{"r.json", `{"hello": 1}`, "r.json: there are no apps in it; it must hold a list under the key apps, or be one app with a script"},
		{"s.json", `{"apps": []}`, "s.json:1: there are no apps in it"},
		{"t.json", `{"apps": "x"}`, "t.json:1: apps must be a list of apps, and not a text"},
		{"u.json", `["x"]`, "u.json:1: app number 1: must be an object, and not a text"},
		{"v.json", `{"apps": [{"script": "server.js"}], "script": "x", "depoly": 1}`,
			"v.json:1: script: this key belongs into an app\nv.json:1: depoly: there is no such key; did you mean deploy?"},
		{"w.json", `{"apps": [{"script": "server.js", "script": "x"}]}`, "w.json:1: \"script\" is given on line 1 already"},
		{"x.yaml", "apps: [\n", "x.yaml:2: "},
		{"y.yaml", "apps:\n  - script: server.js\n    script: x\n", "y.yaml:3: \"script\" is given on line 2 already"},
		{"z.json", "", "z.json:1: the file ends where a value is wanted"},
		{"package.json", `{"name": "x", "scripts": {}}`, "package.json: it has no key apps"},
		{"notes.txt", "", "notes.txt: it is no app file; those end in .config.js, .config.cjs, .config.mjs, .json, .yaml or .yml"},
		{"cron.json", `{"script": "server.js", "cron_restart": "every day"}`, "cron.json:1: app number 1: cron_restart: "},
		{"range.json", `{"script": "server.js", "kill_timeout": "2d", "health": {"path": "x"}}`, "range.json:1: app server: timeouts.kill_seconds: 172800 is not between 0 and 86400\n" +
			"range.json:1: app server: health.path: \"x\" must begin with / and hold no space"},
	} {
		_, _, err := load(t, dir, c.name, c.source)
		got := strings.ReplaceAll(fmt.Sprint(err), dir+"/"+c.name, c.name)
		if got != c.want && !(strings.HasSuffix(c.want, " ") && strings.HasPrefix(got, c.want) && len(got) > len(c.want)) {
			t.Errorf("%s:\ngot  %s\nwant %s", c.source, got, c.want)
		}
	}
	if _, _, err := Load(t.Context(), Options{Path: dir + "/none.json"}); err == nil || err.Error() != dir+"/none.json: there is no such file" {
		t.Errorf("no file: %v", err)
	}
}

func names(apps []spec.App) string {
	var out []string
	for _, a := range apps {
		out = append(out, a.Name)
	}
	return strings.Join(out, " ")
}

func TestForms(t *testing.T) {
	dir := place(t)
	for name, source := range map[string]string{
		"list.json": `[{"script": "server.js"}]`, "one.json": `{"script": "server.js"}`, "single.json": `{"apps": {"script": "server.js"}}`,
		"deploy.json5":  "// a comment\n{ apps: [{ script: 'server.js', /* one more */ }], deploy: {production: {}} }",
		"eco.yaml":      "# a comment\napps:\n- script: server.js\n  name: server\n",
		"one.yml":       "script: server.js\n",
		"anchors.yaml":  "apps:\n- &base\n  script: server.js\n",
		"package.json":  `{"name": "x", "version": "1", "apps": [{"script": "server.js"}]}`,
		"meshnode.json": `{"apps": [{"script": "server.js"}]}`, "meshnode.yaml": "apps:\n  - script: server.js\n",
	} {
		apps, warnings, err := load(t, dir, name, source)
		if err != nil || names(apps) != "server" {
			t.Errorf("%s: %v %v", name, names(apps), err)
			continue
		}
		if want := name == "deploy.json5"; (len(warnings) == 1) != want {
			t.Errorf("%s: %q", name, warnings)
		}
		if own := strings.HasPrefix(name, "meshnode."); (apps[0].Process.StopSignal == "SIGINT") == own {
			t.Errorf("%s: stop signal %q", name, apps[0].Process.StopSignal)
		}
	}
	apps, _, err := load(t, dir, "package.json", `{"pm2": {"apps": [{"script": "server.js"}]}}`)
	if err != nil || names(apps) != "server" {
		t.Errorf("%v %v", apps, err)
	}
	apps, _, err = load(t, dir, "merge.yaml", "x: &x\n  script: server.js\n  instances: 2\napps: [{<<: *x, name: a}, {<<: *x, name: b, instances: 3}]\n")
	if err == nil || !strings.Contains(err.Error(), "x: there is no such key") {
		t.Errorf("%v %v", apps, err)
	}
	apps, _, err = load(t, dir, "merge.yaml", "apps:\n- &x\n  script: server.js\n  instances: 2\n- <<: *x\n  name: b\n  instances: 3\n- {<<: [*x], name: c}\n")
	if err != nil || names(apps) != "server b c" || apps[1].Workers != 3 || apps[2].Workers != 2 {
		t.Errorf("%v %v", apps, err)
	}
}

func TestStandardInput(t *testing.T) {
	dir := place(t)
	for _, source := range []string{`{"apps": [{"script": "server.js"}]}`, "apps:\n- script: server.js\n", "// c\n[{script: 'server.js'}]"} {
		o := Options{Path: "-", Stdin: strings.NewReader(source), Dir: dir, Environ: []string{"PATH=" + dir + "/path"}}
		apps, _, err := Load(t.Context(), o)
		if err != nil || names(apps) != "server" || apps[0].Dir != dir {
			t.Errorf("%q: %v %v", source, apps, err)
		}
	}
	_, _, err := Load(t.Context(), Options{Path: "-", Stdin: strings.NewReader("{"), Dir: dir})
	if err == nil || err.Error() != "standard input:1: the file ends inside an object" {
		t.Error(err)
	}
}

func TestProfilesAndSelection(t *testing.T) {
	dir := place(t)
	const source = `{apps: [
	  { name: "web", script: "server.js", append_env_to_name: true, env: {A: 1, B: 1, C: 1}, env_production: {B: 2, C: null, D: {x: 1}} },
	  { name: "job", script: "server.js", env: {A: 1}, pmx: false, vizion: false },
	]}`
	apps, warnings, err := load(t, dir, "e.json", source, func(o *Options) { o.Env = "production" })
	if err != nil || names(apps) != "web-production job" {
		t.Fatalf("%v %v", names(apps), err)
	}
	if d := cmp.Diff(map[string]string{"A": "1", "B": "2", "D": `{"x":1}`}, apps[0].Env); d != "" {
		t.Error(d)
	}
	if want := []Warning{Warning(dir + "/e.json: keys without a meaning here are left out: pmx, vizion")}; cmp.Diff(want, warnings) != "" {
		t.Errorf("%q", warnings)
	}
	apps, _, err = load(t, dir, "e.json", source, func(o *Options) { o.Only = []string{"job"} })
	if err != nil || names(apps) != "job" {
		t.Errorf("%v %v", names(apps), err)
	}
	_, _, err = load(t, dir, "e.json", source, func(o *Options) { o.Only = []string{"jbo", "zzzzzz"} })
	if want := dir + "/e.json: there is no app \"jbo\"; there is job\n" + dir + "/e.json: there is no app \"zzzzzz\"; there is web, job"; fmt.Sprint(err) != want {
		t.Error(err)
	}
	_, _, err = load(t, dir, "e.json", source, func(o *Options) { o.Env = "prodution" })
	if want := dir + "/e.json: no app has env_prodution; did you mean env_production?"; fmt.Sprint(err) != want {
		t.Error(err)
	}
	apps, warnings, err = load(t, dir, "e.json", source, func(o *Options) { o.Env = "zzz" })
	if err != nil || names(apps) != "web-zzz job" || !strings.Contains(fmt.Sprint(warnings), "no app has env_zzz") {
		t.Errorf("%v %q %v", names(apps), warnings, err)
	}
}

func TestWarnings(t *testing.T) {
	dir := place(t)
	apps, warnings, err := load(t, dir, "e.json", `[{"script": "server.js", "instances": -1, "pid_file": "x"}, {"name": "b", "script": "server.js", "instances": -100, "pid_file": "y"}]`)
	if err != nil || apps[0].Workers != 3 || apps[1].Workers != 1 {
		t.Errorf("%+v %v", apps, err)
	}
	want := []Warning{"e.json: pid_file: none is written; use: meshnode pid <app>", "e.json: instances: -1 is 3 on this server, and so it is 3 on every server",
		"e.json: instances: -100 is 1 on this server, and so it is 1 on every server"}
	for i := range warnings {
		warnings[i] = Warning(strings.TrimPrefix(string(warnings[i]), dir+"/"))
	}
	if d := cmp.Diff(want, warnings); d != "" {
		t.Error(d)
	}
}

func TestBounds(t *testing.T) {
	dir := place(t)
	deep := strings.Repeat("[", 1000) + strings.Repeat("]", 1000)
	var bomb strings.Builder
	bomb.WriteString("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n")
	for i := 1; i < 12; i++ {
		fmt.Fprintf(&bomb, "a%d: &a%d [%s]\n", i, i, strings.Repeat(fmt.Sprintf("*a%d, ", i-1), 10))
	}
	for name, c := range map[string]struct{ source, want string }{
		"deep.json": {deep, "nested too deeply"}, "deep.yaml": {"a: " + deep, "nested too deeply"}, "bomb.yaml": {bomb.String(), "more than 100,000 values"},
		"self.yaml": {"apps: &a\n- *a\n", "nested too deeply"}, "long.json": {"[" + strings.Repeat("1,", 200_000) + "]", "more than 100,000 values"},
		"big.json": {strings.Repeat(" ", maxBytes+1), "larger than 1 MiB"}, "apps.json": {"[" + strings.Repeat("{},", spec.MaxApps+1) + "]", "at most 1024 are allowed"},
	} {
		if _, _, err := load(t, dir, name, c.source); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.200v", name, err)
		}
	}
}

// JavaScript is evaluated by the real Node.js.
func TestScripts(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		t.Skip("no node in PATH: install Node.js to run this test")
	}
	dir := place(t)
	plain := func(o *Options) { o.Environ = append(os.Environ(), "GREETING=hello") }
	for name, source := range map[string]string{
		"ecosystem.config.js":  "console.log('{noise'); console.error('more');\nmodule.exports = { apps: [{ script: 'server.js', env: { G: process.env.GREETING, F: () => 1, U: undefined } }] }",
		"ecosystem.config.cjs": "const p = require('path');\nmodule.exports = [{ script: p.join(__dirname, 'server.js'), env: { G: 'hello' }, ignore_watch: ['x', /node_modules/] }]",
		"ecosystem.config.mjs": "import os from 'node:os';\nexport default { script: 'server.js', env: { G: 'hello', N: os.EOL && 1 } }",
		"named.config.mjs":     "export const apps = [{ script: 'server.js', env: { G: 'hello' } }];",
		"later.config.js":      "module.exports = Promise.resolve({ script: 'server.js', env: { G: 'hello' } }); setInterval(() => {}, 1000)",
	} {
		var printed bytes.Buffer
		apps, warnings, err := load(t, dir, name, source, plain, func(o *Options) { o.Output = &printed })
		if err != nil || names(apps) != "server" || apps[0].Env["G"] != "hello" || apps[0].Command[1] != filepath.Join(dir, "server.js") {
			t.Errorf("%s: %+v %v", name, apps, err)
			continue
		}
		if _, ok := apps[0].Env["U"]; ok || strings.Contains(source, "noise") != strings.Contains(printed.String(), "{noise\nmore\n") {
			t.Errorf("%s: %v, printed %q", name, apps[0].Env, printed.String())
		}
		if regular := strings.Contains(source, "/node_modules/"); regular && (len(warnings) != 1 || cmp.Diff([]string{"x"}, apps[0].Restart.IgnoreWatch) != "") {
			t.Errorf("%s: %q %q", name, warnings, apps[0].Restart.IgnoreWatch)
		}
	}
	for _, c := range []struct{ name, source, want string }{
		{"a.config.js", "\n\nmodule.exports = { apps: [ }", ":3: SyntaxError: "},
		{"b.config.js", "const x = 1;\nthrow new Error('no database\\nsecond line');", ":2: no database"},
		{"c.config.js", "module.exports = { apps: [{ script: undefinedThing }] }", ":1: ReferenceError: undefinedThing is not defined"},
		{"d.config.js", "module.exports = () => ({})", ": it exports a function; export the object that the function returns"},
		{"e.config.js", "process.exit(3)", ": it ends the program before it has exported anything"},
		{"f.config.js", "require('./nowhere')", ": Cannot find module './nowhere'"},
		{"g.config.js", "const a = {}; a.a = a; module.exports = a", ": TypeError: Converting circular structure to JSON"},
		{"h.config.mjs", "import x from './nowhere.js'", ": Cannot find module "},
		{"i.config.js", "module.exports = undefined", ": it exports nothing"},
		{"j.config.js", "module.exports = { apps: [{ script: 'server.js', nmae: 'x' }] }", ": app number 1: nmae: there is no such key; did you mean name?"},
		{"k.config.js", "require('fs').writeSync(3, 'garbage'); module.exports = {}", " exported nothing"},
		{"l.config.js", "require('fs').writeSync(1, 'x'.repeat(2000000))", ": it writes more than 1048576 bytes"},
		{"m.config.js", "module.exports = {apps: 'x'.repeat(2000000)}", ": it writes more than 1048576 bytes"},
		{"n.config.js", "module.exports = {}", ": there are no apps in it"},
	} {
		_, _, err := load(t, dir, c.name, c.source, plain)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", c.source, err, c.want)
		}
	}
	_, _, err := load(t, dir, "o.config.js", "", func(o *Options) { o.Environ = nil })
	if err == nil || !strings.HasSuffix(err.Error(), ": node is needed to read a JavaScript file, and is not in PATH; install Node.js, or write the file as JSON or YAML") {
		t.Error(err)
	}
}
