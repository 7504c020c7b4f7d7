package appfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/store/spec"
)

// place makes a folder with what the tests' apps consist of.
func place(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, body := range map[string]string{
		"server.js": "", "app.py": "", "run.sh": "#!/usr/bin/env bash\n", "plain.sh": "", "bin/www": "#!/usr/bin/env node\n", "tool": "#!/usr/bin/env -S python3 -u\n",
		"sub/worker.js": "", "path/node": "", "path/python3": "", "path/sh": "", "path/bash": "", "path/npm": "", "binary": "",
	} {
		path, mode := filepath.Join(dir, name), os.FileMode(0o644)
		if strings.HasPrefix(name, "path/") || name == "bin/www" || name == "binary" {
			mode = 0o755
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(body), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// load reads a file with the given text, without Node.js.
func load(t *testing.T, dir, name, source string, change ...func(*Options)) ([]spec.App, []Warning, error) {
	t.Helper()
	o := Options{Path: filepath.Join(dir, name), Dir: dir, Environ: []string{"PATH=" + filepath.Join(dir, "path"), "HOME=/home/me"}, Cores: 4}
	if err := os.WriteFile(o.Path, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(&o)
	}
	return Load(t.Context(), o)
}

// keyCase is some keys, and what they make of the plain app.
type keyCase struct {
	keys string // without braces; $ stands for script: "server.js"
	want func(a *spec.App)
}

// check loads an app with the keys of each case. Both functions are for cases: a path in the tests' folder, and a command of Node.js.
func check(t *testing.T, cases func(in func(string) string, node func(...string) []string) []keyCase) {
	t.Helper()
	dir := place(t)
	in := func(name string) string { return filepath.Join(dir, name) }
	node := func(args ...string) []string { return append([]string{"node"}, args...) }
	for _, c := range cases(in, node) {
		apps, warnings, err := load(t, dir, "ecosystem.json", "{ apps: [{ "+strings.Replace(c.keys, "$", `script: "server.js"`, 1)+" }] }")
		if err != nil || len(warnings) > 0 || len(apps) != 1 {
			t.Errorf("%s: %v %v", c.keys, warnings, err)
			continue
		}
		want := spec.App{Name: "server", Command: node(in("server.js")), Dir: dir, Workers: 1, Process: spec.Process{StopSignal: "SIGINT"}}
		c.want(&want)
		if d := cmp.Diff(want, apps[0]); d != "" {
			t.Errorf("%s: (-want +got)\n%s", c.keys, d)
		}
	}
}

// Every key with its other names: what the processes of a worker are.
func TestProcessKeys(t *testing.T) {
	check(t, func(in func(string) string, node func(...string) []string) []keyCase {
		return []keyCase{
			{`$`, func(*spec.App) {}},
			{`exec: "server.js"`, func(*spec.App) {}},
			{`command: "server.js"`, func(*spec.App) {}},
			{`$, name: "api"`, func(a *spec.App) { a.Name = "api" }},
			{`$, name: 12`, func(a *spec.App) { a.Name = "12" }},
			{`$, namespace: "shop"`, func(a *spec.App) { a.Namespace = "shop" }},
			{`script: "worker.js", cwd: "sub"`, func(a *spec.App) { a.Name, a.Dir, a.Command = "worker", in("sub"), node(in("sub/worker.js")) }},
			{`script: "` + in("server.js") + `", cwd: "/"`, func(a *spec.App) { a.Dir = "/" }},
			{`script: "` + in("server.js") + `", cwd: "~/x"`, func(a *spec.App) { a.Dir = "/home/me/x" }},
			{`$, args: "-a 'b c' --d=\"e\""`, func(a *spec.App) { a.Command = append(a.Command, "-a", "b c", "--d=e") }},
			{`$, args: ["-a", "b c", 3]`, func(a *spec.App) { a.Command = append(a.Command, "-a", "b c", "3") }},
			{`$, args: ""`, func(*spec.App) {}},
			{`$, node_args: "--max-old-space-size=100 --inspect"`, func(a *spec.App) { a.Command = node("--max-old-space-size=100", "--inspect", in("server.js")) }},
			{`$, nodeArgs: ["-r", "x"]`, func(a *spec.App) { a.Command = node("-r", "x", in("server.js")) }},
			{`$, interpreter_args: "--x"`, func(a *spec.App) { a.Command = node("--x", in("server.js")) }},
			{`$, source_map_support: true, node_args: "--x"`, func(a *spec.App) { a.Command = node("--enable-source-maps", "--x", in("server.js")) }},
			{`$, interpreter: "python3", source_map_support: true`, func(a *spec.App) { a.Command, a.Order = []string{"python3", in("server.js")}, spec.OrderStopFirst }},
			{`$, exec_interpreter: "` + in("binary") + `"`, func(a *spec.App) { a.Command, a.Order = []string{in("binary"), in("server.js")}, spec.OrderStopFirst }},
			{`script: "binary", interpreter: "none"`, func(a *spec.App) { a.Name, a.Command, a.Order = "binary", []string{in("binary")}, spec.OrderStopFirst }},
			{`script: "app.py"`, func(a *spec.App) {
				a.Name, a.Command, a.Order = "app", []string{"python3", in("app.py")}, spec.OrderStopFirst
			}},
			{`script: "run.sh"`, func(a *spec.App) {
				a.Name, a.Command, a.Order = "run", []string{"bash", in("run.sh")}, spec.OrderStopFirst
			}},
			{`script: "plain.sh"`, func(a *spec.App) {
				a.Name, a.Command, a.Order = "plain", []string{"sh", in("plain.sh")}, spec.OrderStopFirst
			}},
			{`script: "bin/www"`, func(a *spec.App) { a.Name, a.Command = "www", node(in("bin/www")) }},
			{`script: "tool"`, func(a *spec.App) {
				a.Name, a.Command, a.Order = "tool", []string{"python3", in("tool")}, spec.OrderStopFirst
			}},
			{`script: "npm", args: "start"`, func(a *spec.App) {
				a.Name, a.Command, a.Order = "npm", []string{in("path/npm"), "start"}, spec.OrderStopFirst
			}},
			{`script: "node server.js --x"`, func(a *spec.App) { a.Name, a.Command = "node", node("server.js", "--x") }},
			{`script: "npm start && true", name: "x"`, func(a *spec.App) {
				a.Name, a.Command, a.Order = "x", []string{"bash", "-c", `npm start && true "$@"`, "bash"}, spec.OrderStopFirst
			}},
			{`$, instances: 3`, func(a *spec.App) { a.Workers = 3 }},
			{`$, instances: "3"`, func(a *spec.App) { a.Workers = 3 }},
			{`$, instances: "max"`, func(a *spec.App) { a.Workers = 0 }},
			{`$, instances: 0`, func(a *spec.App) { a.Workers = 0 }},
			{`$, exec_mode: "cluster"`, func(*spec.App) {}},
			{`$, exec_mode: "fork_mode"`, func(*spec.App) {}},
			{`$, env: { A: "1", B: 2, C: true, D: null, E: {x: [1, "y"]} }`, func(a *spec.App) { a.Env = map[string]string{"A": "1", "B": "2", "C": "true", "E": `{"x":[1,"y"]}`} }},
			{`$, env: { __proto__: "x" }`, func(a *spec.App) { a.Env = map[string]string{"__proto__": "x"} }},
			{`$, secret_env: { A: "s", B: 2 }`, func(a *spec.App) { a.Process.SecretEnv = map[string]string{"A": "s", "B": "2"} }},
			{`$, filter_env: true`, func(a *spec.App) { a.Process.FilterEnv = []string{"*"} }},
			{`$, filter_env: false`, func(*spec.App) {}},
			{`$, filter_env: "AWS_KEY"`, func(a *spec.App) { a.Process.FilterEnv = []string{"AWS_KEY"} }},
			{`$, filter_env: ["REACT_", "AWS_*"]`, func(a *spec.App) { a.Process.FilterEnv = []string{"REACT_*", "AWS_*"} }},
			{`$, port: 3000`, func(a *spec.App) { a.Listen = []string{":3000"} }},
			{`$, port: 3000, listen: ["10.0.0.1:80", 81]`, func(a *spec.App) { a.Listen = []string{"10.0.0.1:80", ":81"} }},
			{`$, listen: ":80"`, func(a *spec.App) { a.Listen = []string{":80"} }},
			{`$, port: 3000, increment_var: "PORT"`, func(a *spec.App) { a.Env, a.Process.IncrementVar = map[string]string{"PORT": "3000"}, "PORT" }},
			{`$, env: { PORT: 3000 }`, func(a *spec.App) { a.Env = map[string]string{"PORT": "3000"} }},
			{`script: "app.py", env: { PORT: 3000 }`, func(a *spec.App) {
				a.Name, a.Command, a.Env, a.Listen = "app", []string{"python3", in("app.py")}, map[string]string{"PORT": "3000"}, []string{":3000"}
			}},
			{`$, instance_var: "SLOT"`, func(a *spec.App) { a.Process.InstanceVar = "SLOT" }},
			{`$, increment_var: "N"`, func(a *spec.App) { a.Process.IncrementVar = "N" }},
		}
	})
}

// Every key with its other names: how workers are cared for.
func TestCareKeys(t *testing.T) {
	check(t, func(in func(string) string, _ func(...string) []string) []keyCase {
		return []keyCase{
			{`$, watch: true`, func(a *spec.App) { a.Restart.Watch = []string{in(".")} }},
			{`$, watch: false`, func(*spec.App) {}},
			{`$, watch: ["src", "/etc/x"]`, func(a *spec.App) { a.Restart.Watch = []string{in("src"), "/etc/x"} }},
			{`$, watch: "src", ignore_watch: "*.log", watch_delay: 1500`, func(a *spec.App) {
				a.Restart.Watch, a.Restart.IgnoreWatch, a.Restart.WatchDelay = []string{in("src")}, []string{"*.log"}, 1.5
			}},
			{`$, ignoreWatch: ["a", "b"]`, func(a *spec.App) { a.Restart.IgnoreWatch = []string{"a", "b"} }},
			{`$, max_memory_restart: "150M"`, func(a *spec.App) { a.Restart.MaxMemory = 150 << 20 }},
			{`$, maxMemoryRestart: "1.5G"`, func(a *spec.App) { a.Restart.MaxMemory = 3 << 29 }},
			{`$, max_memory_restart: 1000000`, func(a *spec.App) { a.Restart.MaxMemory = 1_000_000 }},
			{`$, autorestart: false`, func(a *spec.App) { a.Restart.Off = true }},
			{`$, autorestart: "true"`, func(*spec.App) {}},
			{`$, autostart: false`, func(a *spec.App) { a.Stopped = true }},
			{`$, min_uptime: 5000`, func(a *spec.App) { a.Restart.MinUptime = 5 }},
			{`$, min_uptime: "1h"`, func(a *spec.App) { a.Restart.MinUptime = 3600 }},
			{`$, min_uptime: 0`, func(a *spec.App) { a.Restart.MinUptime = 0.001 }},
			{`$, max_restarts: 10`, func(a *spec.App) { a.Restart.Max = 10 }},
			{`$, max_restarts: 0`, func(a *spec.App) { a.Restart.Max = 1 }},
			{`$, restart_delay: 4000`, func(a *spec.App) { a.Restart.Delay = 4 }},
			{`$, exp_backoff_restart_delay: 100`, func(a *spec.App) { a.Restart.Backoff = 0.1 }},
			{`$, stop_exit_codes: 0`, func(a *spec.App) { a.Restart.StopExitCodes = []int{0} }},
			{`$, stop_exit_codes: [0, 42]`, func(a *spec.App) { a.Restart.StopExitCodes = []int{0, 42} }},
			{`$, cron_restart: "0 3 * * *"`, func(a *spec.App) { a.Restart.Cron = "0 3 * * *" }},
			{`$, cron: "*/2 * * * * *"`, func(a *spec.App) { a.Restart.Cron = "*/2 * * * * *" }},
			{`$, cron_restart: "@daily"`, func(a *spec.App) { a.Restart.Cron = "@daily" }},
			{`$, cron_restart: 0`, func(*spec.App) {}},
			{`$, cron_restart: "0"`, func(*spec.App) {}},
			{`$, cron_restart: false`, func(*spec.App) {}},
			{`$, wait_ready: true, listen_timeout: 3000`, func(a *spec.App) { a.WaitReady, a.Timeouts.Listen = true, 3 }},
			{`$, kill_timeout: 1600`, func(a *spec.App) { a.Timeouts.Kill = 1.6 }},
			{`$, kill_timeout: "30s"`, func(a *spec.App) { a.Timeouts.Kill = 30 }},
			{`$, kill_timeout: 0`, func(*spec.App) {}},
			{`$, shutdown_with_message: true`, func(a *spec.App) { a.Process.StopMessage = true }},
			{`$, treekill: false`, func(a *spec.App) { a.Process.LeaveTree = true }},
			{`$, stop_signal: "term"`, func(a *spec.App) { a.Process.StopSignal = "SIGTERM" }},
			{`$, uid: "app", gid: 1000`, func(a *spec.App) { a.Process.User, a.Process.Group = "app", "1000" }},
			{`$, user: 33`, func(a *spec.App) { a.Process.User = "33" }},
			{`$, out_file: "logs/out.log", error_file: "/var/e.log", log_file: "~/all.log"`, func(a *spec.App) {
				a.Logs.Out, a.Logs.Err, a.Logs.Both = in("logs/out.log"), "/var/e.log", "/home/me/all.log"
			}},
			{`$, output: "o", error: "e", log: "l"`, func(a *spec.App) { a.Logs.Out, a.Logs.Err, a.Logs.Both = in("o"), in("e"), in("l") }},
			{`$, out_file: "NULL", error_file: "/dev/null", log_file: false`, func(*spec.App) {}},
			{`$, merge_logs: true`, func(a *spec.App) { a.Logs.Merge = true }},
			{`$, combine_logs: true`, func(a *spec.App) { a.Logs.Merge = true }},
			{`$, log_date_format: "YYYY"`, func(a *spec.App) { a.Logs.DateFormat = "YYYY" }},
			{`$, log_date_format: false`, func(*spec.App) {}},
			{`$, time: true`, func(a *spec.App) { a.Logs.DateFormat = "YYYY-MM-DDTHH:mm:ss" }},
			{`$, time: true, log_date_format: "YYYY"`, func(a *spec.App) { a.Logs.DateFormat = "YYYY-MM-DDTHH:mm:ss" }},
			{`$, log_type: "json"`, func(a *spec.App) { a.Logs.JSON = true }},
			{`$, disable_logs: true`, func(a *spec.App) { a.Logs.Off = true }},
			{`$, mode: "port"`, func(a *spec.App) { a.Mode = spec.ModePort }},
			{`$, drain_timeout: "1m"`, func(a *spec.App) { a.Timeouts.Drain = 60 }},
			{`$, rollout: { order: "stop_first", watch: "10s" }`, func(a *spec.App) { a.Order, a.Timeouts.Watch = spec.OrderStopFirst, 10 }},
			{`$, rollout: { watch: 0 }`, func(a *spec.App) { a.Timeouts.Watch = -1 }},
			{`$, health: { path: "/ok", interval: "5s", timeout: 500, fall: 4, rise: 1, hang: "20s" }`, func(a *spec.App) {
				a.Health = spec.Health{Path: "/ok", Interval: 5, Timeout: 0.5, Fall: 4, Rise: 1, Hang: 20}
			}},
			{`$, health: { type: "tcp", fall: 4 }`, func(a *spec.App) { a.Health.TCP, a.Health.Fall = true, 4 }},
			{`$, limits: { connections: 1000, connections_per_client: "20" }`, func(a *spec.App) { a.Clients.Connections, a.Clients.PerClient = 1000, 20 }},
			{`$, listen: { address: 8080, proxy_protocol: true }`, func(a *spec.App) {
				a.Listen, a.Clients.ProxyProtocol = []string{":8080"}, []string{":8080"}
			}},
			{`$, listen: ["10.0.0.1:80", { address: "8081", proxyProtocol: true }, { address: ":82" }], trusted_proxies: ["10.0.0.0/8"]`, func(a *spec.App) {
				a.Listen, a.Clients.ProxyProtocol, a.Clients.TrustedProxies = []string{"10.0.0.1:80", ":8081", ":82"}, []string{":8081"}, []string{"10.0.0.0/8"}
			}},
			{`$, proxy_protocol: true, trusted_proxies: "10.0.0.1"`, func(a *spec.App) {
				a.Clients.ProxyProtocol, a.Clients.TrustedProxies = []string{"*"}, []string{"10.0.0.1"}
			}},
			{`$, listen: ["8125/udp", "10.0.0.1:53/udp", { address: "9000/udp" }]`, func(a *spec.App) { a.Listen = []string{":8125/udp", "10.0.0.1:53/udp", ":9000/udp"} }},
			{`$, proxy_protocol: false, send_proxy: false`, func(*spec.App) {}},
			{`$, send_proxy: "v2"`, func(a *spec.App) { a.Process.SendProxy = "v2" }},
			{`$, send_proxy: 1`, func(a *spec.App) { a.Process.SendProxy = "v1" }},
			{`$, health: { hang: false, path: null }`, func(a *spec.App) { a.Health.Hang = -1 }},
			{`$, limits: { memory: "1G", cpu: 0.5, tasks: 100, open_files: 4096 }`, func(a *spec.App) {
				a.Process.Limits = spec.Limits{Memory: 1 << 30, CPU: 0.5, Tasks: 100, OpenFiles: 4096}
			}},
			{`$, log_rotate: { size: "10M", keep: 3, cap: "200MB" }`, func(a *spec.App) { a.Logs.FileBytes, a.Logs.Keep, a.Logs.Cap = 10<<20, 3, 200<<20 }},
			{`$, name: null, args: null, watch: null`, func(*spec.App) {}},
		}
	})
}

func TestBalanceKeys(t *testing.T) {
	check(t, func(func(string) string, func(...string) []string) []keyCase {
		return []keyCase{
			{`$, balance: { policy: "round_robin" }`, func(a *spec.App) { a.Balance.Policy = spec.PolicyRoundRobin }},
			{`$, balance: { policy: "least-connections" }`, func(a *spec.App) { a.Balance.Policy = spec.PolicyLeastConnections }},
			{`$, balance: { max_connections: 100, soft_limit: "80" }`, func(a *spec.App) { a.Balance.MaxConnections, a.Balance.SoftLimit = 100, 80 }},
			{`$, balance: { concurrency: 5, max_connections: 6 }`, func(a *spec.App) { a.Balance.Concurrency, a.Balance.MaxConnections = 5, 6 }},
			{`$, balance: { maxConnections: 1 }`, func(a *spec.App) { a.Balance.MaxConnections = 1 }},
			{`$, balance: { queue: 0 }`, func(a *spec.App) { a.Balance.Queue = -1 }},
			{`$, balance: { queue: false }`, func(a *spec.App) { a.Balance.Queue = -1 }},
			{`$, balance: { queue: 50, queue_timeout: 1500 }`, func(a *spec.App) { a.Balance.Queue, a.Balance.QueueTimeout = 50, 1.5 }},
			{`$, balance: { slow_start: "10s", draws: 3 }`, func(a *spec.App) { a.Balance.SlowStart, a.Balance.Draws = 10, 3 }},
			{`$, balance: { margin: 0, zone_margin: 2.5 }`, func(a *spec.App) { a.Balance.Margin, a.Balance.ZoneMargin = -1, 2.5 }},
		}
	})
	dir := place(t)
	for keys, want := range map[string]string{
		`policy: "fastest"`:                 `balance.policy: "fastest": use one of least_load, round_robin, least_connections, random, hash`,
		`max_conns: 3`:                      "balance.max_conns: there is no such key; there are",
		`max_connections: 3, soft_limit: 4`: "balance.soft_limit: 4 is more than balance.max_connections, which is 3",
		`queue: 1000000`:                    "balance.queue: 1e+06 is not between 0 and 65536",
		`margin: -1`:                        `balance.margin: must be a number like 0.2, in service times, and not "-1"`,
	} {
		_, _, err := load(t, dir, "ecosystem.json", `{ apps: [{ script: "server.js", balance: { `+keys+` } }] }`)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: %v, want one line with %q", keys, err, want)
		}
	}
}

func TestClientKeysRefused(t *testing.T) {
	dir := place(t)
	for keys, want := range map[string]string{
		`listen: { addr: 80 }`:                                   "listen: addr: there is no such key; did you mean address?",
		`listen: { proxy_protocol: true }`:                       `listen: "": want host:port or :port`,
		`listen: [{ address: 80, proxy_protocol: 3 }]`:           `listen: proxy_protocol: must be true or false, and not "3"`,
		`listen: [[80]]`:                                         "listen: an address must be a text or an object with address, and not a list",
		`trusted_proxies: ["10.0.0.0/40"], proxy_protocol: true`: `clients.trusted_proxies: "10.0.0.0/40" is neither an address nor a network like 10.0.0.0/8`,
		`send_proxy: "3"`:                                        `send_proxy: "3": use one of v1, v2`,
		`health: { type: "icmp" }`:                               `health.type: "icmp": use one of http, tcp`,
	} {
		_, _, err := load(t, dir, "ecosystem.json", `{ apps: [{ script: "server.js", `+keys+` }] }`)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Count(err.Error(), "\n") > 0 {
			t.Errorf("%s: %v, want one line with %q", keys, err, want)
		}
	}
}

func TestTheClusterKeyStaysOut(t *testing.T) {
	environ := []string{"A=1", "MESHNODE_KEY=mk1-secret", "MESHNODE_NODE=h1"}
	if d := cmp.Diff([]string{"A=1", "MESHNODE_NODE=h1"}, withoutKey(environ)); d != "" || len(environ) != 3 {
		t.Errorf("what a file's program gets (-want +got):\n%s", d)
	}
}
