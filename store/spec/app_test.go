package spec

import (
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func valid() App {
	return App{Name: "web", Command: []string{"node", "server.js"}, Dir: "/srv/web"}.WithDefaults()
}

func TestWithDefaults(t *testing.T) {
	got := App{Name: "web", Timeouts: Timeouts{Drain: 5}}.WithDefaults()
	want := App{Name: "web", Mode: ModeAuto, Order: OrderStartFirst, Timeouts: Timeouts{Listen: 30, Drain: 5, Kill: 10, Watch: 1}, Care: Care{
		Restart: Restart{MinUptime: 1, Max: 16, Backoff: 0.1, WatchDelay: 1},
		Health:  Health{Interval: 2, Timeout: 1, Fall: 3, Rise: 2, Hang: 10},
		Logs:    Logs{FileBytes: 50 << 20, Keep: 9, Cap: 1 << 30},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(want, want.WithDefaults()); diff != "" {
		t.Errorf("a second time changes it: %s", diff)
	}
}

func TestValidateAccepts(t *testing.T) {
	for name, change := range map[string]func(*App){
		"plain": func(a *App) {},
		"every field": func(a *App) {
			a.Env = map[string]string{"A": "b=c", "EMPTY": ""}
			a.Workers = MaxWorkers
			a.Stopped = true
		},
		"listen": func(a *App) { a.Listen = []string{":80", "127.0.0.1:65535", "[::1]:3000", "web.example-1.com:1"} },
		"clients": func(a *App) {
			a.Listen = []string{":80", ":81"}
			a.Clients = Clients{Connections: 1, PerClient: 1, ProxyProtocol: []string{":81"}, TrustedProxies: []string{"10.0.0.1", "fd00::/8"}}
		},
		"datagrams": func(a *App) {
			a.Listen, a.Learned = []string{":53", ":53/udp", "[::1]:53/udp"}, []string{"0.0.0.0:3002/udp"}
		},
		"upper case":    func(a *App) { a.Name = "Web_1.2-x" },
		"longest name":  func(a *App) { a.Name = strings.Repeat("a", 63) },
		"all as a part": func(a *App) { a.Name = "all-of-it" },
		"empty argument": func(a *App) {
			a.Command = []string{"node", ""}
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := valid()
			change(&a)
			if err := a.Validate(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	for _, tt := range []struct {
		key    string
		change func(*App)
	}{
		{"name: missing", func(a *App) { a.Name = "" }},
		{"name: ", func(a *App) { a.Name = "all" }},
		{"name: ", func(a *App) { a.Name = "ALL" }},
		{"name: ", func(a *App) { a.Name = "-web" }},
		{"name: ", func(a *App) { a.Name = "a/b" }},
		{"name: ", func(a *App) { a.Name = "web\n" }},
		{"name: ", func(a *App) { a.Name = strings.Repeat("a", 64) }},
		{"command: missing", func(a *App) { a.Command = nil }},
		{"command: missing", func(a *App) { a.Command = []string{"", "x"} }},
		{"command: argument 1", func(a *App) { a.Command = []string{"node", "a\x00b"} }},
		{"command: argument 0", func(a *App) { a.Command = []string{"\xff"} }},
		{"dir: ", func(a *App) { a.Dir = "srv" }},
		{"dir: ", func(a *App) { a.Dir = "/srv\x00" }},
		{"env: ", func(a *App) { a.Env = map[string]string{"A=B": ""} }},
		{"env: ", func(a *App) { a.Env = map[string]string{"": ""} }},
		{"env: ", func(a *App) { a.Env = map[string]string{"A": "\x00"} }},
		{"workers: ", func(a *App) { a.Workers = -1 }},
		{"workers: ", func(a *App) { a.Workers = MaxWorkers + 1 }},
		{"mode: ", func(a *App) { a.Mode = "fork" }},
		{"order: ", func(a *App) { a.Order = "" }},
		{"listen: ", func(a *App) { a.Listen = []string{"3000"} }},
		{"listen: ", func(a *App) { a.Listen = []string{":0"} }},
		{"listen: ", func(a *App) { a.Listen = []string{":65536"} }},
		{"listen: ", func(a *App) { a.Listen = []string{":http"} }},
		{"listen: ", func(a *App) { a.Listen = []string{"a b:80"} }},
		{"listen: ", func(a *App) { a.Listen = []string{":80", ":80"} }},
		{"listen: ", func(a *App) { a.Listen = make([]string, MaxListen+1) }},
		{"listen: ", func(a *App) { a.Listen = []string{":0/udp"} }},
		{"listen: ", func(a *App) { a.Listen = []string{":53/tcp"} }},
		{"listen: ", func(a *App) { a.Listen, a.Mode = []string{":53/udp"}, ModeSocket }},
		{"clients.proxy_protocol: ", func(a *App) {
			a.Listen, a.Clients.ProxyProtocol = []string{":53/udp"}, []string{":53/udp"}
		}},
		{"learned: ", func(a *App) { a.Learned = []string{"x"} }},
		{"timeouts.listen_seconds: ", func(a *App) { a.Timeouts.Listen = -1 }},
		{"timeouts.drain_seconds: ", func(a *App) { a.Timeouts.Drain = MaxTimeout + 1 }},
		{"timeouts.kill_seconds: ", func(a *App) { a.Timeouts.Kill = math.NaN() }},
		{"timeouts.watch_seconds: ", func(a *App) { a.Timeouts.Watch = MaxTimeout + 1 }},
		{"namespace: ", func(a *App) { a.Namespace = "a b" }},
		{"process.user: ", func(a *App) { a.Process.User = "root;id" }},
		{"process.instance_var: ", func(a *App) { a.Process.InstanceVar = "A-B" }},
		{"process.increment_var: ", func(a *App) { a.Process.IncrementVar = "1A" }},
		{"process.stop_signal: ", func(a *App) { a.Process.StopSignal = "SIGKILL" }},
		{"process.filter_env: ", func(a *App) { a.Process.FilterEnv = []string{""} }},
		{"process.limits.cpu_cores: ", func(a *App) { a.Process.Limits.CPU = -1 }},
		{"restart.min_uptime_seconds: ", func(a *App) { a.Restart.MinUptime = -1 }},
		{"restart.max: ", func(a *App) { a.Restart.Max = -1 }},
		{"restart.watch: ", func(a *App) { a.Restart.Watch = []string{"src"} }},
		{"restart.stop_exit_codes: ", func(a *App) { a.Restart.StopExitCodes = make([]int, 257) }},
		{"health.path: ", func(a *App) { a.Health.Path = "ok" }},
		{"health.path: ", func(a *App) { a.Health.Path, a.Health.TCP = "/ok", true }},
		{"process.send_proxy: ", func(a *App) { a.Process.SendProxy = "2" }},
		{"process.send_proxy: ", func(a *App) { a.Process.SendProxy, a.Mode = "v2", ModeCluster }},
		{"clients.connections: ", func(a *App) { a.Clients.Connections = -1 }},
		{"clients.connections_per_client: ", func(a *App) { a.Clients.PerClient = MaxConnections + 1 }},
		{"clients.proxy_protocol: ", func(a *App) { a.Clients.ProxyProtocol = []string{":80"} }},
		{"clients.proxy_protocol: ", func(a *App) { a.Clients.ProxyProtocol = make([]string, 257) }},
		{"clients.trusted_proxies: ", func(a *App) { a.Clients.TrustedProxies = []string{"10.0.0.0/8"} }},
		{"clients.trusted_proxies: ", func(a *App) {
			a.Clients.ProxyProtocol, a.Clients.TrustedProxies = []string{"*"}, []string{"10.0.0.0/8", "10.0.0.300"}
		}},
		{"health.fall: ", func(a *App) { a.Health.Fall = -1 }},
		{"logs.out: ", func(a *App) { a.Logs.Out = "out.log" }},
		{"logs.file_bytes: ", func(a *App) { a.Logs.FileBytes = 1 }},
		{"logs.file_bytes: ", func(a *App) { a.Logs.Cap = 1 << 20 }},
		{"app: ", func(a *App) { a.Env = map[string]string{"BIG": strings.Repeat("x", MaxAppBytes)} }},
	} {
		a := valid()
		tt.change(&a)
		err := a.Validate()
		if err == nil || !strings.HasPrefix(err.Error(), tt.key) {
			t.Errorf("want %q, got %v", tt.key, err)
		}
		if err != nil && len(err.Error()) > 4096 {
			t.Errorf("%q: the message has %d bytes", tt.key, len(err.Error()))
		}
	}
}

func TestValidateReportsEverything(t *testing.T) {
	err := App{}.Validate()
	if err == nil {
		t.Fatal("an empty app is valid")
	}
	for _, key := range []string{"name: ", "command: ", "dir: ", "mode: ", "order: "} {
		if !strings.Contains(err.Error(), key) {
			t.Errorf("%q is not reported in %v", key, err)
		}
	}
}

func TestClone(t *testing.T) {
	a := valid()
	a.Env, a.Listen, a.Learned = map[string]string{"A": "1"}, []string{":80"}, []string{":81"}
	a.Clients = Clients{ProxyProtocol: []string{":80"}, TrustedProxies: []string{"10.0.0.0/8"}}
	before, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	b := a.Clone()
	b.Command[0], b.Env["A"], b.Listen[0], b.Learned[0] = "x", "x", "x", "x"
	b.Clients.ProxyProtocol[0], b.Clients.TrustedProxies[0] = "x", "x"
	after, err := json.Marshal(a)
	if err != nil || string(before) != string(after) {
		t.Errorf("changing the clone changed the app: %s", after)
	}
}

func TestSameProcess(t *testing.T) {
	same := map[string]func(*App){
		"workers": func(a *App) { a.Workers = 9 }, "stopped": func(a *App) { a.Stopped = true },
		"order": func(a *App) { a.Order = OrderStopFirst }, "learned": func(a *App) { a.Learned = []string{":1"} },
		"release": func(a *App) { a.Release = 9 }, "created": func(a *App) { a.Created = 9 },
		"modified": func(a *App) { a.Modified = 9 }, "namespace": func(a *App) { a.Namespace = "x" },
		"rollout": func(a *App) { a.Rollout.Stable = 1 }, "clients": func(a *App) { a.Clients.Connections = 5 },
		"empty env": func(a *App) { a.Env = map[string]string{} },
	}
	other := map[string]func(*App){
		"command": func(a *App) { a.Command = []string{"node", "other.js"} }, "dir": func(a *App) { a.Dir = "/other" },
		"env": func(a *App) { a.Env = map[string]string{"A": "1"} }, "mode": func(a *App) { a.Mode = ModePort },
		"listen": func(a *App) { a.Listen = []string{":80"} }, "wait_ready": func(a *App) { a.WaitReady = true },
		"timeouts": func(a *App) { a.Timeouts.Kill = 1 }, "process": func(a *App) { a.Process.User = "app" },
		"restart": func(a *App) { a.Restart.Off = true }, "health": func(a *App) { a.Health.Path = "/ok" },
		"logs": func(a *App) { a.Logs.Merge = true }, "send_proxy": func(a *App) { a.Process.SendProxy = "v2" },
		"health.tcp": func(a *App) { a.Health.TCP = true },
	}
	for want, changes := range map[bool]map[string]func(*App){true: same, false: other} {
		for name, change := range changes {
			a, b := valid(), valid()
			change(&b)
			if a.SameProcess(b) != want || b.SameProcess(a) != want {
				t.Errorf("%s: SameProcess is not %v", name, want)
			}
		}
	}
}

func TestHash(t *testing.T) {
	a := &Cluster{ID: "c", Index: 5, Apps: map[string]App{"x": valid(), "y": valid()}}
	b := &Cluster{ID: "c", Index: 9, Apps: map[string]App{"y": valid(), "x": valid()}}
	if a.Hash() != b.Hash() {
		t.Error("the same content has two hashes")
	}
	b.Apps["y"] = App{Name: "y"}
	if a.Hash() == b.Hash() || a.Hash() == (&Cluster{ID: "d", Apps: a.Apps}).Hash() {
		t.Error("two contents have one hash")
	}
	if (&Cluster{}).Hash() != (&Cluster{Apps: map[string]App{}}).Hash() {
		t.Error("no apps and an empty map of them differ")
	}
}

// TestJSONNames holds the names that the log, snapshots and scripts depend on.
func TestJSONNames(t *testing.T) {
	a := valid()
	a.Env, a.Listen, a.Learned = map[string]string{"A": "1"}, []string{":80"}, []string{":81"}
	a.WaitReady, a.Stopped = true, true
	a.Namespace, a.Process.User, a.Rollout = "n", "app", Rollout{Stable: 3, Nodes: []string{"h1"}}
	a.Newest, a.Since = 5, 7
	past := Past{App: App{Name: "web"}, Refused: "why", Node: "h2", Tail: []string{"boom"}}
	got, err := json.Marshal(Cluster{ID: "c", Index: 1, Apps: map[string]App{"web": a}, History: map[string][]Past{"web": {past}}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"c","index":1,"apps":{"web":{"name":"web","namespace":"n","command":["node","server.js"],"dir":"/srv/web",` +
		`"env":{"A":"1"},"workers":0,"mode":"auto","listen":[":80"],"wait_ready":true,` +
		`"timeouts":{"listen_seconds":30,"drain_seconds":30,"kill_seconds":10,"watch_seconds":1},"stopped":true,"order":"start-first",` +
		`"process":{"user":"app"},` +
		`"restart":{"min_uptime_seconds":1,"max":16,"backoff_seconds":0.1,"watch_delay_seconds":1},` +
		`"health":{"interval_seconds":2,"timeout_seconds":1,"fall":3,"rise":2,"hang_seconds":10},` +
		`"logs":{"file_bytes":52428800,"keep":9,"cap_bytes":1073741824},` +
		`"release":0,"learned":[":81"],"created":0,"modified":0,"rollout":{"stable":3,"nodes":["h1"]},"newest":5,"since":7}},` +
		`"history":{"web":[{"app":{"name":"web","command":null,"dir":"","workers":0,"mode":"","timeouts":{"listen_seconds":0,` +
		`"drain_seconds":0,"kill_seconds":0},"order":"","release":0,"created":0,"modified":0},"refused":"why","node":"h2","tail":["boom"]}]}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
