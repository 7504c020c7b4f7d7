package appfile

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"meshnode/store/spec"
)

// draft is an app while its keys are read. What depends on several keys is settled when all are known.
type draft struct {
	file   *file
	line   int
	label  string // names the app in messages
	failed bool

	app       spec.App
	run       run
	watch     []string
	instances string
	port      string
	time      bool
	appendEnv bool
	profile   value // env_X of the X that is wanted
}

// run is what a worker's command is made of.
type run struct {
	script, cwd, interpreter string
	args, nodeArgs           []string
	sourceMaps               bool
}

// app reads one app; ok is false when it has a problem, which is noted.
func (f *file) app(v value, index int) (_ spec.App, ok bool) {
	d := &draft{file: f, line: v.line, label: fmt.Sprintf("number %d", index+1)}
	if v.kind != object {
		d.problem(v.line, "", fmt.Errorf("must be an object, and not %s", v.kind))
		return d.app, false
	}
	if name, ok := v.get("name"); ok && name.kind == text && name.word != "" {
		d.label = clip(name.word)
	}
	known := keys()
	seen := map[string]string{}
	for _, e := range v.keys {
		d.key(known, e, seen)
	}
	if !d.failed {
		d.finish()
	}
	return d.app, !d.failed
}

// problem notes what is wrong with a key.
func (d *draft) problem(line int, key string, err error) {
	d.failed = true
	if line == 0 {
		line = d.line
	}
	if key != "" {
		key = clip(key) + ": "
	}
	for _, one := range strings.Split(err.Error(), "\n") {
		d.file.problems = append(d.file.problems, fmt.Errorf("%s: app %s: %s%s", d.file.place(line), d.label, key, one))
	}
}

func (d *draft) warnOnce(text string) { d.file.warnOnce(text) }

// key reads one key. seen holds the names that were read, by what they stand for.
func (d *draft) key(known []key, e entry, seen map[string]string) {
	if profile, ok := strings.CutPrefix(e.key, "env_"); ok {
		d.file.profiles = append(d.file.profiles, profile)
		if e.value.kind != object && e.value.kind != null {
			d.problem(e.line, e.key, fmt.Errorf("must be an object of variables, and not %s", e.value.kind))
		} else if profile == d.file.Env {
			d.profile = e.value
		}
		return
	}
	word := snake(e.key)
	i := slices.IndexFunc(known, func(k key) bool { return k.name == word || slices.Contains(k.also, word) })
	switch {
	case i >= 0 && seen[known[i].name] != "":
		d.problem(e.line, e.key, fmt.Errorf("it says the same as %s, which is given too", seen[known[i].name]))
	case i >= 0 && e.value.kind == null:
	case i >= 0:
		seen[known[i].name] = e.key
		if err := known[i].set(d, e.value); err != nil {
			d.problem(e.line, e.key, err)
		}
	case slices.Contains(meaningless(), word):
		d.file.ignore(e.key)
	default:
		d.problem(e.line, e.key, unknown(e.key, known))
	}
}

// variables lays variables over those that are there.
func (d *draft) variables(v value) error {
	set, gone, err := v.variables()
	if err != nil {
		return err
	}
	if d.app.Env == nil && len(set) > 0 {
		d.app.Env = map[string]string{}
	}
	maps.Copy(d.app.Env, set)
	for _, name := range gone {
		delete(d.app.Env, name)
	}
	return nil
}

// finish settles what depends on several keys.
func (d *draft) finish() {
	if d.profile.kind == object {
		if err := d.variables(d.profile); err != nil {
			d.problem(d.profile.line, "env_"+d.file.Env, err)
		}
	}
	d.app.Dir = d.path(d.file.folder(), d.run.cwd)
	if err := d.command(); err != nil {
		d.problem(0, "script", err)
		return
	}
	if d.appendEnv && d.file.Env != "" {
		d.app.Name += "-" + d.file.Env
	}
	d.label = clip(d.app.Name)
	if err := d.workers(); err != nil {
		d.problem(0, "instances", err)
	}
	if err := d.clients(); err != nil {
		d.problem(0, "port", err)
	}
	if d.app.Process.StopSignal == "" && !d.file.own() {
		d.app.Process.StopSignal = "SIGINT" // as PM2 sends
	}
	if d.time {
		d.app.Logs.DateFormat = "YYYY-MM-DDTHH:mm:ss"
	}
	for _, p := range []*string{&d.app.Logs.Out, &d.app.Logs.Err, &d.app.Logs.Both} {
		if *p != "" {
			*p = d.path(d.app.Dir, *p)
		}
	}
	for _, w := range d.watch {
		d.app.Restart.Watch = append(d.app.Restart.Watch, d.path(d.app.Dir, w))
	}
	if d.failed {
		return
	}
	if err := d.app.WithDefaults().Validate(); err != nil {
		d.problem(0, "", err)
	}
}

// path makes a path absolute. "~" is the operator's home.
func (d *draft) path(base, p string) string {
	if rest, ok := strings.CutPrefix(p, "~"); ok && (rest == "" || rest[0] == '/') {
		if home := variable(d.file.Environ, "HOME"); home != "" {
			return filepath.Join(home, rest)
		}
	}
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(base, p)
}

// command makes the argument vector, and the name that an app without one has.
func (d *draft) command() error {
	r := d.run
	if r.script == "" {
		return errors.New("missing: name the script or program to run")
	}
	if strings.HasPrefix(r.script, "~") {
		r.script = d.path(d.app.Dir, r.script)
	}
	if strings.HasPrefix(r.interpreter, "~") {
		r.interpreter = d.path(d.app.Dir, r.interpreter)
	}
	found, err := Programs{Dir: d.app.Dir, Interpreter: r.interpreter, InterpreterArgs: r.nodeArgs, Environ: d.file.Environ, Key: "interpreter"}.Find(r.script)
	if err != nil {
		return err
	}
	if r.sourceMaps && IsNode(found.Command[0]) {
		found.Command = slices.Insert(found.Command, 1, "--enable-source-maps")
	}
	d.app.Command = append(found.Command, r.args...)
	if d.app.Name == "" {
		d.app.Name = found.Name
	}
	return nil
}

// workers reads instances: one by default, as PM2 has it. Cores differ between servers and a number does not: a negative one is settled
// here, for all of them.
func (d *draft) workers() error {
	word := strings.ToLower(d.instances)
	switch word {
	case "":
		d.app.Workers = 1
		return nil
	case "max":
		return nil
	}
	n, err := strconv.Atoi(word)
	if err != nil || n > spec.MaxWorkers || n < -spec.MaxWorkers {
		return fmt.Errorf("%q is no number of workers; give 1 to %d, or max for one per core", clip(d.instances), spec.MaxWorkers)
	}
	if n < 0 {
		less := max(1, d.file.Cores+n)
		d.warnOnce(fmt.Sprintf("instances: %d is %d on this server, and so it is %d on every server", n, less, less))
		n = less
	}
	d.app.Workers = n
	return nil
}

// clients finds the addresses of clients, and how workers that may listen themselves are replaced.
func (d *draft) clients() error {
	node := IsNode(d.app.Command[0])
	port := d.port
	if port == "" && !node { // such a program is told another port, and clients connect to this one
		if _, err := strconv.ParseUint(d.app.Env["PORT"], 10, 16); err == nil {
			port = d.app.Env["PORT"]
		}
	}
	switch {
	case port == "":
	case node && d.app.Process.IncrementVar == "PORT": // a port for each worker, which the workers ask for themselves
		if d.app.Env == nil {
			d.app.Env = map[string]string{}
		}
		d.app.Env["PORT"] = port
	case len(d.app.Listen) == 0:
		if err := spec.ValidateListen(address(port)); err != nil {
			return fmt.Errorf("%q is no port from 1 to 65535", clip(port))
		}
		d.app.Listen = []string{address(port)}
	}
	if d.app.Order == "" && !node && len(d.app.Listen) == 0 {
		d.app.Order = spec.OrderStopFirst // it may hold a port of its own, which two cannot
	}
	return nil
}

// IsNode reports whether a program is Node.js.
func IsNode(program string) bool {
	base := filepath.Base(program)
	return base == "node" || base == "nodejs" || strings.HasPrefix(base, "node-")
}
