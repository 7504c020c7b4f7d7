package appfile

import (
	"encoding/json"
	"slices"
	"strings"
	"unicode"

	cron "github.com/netresearch/go-cron"

	"meshnode/store/spec"
)

// key is one key of an app, with the other names it has.
type key struct {
	name string
	also []string
	set  func(d *draft, v value) error
}

// keys returns every key of an app that has a meaning here.
func keys() []key {
	return slices.Concat(processKeys(), workerKeys(), restartKeys(), stopKeys(), logKeys(), ownKeys(), clientKeys())
}

// meaningless returns PM2's keys that have no meaning here, and do no harm.
func meaningless() []string {
	return []string{
		"vizion", "pmx", "trace", "disable_trace", "automation", "io", "v8", "deep_monitoring", "event_loop_inspector", "km_link",
		"post_update", "pre_deploy", "disable_source_map_support", "watch_options", "kill_retry_time", "windows_hide", "write",
		"execute_command", "version", "node_version", "axm_options", "axm_actions", "axm_monitor", "axm_dynamic", "force", "container",
		"error_callback", "bun_args", "monitoring", "transactions", "http", "profiling", "dist_mode", "status", "pm_id", "username_label", "ref", "repo", "name_prefix", "install_url",
	}
}

// snake is the form in which keys are looked up: PM2's users write some of them in camel case.
func snake(word string) string {
	var b strings.Builder
	for i, r := range word {
		switch {
		case r == '-':
			b.WriteByte('_')
		case unicode.IsUpper(r) && i > 0 && !strings.HasSuffix(b.String(), "_"):
			b.WriteByte('_')
			b.WriteRune(unicode.ToLower(r))
		default:
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
}

// of makes a key from the way its value is read and the place it goes to.
func of[T any](name string, read func(value) (T, error), to func(d *draft) *T, also ...string) key {
	return key{name: name, also: also, set: func(d *draft, v value) error {
		got, err := read(v)
		if err == nil {
			*to(d) = got
		}
		return err
	}}
}

func processKeys() []key {
	return []key{
		of("script", value.scalar, func(d *draft) *string { return &d.run.script }, "exec", "cmd", "command", "pm_exec_path"),
		of("name", value.scalar, func(d *draft) *string { return &d.app.Name }),
		of("namespace", value.scalar, func(d *draft) *string { return &d.app.Namespace }),
		of("cwd", value.scalar, func(d *draft) *string { return &d.run.cwd }, "pm_cwd"),
		of("args", value.words, func(d *draft) *[]string { return &d.run.args }),
		of("interpreter", value.scalar, func(d *draft) *string { return &d.run.interpreter }, "exec_interpreter"),
		of("node_args", value.words, func(d *draft) *[]string { return &d.run.nodeArgs }, "interpreter_args", "exec_args"),
		of("source_map_support", value.flag, func(d *draft) *bool { return &d.run.sourceMaps }),
		of("uid", value.scalar, func(d *draft) *string { return &d.app.Process.User }, "user", "username"),
		of("gid", value.scalar, func(d *draft) *string { return &d.app.Process.Group }, "group"),
		of("append_env_to_name", value.flag, func(d *draft) *bool { return &d.appendEnv }),
		of("instance_var", value.scalar, func(d *draft) *string { return &d.app.Process.InstanceVar }),
		of("increment_var", value.scalar, func(d *draft) *string { return &d.app.Process.IncrementVar }),
		{name: "env", set: func(d *draft, v value) error { return d.variables(v) }},
		{name: "secret_env", set: func(d *draft, v value) error {
			set, _, err := v.variables()
			d.app.Process.SecretEnv = set
			return err
		}},
		{name: "filter_env", set: func(d *draft, v value) error {
			if v.kind == boolean {
				if v.word == "true" {
					d.app.Process.FilterEnv = []string{"*"}
				}
				return nil
			}
			names, err := v.texts()
			if v.kind == list { // of beginnings
				for i := range names {
					names[i] = strings.TrimSuffix(names[i], "*") + "*"
				}
			}
			d.app.Process.FilterEnv = names
			return err
		}},
	}
}

func workerKeys() []key {
	return []key{
		of("instances", value.scalar, func(d *draft) *string { return &d.instances }),
		{name: "exec_mode", also: []string{"exec_type"}, set: func(_ *draft, v value) error {
			word, err := v.scalar()
			if err != nil {
				return err
			}
			return one(strings.TrimSuffix(word, "_mode"), "fork", "cluster") // the command says what is possible
		}},
		of("port", value.scalar, func(d *draft) *string { return &d.port }),
		{name: "autostart", set: func(d *draft, v value) error {
			on, err := v.flag()
			d.app.Stopped = !on
			return err
		}},
		of("wait_ready", value.flag, func(d *draft) *bool { return &d.app.WaitReady }),
		of("listen_timeout", value.seconds, func(d *draft) *float64 { return &d.app.Timeouts.Listen }),
	}
}

func restartKeys() []key {
	r := func(d *draft) *spec.Restart { return &d.app.Restart }
	return []key{
		{name: "autorestart", also: []string{"auto_restart"}, set: func(d *draft, v value) error {
			on, err := v.flag()
			r(d).Off = !on
			return err
		}},
		{name: "watch", set: func(d *draft, v value) error {
			if v.kind == boolean {
				d.watch = nil
				if v.word == "true" {
					d.watch = []string{"."}
				}
				return nil
			}
			paths, err := v.texts()
			d.watch = paths
			return err
		}},
		{name: "ignore_watch", also: []string{"ignored_watch"}, set: setIgnored},
		of("watch_delay", value.seconds, func(d *draft) *float64 { return &r(d).WatchDelay }),
		of("max_memory_restart", value.bytes, func(d *draft) *uint64 { return &r(d).MaxMemory }),
		of("min_uptime", func(v value) (float64, error) {
			s, err := v.seconds()
			if err == nil && s == 0 {
				s = 0.001 // none is needed, and not the default
			}
			return s, err
		}, func(d *draft) *float64 { return &r(d).MinUptime }),
		of("max_restarts", func(v value) (int, error) {
			n, err := v.count()
			return max(n, 1), err // the first failed start ends it, and not the default
		}, func(d *draft) *int { return &r(d).Max }),
		of("restart_delay", value.seconds, func(d *draft) *float64 { return &r(d).Delay }),
		of("exp_backoff_restart_delay", value.seconds, func(d *draft) *float64 { return &r(d).Backoff }),
		{name: "stop_exit_codes", set: setExitCodes},
		of("cron_restart", func(v value) (string, error) {
			pattern, err := v.scalar()
			if err != nil || pattern == "" || pattern == "0" || pattern == "false" {
				return "", err
			}
			return pattern, Cron(pattern)
		}, func(d *draft) *string { return &r(d).Cron }, "cron"),
	}
}

// Cron reports why a pattern says no times: five fields, six with seconds first, or a word like @daily.
func Cron(pattern string) error {
	parser, err := cron.TryNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	if err != nil {
		return err
	}
	_, err = parser.Parse(pattern)
	return err
}

// setIgnored leaves regular expressions out: patterns are another language.
func setIgnored(d *draft, v value) error {
	patterns, err := v.texts()
	if err != nil {
		return err
	}
	d.app.Restart.IgnoreWatch = nil
	for _, p := range patterns {
		if d.file.isScript() && len(p) > 2 && p[0] == '/' && p[len(p)-1] == '/' {
			d.warnOnce("ignore_watch: regular expressions are left out; write patterns like node_modules or *.log")
			continue
		}
		d.app.Restart.IgnoreWatch = append(d.app.Restart.IgnoreWatch, p)
	}
	return nil
}

func setExitCodes(d *draft, v value) error {
	codes := v.list
	if v.kind != list {
		codes = []value{v}
	}
	d.app.Restart.StopExitCodes = nil
	for _, c := range codes {
		n, err := c.count()
		if err != nil {
			return err
		}
		d.app.Restart.StopExitCodes = append(d.app.Restart.StopExitCodes, n)
	}
	return nil
}

func stopKeys() []key {
	return []key{
		of("kill_timeout", value.seconds, func(d *draft) *float64 { return &d.app.Timeouts.Kill }),
		of("shutdown_with_message", value.flag, func(d *draft) *bool { return &d.app.Process.StopMessage }),
		{name: "treekill", also: []string{"tree_kill"}, set: func(d *draft, v value) error {
			on, err := v.flag()
			d.app.Process.LeaveTree = !on
			return err
		}},
		{name: "pid_file", also: []string{"pid", "pm_pid_path"}, set: func(d *draft, _ value) error {
			d.warnOnce("pid_file: none is written; use: meshnode pid <app>")
			return nil
		}},
	}
}

func quoteJSON(s string) string {
	quoted, err := json.Marshal(s)
	if err != nil {
		return `""`
	}
	return string(quoted)
}
