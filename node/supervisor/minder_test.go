package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// send sends a signal to a worker.
func send(t *testing.T, pid int, sig syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, sig); err != nil {
		t.Fatal(err)
	}
}

// before reports whether the router heard the lines in this order.
func (r *router) before(lines ...string) bool {
	said := r.said()
	at := -1
	for _, l := range lines {
		i := slices.Index(said, l)
		if i <= at {
			return false
		}
		at = i
	}
	return true
}

func TestWorkerThatGrewIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.node(1, `
		require('http').createServer().listen(3000);
		process.on('SIGUSR2', () => { globalThis.kept = Buffer.alloc(300 << 20, 1); });`)
	s.Restart.MaxMemory = 250 << 20
	b.start(s, StartFirst)
	st := b.ready(1)
	send(t, st.PID, syscall.SIGUSR2)
	again := b.until("replacement", func(s Status) bool { return s.State == StateReady && s.PID != st.PID })
	if again.Restarts != 1 || again.Error != "" {
		t.Errorf("status %+v", again)
	}
	b.eventually("end of the old worker", func() bool { return b.r.has("ended app/0#1") })
	if !b.r.before("route app/0#1", "route app/0#2", "unroute app/0#1", "ended app/0#1") {
		t.Errorf("router: %v", b.r.said())
	}
	if n := b.counted(metricRenewals); n != 1 {
		t.Errorf("%d replacements counted", n)
	}
}

// The memory of what a worker started counts as its own.
func TestMemoryOfATree(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.node(1, `
		require('http').createServer().listen(3000);
		require('child_process').spawn('node', ['-e', 'globalThis.x = Buffer.alloc(100 << 20, 1); setInterval(() => {}, 1e6)']);`)
	b.start(s, StartFirst)
	st := b.ready(1)
	b.eventually("memory", func() bool {
		b.sup.poke() // asked again at once
		return treeMemory(st.PID) > 150<<20
	})
}

// Workers that need more than their limit from the start are replaced ever more rarely; one that leaks is not kept for that.
func TestRationsOfMemory(t *testing.T) {
	sup := &Supervisor{o: Options{}, log: hclog.NewNullLogger(), slots: make(map[string]map[int]*slot)}
	m := newMinder(sup)
	sl := &slot{app: "app"}
	now := time.Now()
	var stays []time.Duration
	for i := range 12 {
		p := &process{Worker: Worker{ID: fmt.Sprint(i), App: "app"}, birth: birth{started: now}}
		p.grown = now.Add(2 * time.Second)
		for age := time.Second; ; age += time.Second {
			if m.mayGo(sl, p, now.Add(age), false) {
				stays = append(stays, age)
				now = now.Add(age)
				break
			}
		}
	}
	want := []time.Duration{time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, maxRation, maxRation}
	if !slices.Equal(stays[:len(want)], want) {
		t.Errorf("stays %v", stays)
	}
	far := &process{Worker: Worker{ID: "far"}, birth: birth{started: now}}
	far.grown = now
	if m.mayGo(sl, far, now.Add(29*time.Second), true) || !m.mayGo(sl, far, now.Add(firstRation), true) {
		t.Error("one that is far beyond the limit waits for the first ration, and no longer")
	}
	slow := &process{Worker: Worker{ID: "slow"}, birth: birth{started: now}}
	slow.grown = now.Add(time.Hour)
	if !m.mayGo(sl, slow, slow.grown, false) || m.rations[sl].stay != 0 {
		t.Error("one that grew slowly ends the rations")
	}
}

// By the clock all workers are replaced, one at a time, and one that had ended by itself is started; an app that is stopped stays so.
func TestByTheClock(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.spec(1, "polite ready wait")
	s.Restart.Cron = "* * * * * *"
	b.sup.Start(0, s, StartFirst)
	b.sup.Start(1, s, StartFirst)
	b.eventually("two rounds", func() bool {
		st := b.sup.Status()
		return len(st) == 2 && st[0].Restarts >= 2 && st[1].Restarts >= 2
	})
	b.sup.Stop("app", 0)
	b.sup.Stop("app", 1)
	b.stopped()
	in, most := 0, 0
	for _, l := range b.r.said("drain", "ended") {
		if strings.HasPrefix(l, "route") {
			in++
		} else {
			in--
		}
		most = max(most, in)
	}
	if most > 3 {
		t.Errorf("%d workers at once, of 2 slots: %v", most, b.r.said("drain"))
	}
}

func TestJobByTheClock(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.sh(1, began+"exit 0")
	s.Restart.Off, s.Restart.Cron = true, "* * * * * *"
	b.start(s, StartFirst)
	b.until("three runs", func(s Status) bool { return s.Done && s.Restarts >= 2 })
}

// An app that cannot run twice is replaced all the same: the old worker ends first.
func TestLonerByTheClock(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := b.spec(1, "polite ready wait")
	s.Restart.Alone, s.Restart.Cron = true, "* * * * * *"
	b.start(s, StopFirst)
	b.until("replacement", func(s Status) bool { return s.State == StateReady && s.Worker != "app/0#1" })
	if !b.r.before("route app/0#1", "unroute app/0#1", "ended app/0#1", "route app/0#2") {
		t.Errorf("router: %v", b.r.said())
	}
}

const hanging = `
	require('http').createServer().listen(3000);
	process.on('SIGUSR2', () => { console.log('busy'); const end = Date.now() + MS; while (Date.now() < end); console.log('free'); });`

// A worker whose event loop is blocked leaves the routing, and is replaced, the successor first; one that was busy for a while is left alone.
func TestHungWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	short := b.node(2, strings.Replace(hanging, "MS", "1000", 1))
	short.App, short.Health.Hang = "busy", 4*time.Second
	s := b.node(1, strings.Replace(hanging, "MS", "1e9", 1))
	s.Health.Hang = 4 * time.Second
	b.start(s, StartFirst)
	b.start(short, StartFirst)
	b.eventually("both ready", func() bool {
		st := b.sup.Status()
		return len(st) == 2 && st[0].State == StateReady && st[1].State == StateReady
	})
	st := b.sup.Status()
	send(t, st[0].PID, syscall.SIGUSR2)
	send(t, st[1].PID, syscall.SIGUSR2)
	old, other := st[0], st[1]
	ill := b.until("no connections", func(s Status) bool { return s.Ill != "" })
	if !strings.HasPrefix(ill.Ill, "its event loop is blocked for ") || ill.PID != old.PID || ill.State != StateReady {
		t.Errorf("status %+v", ill)
	}
	again := b.until("replacement", func(s Status) bool { return s.PID != old.PID && s.State == StateReady })
	if again.Ill != "" || again.Restarts != 1 {
		t.Errorf("status %+v", again)
	}
	b.eventually("end of the hung worker", func() bool { return b.r.has("ended " + old.Worker) })
	if !b.r.before("route "+old.Worker, "unroute "+old.Worker, "route "+again.Worker, "ended "+old.Worker) || b.r.has("drain "+old.Worker) {
		t.Errorf("router: %v", b.r.said())
	}
	if b.r.has("unroute " + other.Worker) {
		t.Error("a worker that was busy for a second was taken out")
	}
}

// A node that did not run for a while takes nobody for hung.
func TestLateLook(t *testing.T) {
	b := newBench(t)
	m := newMinder(b.sup)
	now := time.Now()
	for _, c := range []struct {
		after time.Duration
		late  bool
	}{{0, false}, {time.Second, false}, {30 * time.Second, true}, {time.Second, false}} {
		now = now.Add(c.after)
		if m.look(now); m.late != c.late {
			t.Errorf("look after %s: late %v", c.after, m.late)
		}
	}
}

// A worker that comes up and passes no check fails its start, with what the check said.
func TestHealthCheckNeverPasses(t *testing.T) {
	b := newBench(t)
	s := b.node(1, `require('http').createServer((req, res) => { res.statusCode = 500; res.end(); }).listen(3000);`)
	s.Health = Health{Path: "/health", Interval: 50 * time.Millisecond, Timeout: time.Second, Fall: 3, Rise: 2, Hang: -1}
	s.Times.Listen = 2 * time.Second
	b.start(s, StartFirst)
	st := b.until("failure", func(s Status) bool { return s.State == StateBackoff })
	want := "meshnode: not ready after 2s: its health check does not pass: GET /health is answered with 500 Internal Server Error"
	if !slices.Contains(st.Tail, want) {
		t.Errorf("tail %q", st.Tail)
	}
}

// A worker is ill while nothing can be connected to its port, and well again when it can.
func TestHealthCheckTCP(t *testing.T) {
	b := newBench(t)
	s := b.node(1, `
		const server = require('net').createServer((c) => c.resume());
		const listen = () => server.listen(process.env.PORT, '127.0.0.1');
		listen();
		setInterval(() => {}, 1000);
		process.on('SIGUSR2', () => { if (server.listening) server.close(); else listen(); });`)
	s.Mode, s.Serves = ModePort, true
	s.Health = Health{TCP: true, Interval: 50 * time.Millisecond, Timeout: time.Second, Fall: 3, Rise: 2, Hang: -1}
	b.start(s, StartFirst)
	old := b.ready(1)
	if err := b.sup.Signal("app", "SIGUSR2"); err != nil {
		t.Fatal(err)
	}
	st := b.until("illness", func(s Status) bool { return s.Ill != "" })
	if !strings.HasPrefix(st.Ill, "its health check fails: dial tcp 127.0.0.1:") || !strings.HasSuffix(st.Ill, "connection refused") {
		t.Errorf("status %+v", st)
	}
	b.until("replacement", func(s Status) bool { return s.PID != old.PID && s.State == StateReady && s.Ill == "" })
}

func TestHealthCheck(t *testing.T) {
	for mode, where := range map[Mode]string{ModeCluster: "3000", ModePort: "process.env.PORT"} {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			well := b.dir + "/well"
			be := func(ok bool) {
				if err := os.RemoveAll(well); err != nil {
					t.Fatal(err)
				}
				if ok {
					if err := os.WriteFile(well, nil, 0o600); err != nil {
						t.Fatal(err)
					}
				}
			}
			s := b.node(1, `
				require('http').createServer((req, res) => {
					console.log('asked');
					res.statusCode = require('fs').existsSync('`+well+`') ? 200 : 503;
					res.end();
				}).listen(`+where+`, () => console.log('listening'));`)
			s.Mode, s.Serves = mode, mode == ModePort
			s.Health = Health{Path: "/health", Interval: 50 * time.Millisecond, Timeout: time.Second, Fall: 40, Rise: 2, Hang: -1}
			f := b.follow()
			defer f.Close()
			b.start(s, StartFirst)
			line(t, f, "listening")
			line(t, f, "asked")
			if b.r.has("route app/0#1") {
				t.Error("ready before the first check passed")
			}
			be(true)
			old := b.ready(1)
			be(false)
			st := b.until("illness", func(s Status) bool { return s.Ill != "" })
			if st.Ill != "its health check fails: GET /health is answered with 503 Service Unavailable" || !b.r.has("unroute app/0#1") {
				t.Errorf("status %+v", st)
			}
			be(true)
			b.until("recovery", func(s Status) bool { return s.Ill == "" })
			if st := b.sup.Status()[0]; st.PID != old.PID || st.Restarts != 0 {
				t.Errorf("status %+v", st)
			}
			be(false)
			b.until("replacement begun", func(s Status) bool { return s.Replacing == 1 })
			be(true)
			b.until("replacement", func(s Status) bool { return s.PID != old.PID && s.State == StateReady })
			b.eventually("end of the old worker", func() bool { return b.r.has("ended app/0#1") })
			if !b.r.before("unroute app/0#1", "route app/0#2", "ended app/0#1") {
				t.Errorf("router: %v", b.r.said())
			}
		})
	}
}

func TestScheduleWhenTheClockIsSet(t *testing.T) {
	noon := time.Date(2026, 11, 30, 12, 0, 30, 0, time.UTC)
	for name, c := range map[string]struct {
		shown []time.Duration // what the clock shows at one look after the other, from noon
		want  []bool
	}{
		"in order":           {[]time.Duration{time.Second, 29 * time.Second, 30 * time.Second, 31 * time.Second, 90 * time.Second}, []bool{false, false, true, false, true}},
		"set ahead":          {[]time.Duration{24 * time.Hour, 24*time.Hour + time.Second}, []bool{true, false}},
		"set ahead and back": {[]time.Duration{10 * 365 * 24 * time.Hour, time.Second, 30 * time.Second}, []bool{true, false, true}},
		"set back":           {[]time.Duration{-time.Hour, -time.Hour + 29*time.Second, -time.Hour + 31*time.Second}, []bool{false, false, true}},
	} {
		s := newSchedule("* * * * *", noon)
		last := noon
		for i, d := range c.shown {
			now := noon.Add(d)
			if due := s.step(now, now.Before(last)); due != c.want[i] {
				t.Errorf("%s: at %s due is %v", name, now, due)
			}
			last = now
		}
	}
}

func TestStartOfAProcess(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	before := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	after := time.Now()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if at := startOf(cmd.Process.Pid, time.Time{}); at.Before(before.Add(-2*tick)) || at.After(after.Add(2*tick)) {
		t.Errorf("started between %s and %s, and it is said to be %s", before, after, at)
	}
	if at := startOf(-1, after); !at.Equal(after) {
		t.Errorf("a process that is gone was started at %s", at)
	}
}

func TestStarvation(t *testing.T) {
	dir := t.TempDir()
	groups := &cgroups{base: dir}
	own := groups.group(7)
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	events := filepath.Join(own, "memory.events")
	s := newStarvation()
	s.before = [2]uint64{1 << 62, 1 << 62} // what others on this machine do is of no matter here
	for text, want := range map[string]bool{"low 0\noom 1\noom_kill 0\n": false, "low 0\noom 1\noom_kill 2\noom_group_kill 0\n": true, "": false} {
		if err := os.WriteFile(events, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if got := s.ended(groups, 7); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if s.ended(nil, 7) {
		t.Error("ended for want of memory where nobody was")
	}
}
