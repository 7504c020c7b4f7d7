package main

import (
	"flag"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"meshnode/node/appfile"
	"meshnode/store/spec"
)

// careFlags are flags of an app that are worked out when all are known. Their names are PM2's.
type careFlags struct {
	watch       bool
	ignoreWatch string
	filterEnv   listFlag
	exitCodes   string
	time        bool
	logType     string
	sourceMaps  bool
}

// wordFlag is a flag whose value is one of some words, which are checked later.
type wordFlag[T ~string] struct{ to *T }

func (f wordFlag[T]) String() string { return "" }

func (f wordFlag[T]) Set(v string) error {
	*f.to = T(v)
	return nil
}

// parsedFlag is a flag whose value is read by a function.
type parsedFlag[T any] struct {
	to    *T
	parse func(string) (T, error)
}

func (f parsedFlag[T]) String() string { return "" }

func (f parsedFlag[T]) Set(v string) error {
	got, err := f.parse(v)
	*f.to = got
	return err
}

// healthFlag is a path to ask for, or the word tcp.
type healthFlag struct{ to *spec.Health }

func (f healthFlag) String() string { return "" }

func (f healthFlag) Set(v string) error {
	f.to.Path, f.to.TCP = v, v == "tcp"
	if f.to.TCP {
		f.to.Path = ""
	}
	return nil
}

// declareCare adds the flags that say how workers are cared for.
func (f *appFlags) declareCare(fs *flag.FlagSet) {
	p, r, l := &f.base.Process, &f.base.Restart, &f.base.Logs
	fs.StringVar(&f.base.Namespace, "namespace", "", "`name` group of apps; verbs take it in the place of an app")
	fs.StringVar(&p.User, "user", "", "`user` whom the workers run as")
	fs.StringVar(&p.User, "uid", "", sameAs+"user")
	fs.StringVar(&p.Group, "group", "", "`group` group the workers run as (default the user's)")
	fs.StringVar(&p.Group, "gid", "", sameAs+"group")
	fs.Var(parsedFlag[string]{&p.StopSignal, parseSignal}, "stop-signal", "`signal` what asks a worker to end (default SIGTERM)")
	fs.BoolVar(&p.StopMessage, "shutdown-with-message", false, "send a Node.js worker the message shutdown in the place of the signal")
	fs.BoolVar(&p.LeaveTree, "no-treekill", false, "leave the processes that a worker has started to it")
	fs.StringVar(&p.InstanceVar, "instance-var", "", "`name` variable with the worker's number (default NODE_APP_INSTANCE)")
	fs.StringVar(&p.IncrementVar, "increment-var", "", "`name` variable whose number grows by one with each worker")
	fs.Var(&f.care.filterEnv, "filter-env", "`name` variable of the node that workers do not get; x* for all that begin so; repeat it for more")
	fs.Var(parsedFlag[uint64]{&r.MaxMemory, appfile.Bytes}, "max-memory-restart", "`size` replace a worker that uses more memory, like 300M")
	fs.Var(parsedFlag[string]{&r.Cron, parseCron}, "cron-restart", "`pattern` when to replace the workers, like \"0 4 * * *\" or @daily")
	fs.Var(parsedFlag[string]{&r.Cron, parseCron}, "cron", sameAs+"cron-restart")
	fs.Var(parsedFlag[string]{&r.Cron, parseCron}, "c", sameAs+"cron-restart")
	fs.BoolVar(&f.care.watch, "watch", false, "replace the workers when files in their folder change")
	fs.StringVar(&f.care.ignoreWatch, "ignore-watch", "", "`patterns` files whose change does not count")
	fs.Var(parsedFlag[float64]{&r.WatchDelay, parseWatchDelay}, "watch-delay", "`time` how long after the last change (default 1s; a bare number is in seconds, as in PM2)")
	fs.BoolVar(&f.base.Stopped, "no-autostart", false, "only make the app known; start it later by its name")
	fs.BoolVar(&f.care.sourceMaps, "source-map-support", false, "show places of the sources in the stack traces of Node.js")
	fs.BoolVar(&r.Off, "no-autorestart", false, "leave a worker that ended by itself ended")
	fs.StringVar(&f.care.exitCodes, "stop-exit-codes", "", "`codes` exit codes after which a worker is not started again, like 0,42")
	fs.Var(parsedFlag[int]{&r.Max, parseCount}, "max-restarts", "`n` failed starts in a row until it is given up (default 16)")
	fs.Var(secondsFlag{&r.MinUptime}, "min-uptime", "`time` how long a worker must live for its start to count as good (default 1s)")
	fs.Var(secondsFlag{&r.Delay}, "restart-delay", "`time` fixed wait before a start (default one that grows)")
	fs.Var(secondsFlag{&r.Backoff}, "exp-backoff-restart-delay", "`time` first of the growing waits before a start (default 100ms)")
	fs.Var(healthFlag{&f.base.Health}, "health", "`path` what to ask a worker for over HTTP, to see that it is well; or tcp, to connect only")
	fs.BoolVar(&l.Merge, "merge-logs", false, "keep one file of output for all workers of a server")
	fs.BoolVar(&l.Off, "disable-logs", false, "keep no output")
	fs.StringVar(&l.Out, "output", "", "`file` a further file for standard output")
	fs.StringVar(&l.Out, "o", "", sameAs+"output")
	fs.StringVar(&l.Err, "error", "", "`file` a further file for standard error")
	fs.StringVar(&l.Err, "e", "", sameAs+"error")
	fs.StringVar(&l.Both, "log", "", "`file` a further file for both")
	fs.StringVar(&l.Both, "l", "", sameAs+"log")
	fs.BoolVar(&f.care.time, "time", false, "begin each line of these files with the time")
	fs.StringVar(&l.DateFormat, "log-date-format", "", "`format` form of that time, as PM2 has it, like \"YYYY-MM-DD HH:mm\"")
	fs.StringVar(&f.care.logType, "log-type", "", "`type` form of these files: raw or json (default raw)")
}

// settleCare works out what depends on the folder, or on several flags.
func (f *appFlags) settleCare(c *console, a *spec.App) error {
	for _, file := range []*string{&a.Logs.Out, &a.Logs.Err, &a.Logs.Both} {
		if *file != "" {
			*file = c.path(*file)
		}
	}
	if f.care.sourceMaps && appfile.IsNode(a.Command[0]) {
		a.Command = slices.Insert(a.Command, 1, "--enable-source-maps")
	}
	if f.care.watch {
		a.Restart.Watch = []string{a.Dir}
	}
	if f.care.time && a.Logs.DateFormat == "" {
		a.Logs.DateFormat = "YYYY-MM-DDTHH:mm:ss"
	}
	if f.care.logType != "" {
		if err := oneOf("-log-type", f.care.logType, []string{"raw", "json"}); err != nil {
			return err
		}
		a.Logs.JSON = f.care.logType == "json"
	}
	var err error
	if a.Restart.IgnoreWatch, err = splitFlag("-ignore-watch", f.care.ignoreWatch); err != nil {
		return err
	}
	if len(f.care.filterEnv) > 0 {
		a.Process.FilterEnv = f.care.filterEnv
	}
	for _, word := range strings.FieldsFunc(f.care.exitCodes, func(r rune) bool { return r == ',' || r == ' ' }) {
		code, err := strconv.Atoi(word)
		if err != nil {
			return usagef("-stop-exit-codes: %q is no exit code", word)
		}
		a.Restart.StopExitCodes = append(a.Restart.StopExitCodes, code)
	}
	return nil
}

// parseWatchDelay reads a time of which PM2 has the bare number in seconds, unlike all others.
func parseWatchDelay(word string) (float64, error) {
	if n, err := strconv.ParseFloat(word, 64); err == nil && n > 0 {
		return n, nil
	}
	var seconds float64
	err := secondsFlag{&seconds}.Set(word)
	return seconds, err
}

func parseCron(pattern string) (string, error) {
	if pattern == "0" { // how PM2 turns it off
		return "", nil
	}
	return pattern, appfile.Cron(pattern)
}

func parseCount(word string) (int, error) {
	n, err := strconv.Atoi(word)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%q is no number from 1", word)
	}
	return n, nil
}

func parseSignal(word string) (string, error) {
	name := strings.ToUpper(word)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	for _, s := range spec.StopSignals() {
		if s == name {
			return name, nil
		}
	}
	return "", fmt.Errorf("%q cannot be; use one of %s", word, strings.Join(spec.StopSignals(), ", "))
}
