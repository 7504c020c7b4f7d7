package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshnode/node/appfile"
	"meshnode/node/config"
	"meshnode/store/spec"
)

// appFlags are the flags that say how an app is to run.
type appFlags struct {
	base         spec.App // what flags set straight away
	name         string
	workers      string
	ports        listFlag
	env          listFlag
	secretEnv    listFlag
	cwd          string
	run          runFlags
	care         careFlags
	proxied      bool
	declaredOn   *flag.FlagSet
	declaredName []string
}

// runFlags say what runs the script.
type runFlags struct{ interpreter, nodeArgs string }

// listFlag is a flag that may be given many times.
type listFlag []string

func (l *listFlag) String() string     { return strings.Join(*l, ",") }
func (l *listFlag) Set(v string) error { *l = append(*l, v); return nil }

// secondsFlag is a time of an app. A bare number is in milliseconds, as in PM2.
type secondsFlag struct{ to *float64 }

func (s secondsFlag) String() string { return "" }

func (s secondsFlag) Set(v string) error {
	seconds, err := appfile.Seconds(v)
	if err == nil && seconds == 0 {
		err = fmt.Errorf("%q must be more than nothing", v)
	}
	*s.to = seconds
	return err
}

// orNeverFlag is a time of which nothing means never, as spec has it: negative.
type orNeverFlag struct{ to *float64 }

func (s orNeverFlag) String() string { return "" }

func (s orNeverFlag) Set(v string) error {
	seconds, err := appfile.Seconds(v)
	if *s.to = seconds; seconds == 0 {
		*s.to = -1
	}
	return err
}

// timeFlag is a time limit as Go has it.
type timeFlag struct{ to *time.Duration }

func (f timeFlag) String() string { return "" }

func (f timeFlag) Set(v string) error {
	d, err := time.ParseDuration(v)
	switch {
	case err != nil:
		return fmt.Errorf("%q is no time; give one with its unit, like 30s", v)
	case d <= 0:
		return fmt.Errorf("%q must be more than nothing", v)
	}
	*f.to = d
	return nil
}

// declareApp adds the flags of an app to fs.
func declareApp(fs *flag.FlagSet) *appFlags {
	f := &appFlags{declaredOn: fs}
	before := map[string]bool{}
	fs.VisitAll(func(g *flag.Flag) { before[g.Name] = true })
	fs.StringVar(&f.name, "name", "", "`name` name of the app (default the script's)")
	fs.StringVar(&f.name, "n", "", sameAs+"name")
	fs.StringVar(&f.workers, "i", "max", "`n` how many workers on every node, or max for one per core (default max)")
	fs.StringVar(&f.workers, "instances", "max", sameAs+"i")
	fs.Var(&f.ports, "port", "`port` port or host:port clients connect to, with /udp behind it for datagrams; repeat it for more (Node.js apps seldom need it)")
	f.base.Mode, f.base.Order = spec.ModeAuto, spec.OrderStartFirst
	fs.Var(wordFlag[spec.Mode]{&f.base.Mode}, "mode", "`mode` how workers get connections: auto, cluster, socket or port (default auto)")
	fs.Var(&f.env, "env", "`K=V` a variable for the workers; repeat it for more; with an app file, -env x lays its env_x over env")
	fs.Var(&f.secretEnv, "secret-env", "`K[=V]` the same for a value that nobody is to read; without =V it is taken from this environment; repeat it for more")
	fs.StringVar(&f.cwd, "cwd", "", "`dir` folder the workers run in (default this one)")
	fs.StringVar(&f.run.interpreter, "interpreter", "", "`program` what runs the script, or none (default by the script's ending)")
	fs.StringVar(&f.run.nodeArgs, "node-args", "", "`args` arguments for what runs the script, between it and the script")
	fs.StringVar(&f.run.nodeArgs, "interpreter-args", "", sameAs+"node-args")
	fs.Var(wordFlag[spec.Order]{&f.base.Order}, "order", "`order` how workers are replaced: start-first or stop-first (default start-first)")
	fs.BoolVar(&f.base.WaitReady, "wait-ready", false, "a worker is ready only when it says so: process.send('ready') or READY=1")
	fs.Var(orNeverFlag{&f.base.Timeouts.Watch}, "watch-time", "`time` how long a worker of a new release must stay up before it takes its place (default 1s, 0 for not at all)")
	fs.Var(secondsFlag{&f.base.Timeouts.Listen}, "listen-timeout", "`time` how long a worker may take to get ready (default 30s)")
	fs.Var(secondsFlag{&f.base.Timeouts.Drain}, "drain-timeout", "`time` how long open connections may take before a worker is stopped (default 30s)")
	fs.Var(secondsFlag{&f.base.Timeouts.Kill}, "kill-timeout", "`time` how long a worker may take to end before it is killed (default 10s)")
	fs.Var(secondsFlag{&f.base.Timeouts.Kill}, "k", sameAs+"kill-timeout")
	f.declareCare(fs)
	f.declareBalance(fs)
	f.declareClients(fs)
	fs.VisitAll(func(g *flag.Flag) {
		if !before[g.Name] {
			f.declaredName = append(f.declaredName, g.Name)
		}
	})
	return f
}

// given returns the name of a flag of the app that stands on the command line, save one, or "".
func (f *appFlags) given(save string) string {
	found := ""
	f.declaredOn.Visit(func(g *flag.Flag) {
		for _, name := range f.declaredName {
			if g.Name == name && name != save {
				found = name
			}
		}
	})
	return found
}

// app makes the app that the flags and the program describe. The error is a usageError.
func (f *appFlags) app(c *console, what string, args []string) (spec.App, error) {
	a := f.base.Clone()
	a.Name, a.Dir = f.name, c.dir
	other := ""
	if f.cwd != "" {
		a.Dir = c.path(f.cwd)
		other = a.Dir
		if !isFolder(a.Dir) {
			return a, usagef("-cwd: there is no folder %s", a.Dir)
		}
	}
	found, err := f.program(c, what, other)
	if err != nil {
		return a, err
	}
	a.Command = append(found.Command, args...)
	if a.Name == "" {
		a.Name = found.Name
	}
	if a.Workers, err = parseWorkers(f.workers); err != nil {
		return a, err
	}
	if a.Listen, err = parsePorts(f.ports); err != nil {
		return a, err
	}
	if a.Env, err = parseEnv(f.env); err != nil {
		return a, err
	}
	if a.Process.SecretEnv, err = parseSecrets(f.secretEnv, c.environ); err != nil {
		return a, err
	}
	if f.proxied {
		a.Clients.ProxyProtocol = []string{spec.AllAddresses}
	}
	if err := f.settleCare(c, &a); err != nil {
		return a, err
	}
	return a, f.check(a)
}

// check refuses what the cluster would refuse, in the words of the command line.
func (f *appFlags) check(a spec.App) error {
	modes := []string{string(spec.ModeAuto), string(spec.ModeCluster), string(spec.ModeSocket), string(spec.ModePort)}
	orders := []string{string(spec.OrderStartFirst), string(spec.OrderStopFirst)}
	if err := oneOf("-mode", string(a.Mode), modes); err != nil {
		return err
	}
	if err := oneOf("-order", string(a.Order), orders); err != nil {
		return err
	}
	if a.Balance.Policy != "" {
		if err := oneOf("-policy", string(a.Balance.Policy), policies()); err != nil {
			return err
		}
	}
	if err := spec.ValidateName(a.Name); err != nil {
		if f.name == "" {
			return usagef("%q cannot be the name of an app; give one with -name", a.Name)
		}
		return &usageError{err: fmt.Errorf("-%w", err)}
	}
	if err := a.WithDefaults().Validate(); err != nil {
		return &usageError{err: err}
	}
	return nil
}

func oneOf(name, word string, allowed []string) error {
	for _, a := range allowed {
		if a == word {
			return nil
		}
	}
	if near := config.Nearest(word, allowed); near != "" {
		return usagef("%s: there is no %q; did you mean %s?", name, word, near)
	}
	return usagef("%s: there is no %q; use one of %s", name, word, strings.Join(allowed, ", "))
}

// parseWorkers reads -i; 0 stands for one per core, as in spec.App.
func parseWorkers(word string) (int, error) {
	if strings.EqualFold(word, "max") {
		return 0, nil
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 || n > spec.MaxWorkers {
		return 0, usagef("-i: %q is no number of workers; give 1 to %d, or max for one per core", word, spec.MaxWorkers)
	}
	return n, nil
}

func parsePorts(words []string) ([]string, error) {
	var out []string
	for _, w := range words {
		addr := w
		bare, _ := spec.Datagrams(w)
		if _, err := strconv.ParseUint(bare, 10, 64); err == nil {
			addr = ":" + w
		}
		if err := spec.ValidateListen(addr); err != nil {
			return nil, usagef("-port: %q is neither a port from 1 to 65535 nor an address like 10.0.0.1:3000", w)
		}
		out = append(out, addr)
	}
	return out, nil
}

// parseEnv reads variables. Errors never repeat a value: it may be a password.
func parseEnv(words []string) (map[string]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	env := make(map[string]string, len(words))
	for i, w := range words {
		k, v, ok := strings.Cut(w, "=")
		if !ok || k == "" {
			return nil, usagef("-env: number %d is not of the form NAME=value", i+1)
		}
		env[k] = v
	}
	return env, nil
}

// parseSecrets is parseEnv for secret variables: one without a value has that of the environment, so that it stands in no list of processes.
func parseSecrets(words, environ []string) (map[string]string, error) {
	if len(words) == 0 {
		return nil, nil
	}
	out := make(map[string]string, len(words))
	for i, w := range words {
		name, value, given := strings.Cut(w, "=")
		if name == "" {
			return nil, usagef("-secret-env: number %d is not of the form NAME or NAME=value", i+1)
		}
		if !given {
			at := slices.IndexFunc(environ, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
			if at < 0 {
				return nil, usagef("-secret-env: there is no variable %s in this environment whose value could be taken", name)
			}
			value = strings.TrimPrefix(environ[at], name+"=")
		}
		out[name] = value
	}
	return out, nil
}
