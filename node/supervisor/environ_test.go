package supervisor

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// What the worker really sees, not only what we meant to give it.
func TestEnvironmentOfAWorker(t *testing.T) {
	t.Setenv("MESHNODE_KEY", "mk1-secret")
	t.Setenv("MESHNODE_JOIN", "seed")
	t.Setenv("NOTIFY_SOCKET", "/run/of/the/node")
	t.Setenv("LISTEN_FDS", "1")
	t.Setenv("WATCHDOG_USEC", "1")
	t.Setenv("NODE_UNIQUE_ID", "77")
	t.Setenv("KEPT", "from the node")
	b := newBench(t)
	s := b.spec(1, "env ready wait")
	s.Env, s.Serves = append(s.Env, "MINE=a=b", "KEPT=from the app", "MESHNODE_APP=forged"), true
	b.sup.Start(3, s, StartFirst)
	b.ready(1)
	b.sup.Stop("app", 3)
	b.stopped()
	got := make(map[string]string)
	for l := range strings.SplitSeq(b.lines(), "\n") {
		k, v, _ := strings.Cut(l, "=")
		got[k] = v
	}
	for k, v := range map[string]string{"MINE": "a=b", "KEPT": "from the app", "NODE_APP_INSTANCE": "3", "MESHNODE_APP": "app", "MESHNODE_NODE": "n1",
		"MESHNODE_WORKER": "app/3", runVariable: b.id + "/app/3#1", "PATH": os.Getenv("PATH")} {
		if got[k] != v {
			t.Errorf("%s=%q, want %q", k, got[k], v)
		}
	}
	if p, err := strconv.Atoi(got["PORT"]); err != nil || p < 1024 {
		t.Errorf("PORT=%q", got["PORT"])
	}
	if !strings.HasPrefix(got["NOTIFY_SOCKET"], "@meshnode/") {
		t.Errorf("NOTIFY_SOCKET=%q", got["NOTIFY_SOCKET"])
	}
	for _, k := range []string{"MESHNODE_KEY", "MESHNODE_JOIN", "LISTEN_FDS", "WATCHDOG_USEC", "NODE_UNIQUE_ID"} {
		if v, ok := got[k]; ok {
			t.Errorf("%s=%q reached the worker", k, v)
		}
	}
	if strings.Contains(b.lines(), "mk1-secret") {
		t.Error("the cluster key reached the worker")
	}
}

func TestEnvironmentOfANodeWorker(t *testing.T) {
	o := Options{Node: "n1", Preload: "/data/run/preload.cjs"}
	env := o.environ([]string{"NODE_OPTIONS=--enable-source-maps", "PORT=1", "NODE_CHANNEL_FD=9"}, &process{spec: Spec{App: "a", Mode: ModeCluster, Port: 3000}, birth: birth{run: "id/a/0#1"}})
	for _, want := range []string{`NODE_OPTIONS=--enable-source-maps --require "/data/run/preload.cjs"`, "PORT=3000"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	if slices.Contains(env, "NODE_CHANNEL_FD=9") {
		t.Error("the node's own channel reached the worker")
	}
	for _, s := range []Spec{{App: "a", Mode: ModePort}, {App: "a", Mode: ModePort, Port: 0}} {
		if e := strings.Join(o.environ(nil, &process{spec: s, birth: birth{run: "r"}}), " "); strings.Contains(e, "NODE_OPTIONS") || strings.Contains(e, "PORT=") {
			t.Errorf("environment %s", e)
		}
	}
}

// Names may be as long as they are allowed to be.
func TestNotifySocketOfLongNames(t *testing.T) {
	n, err := newNotifier(strings.Repeat("n", 300)+"/"+strings.Repeat("a", 63)+"/1023#99999", os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	n.conn.Close()
}

func TestAutoMode(t *testing.T) {
	for command, want := range map[string]Mode{"node server.js": ModeCluster, "/usr/bin/node": ModeCluster, "nodejs x": ModeCluster, "node-22 x": ModeCluster,
		"npm start": ModeCluster, "/app/node_modules/.bin/tsx app.ts": ModeCluster, "bun app.ts": ModePort, "/app/server": ModePort, "": ModePort} {
		if got := AutoMode(strings.Fields(command)); got != want {
			t.Errorf("%q: %s, want %s", command, got, want)
		}
	}
}

// The channel of Node's own goes to the process that runs the app, and not to one that starts it.
func TestWhoInheritsTheChannel(t *testing.T) {
	for command, want := range map[string]bool{"node server.js": true, "/opt/node-22 --import tsx app.ts": true, "node": true, "node --watch app.js": false,
		"node node_modules/.bin/tsx app.ts": false, "npm start": false, "sh -c node": false, "node -r ./x.js app.js": true} {
		if got := inherits(strings.Fields(command)); got != want {
			t.Errorf("%q: %v, want %v", command, got, want)
		}
	}
}

func TestBackoffCurve(t *testing.T) {
	r := Restart{MinUptime: time.Second, Max: 16, Backoff: 100 * time.Millisecond}
	var b backoff
	for i := 1; i <= r.Max; i++ {
		d, giveUp := b.next(r, 0)
		want := min(time.Duration(float64(r.Backoff)*math.Pow(backoffFactor, float64(i-1))), backoffMax)
		if (d-want).Abs() > time.Microsecond || giveUp != (i == r.Max) {
			t.Errorf("failure %d: %s, give up %v; want %s", i, d, giveUp, want)
		}
	}
	b = backoff{failures: r.Max - 1, delay: time.Second}
	if d, giveUp := b.next(r, r.MinUptime); giveUp || d != 1500*time.Millisecond {
		t.Errorf("a worker that lived is no failed start: %s, %v", d, giveUp)
	}
	if d, _ := b.next(r, backoffReset); d != r.Backoff {
		t.Errorf("after a long life: %s", d)
	}
	r.Delay = 3 * time.Second
	if d, _ := b.next(r, 0); d != r.Delay {
		t.Errorf("with a fixed delay: %s", d)
	}
}

func TestGiveUp(t *testing.T) {
	s := newSlot(newBench(t).sup, "app", 0, 1)
	s.procs.retry, s.procs.deadline = stoppedTimer(), stoppedTimer()
	s.procs.spec.Restart = Restart{MinUptime: time.Second, Max: 16, Backoff: 100 * time.Millisecond}
	s.back.failures = 15
	s.failed(0, "exited with code 1", []string{"why"})
	st := s.snapshot()
	if st.State != StateFailed || st.Error != "exited with code 1; given up after 16 failed starts in a row" || len(st.Tail) != 1 {
		t.Errorf("status %+v", st)
	}
	if s.procs.retry.Stop() {
		t.Error("a slot that was given up is not tried again")
	}
}

func TestUsableCores(t *testing.T) {
	mask := affinity()
	for name, c := range map[string]struct {
		files map[string]string
		want  float64
	}{
		"nothing":                       {nil, 0},
		"v2, none":                      {map[string]string{"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "max 100000\n"}, 0},
		"v2":                            {map[string]string{"proc/self/cgroup": "0::/app\n", "sys/fs/cgroup/app/cpu.max": "50000 100000\n"}, 0.5},
		"v2, from above":                {map[string]string{"proc/self/cgroup": "0::/a/b\n", "sys/fs/cgroup/a/b/cpu.max": "400000 100000", "sys/fs/cgroup/a/cpu.max": "150000 100000"}, 1.5},
		"v2, in a container":            {map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "100000 100000"}, 1},
		"v2, outside of its name space": {map[string]string{"proc/self/cgroup": "0::/../x\n", "sys/fs/cgroup/cpu.max": "100000 100000"}, 1},
		"v1": {map[string]string{"proc/self/cgroup": "5:memory:/m\n4:cpu,cpuacct:/app\n", "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us": "75000\n",
			"sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us": "100000\n"}, 0.75},
		"v1, none": {map[string]string{"proc/self/cgroup": "4:cpu:/\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 0},
		"v1, in a container under another name": {map[string]string{"proc/self/cgroup": "4:cpu,cpuacct:/docker/0123\n", "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
			"sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}, 1},
		"junk": {map[string]string{"proc/self/cgroup": "x\n0::/\n", "sys/fs/cgroup/cpu.max": "many few"}, 0},
	} {
		root := t.TempDir()
		for path, text := range c.files {
			path = filepath.Join(root, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got := quota(root); got != c.want {
			t.Errorf("%s: quota %v, want %v", name, got, c.want)
		}
		want := mask
		if c.want > 0 {
			want = min(mask, max(1, int(math.Ceil(c.want))))
		}
		if got := UsableCores(root); got != want {
			t.Errorf("%s: %d cores, want %d", name, got, want)
		}
	}
}
