package supervisor

import (
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// start counts of a worker are lines "start"; nothing else tells a restart that came too soon from one that did not come.
const began = "echo start\n"

func TestRestartOff(t *testing.T) {
	b := newBench(t)
	s := b.sh(1, "exit 0")
	s.Restart.Off = true
	b.start(s, StartFirst)
	st := b.until("end", func(s Status) bool { return s.Done })
	if st.State != StateStopped || st.PID != 0 || st.Error != "" || st.Restarts != 0 {
		t.Errorf("status %+v", st)
	}
	b.start(s, StartFirst) // the same release: it has had its turn
	b.start(b.spec(2, "ready wait"), StartFirst)
	if st := b.ready(2); st.Done || st.Worker != "app/0#2" {
		t.Errorf("status %+v", st)
	}
}

// A worker that ended by itself while its successor started is not started again when nothing becomes of that.
func TestRestartOffDuringAReplacement(t *testing.T) {
	b := newBench(t)
	s := b.sh(1, "trap 'exit 0' USR1\n"+roles["ready"]+"\n"+roles["wait"])
	s.Restart.Off = true
	b.start(s, StartFirst)
	old := b.ready(1)
	next := b.spec(2, "wait")
	next.Restart.Off = true
	b.start(next, StartFirst)
	b.until("replacement", func(s Status) bool { return s.Replacing == 2 })
	send(t, old.PID, syscall.SIGUSR1)
	st := b.until("end", func(s Status) bool { return s.Worker == "app/0#2" })
	send(t, st.PID, syscall.SIGKILL)
	if st := b.until("rest", func(s Status) bool { return s.Done }); st.Refused != 2 || st.Release != 1 || st.Restarts != 0 || st.State != StateStopped {
		t.Errorf("status %+v", st)
	}
}

func TestStopExitCodes(t *testing.T) {
	for name, c := range map[string]struct {
		script string
		done   bool
	}{
		"listed":     {"exit 7", true},
		"zero":       {"exit 0", false},
		"not listed": {"exit 3", false},
		"signal":     {"kill -9 $$", false},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := b.sh(1, c.script)
			s.Restart.StopExitCodes = []int{7}
			b.start(s, StartFirst)
			st := b.until("outcome", func(s Status) bool { return s.Done || s.Restarts >= 1 && s.State == StateBackoff })
			if st.Done != c.done || c.done && (st.State != StateStopped || st.Error != "exited with code 7") {
				t.Errorf("status %+v", st)
			}
		})
	}
}

func TestGivenUpAfterFailedStarts(t *testing.T) {
	b := newBench(t)
	s := b.sh(1, began+"exit 4")
	s.Restart.Max, s.Restart.Backoff = 3, time.Millisecond
	b.start(s, StartFirst)
	st := b.until("giving up", func(s Status) bool { return s.State == StateFailed })
	if st.Restarts != 2 || !strings.Contains(st.Error, "given up after 3 failed starts in a row") || strings.Count(b.lines(), "start") != 3 {
		t.Errorf("status %+v, output %q", st, b.lines())
	}
	b.start(b.spec(2, "ready wait"), StartFirst)
	b.ready(2)
}

// A worker that lived long enough is no failed start, however often it ends.
func TestMinUptime(t *testing.T) {
	b := newBench(t)
	s := b.spec(1, "ready")
	s.Restart.MinUptime, s.Restart.Max, s.Restart.Delay = time.Nanosecond, 1, time.Millisecond
	b.start(s, StartFirst)
	b.until("many ends", func(s Status) bool { return s.Restarts >= 3 })
}

func TestFixedDelay(t *testing.T) {
	b := newBench(t)
	s := b.sh(1, began+"exit 4")
	s.Restart.Delay, s.Restart.Max = time.Hour, 5
	b.start(s, StartFirst)
	b.until("wait", func(s Status) bool { return s.State == StateBackoff })
	b.start(b.spec(2, "ready wait"), StartFirst) // does not wait for it
	b.ready(2)
}

func TestStopSignal(t *testing.T) {
	b := newBench(t)
	s := b.sh(1, "trap 'echo got INT; exit 0' INT\ntrap 'echo got TERM; exit 0' TERM\n"+roles["ready"]+"\nwhile :; do sleep 0.05; done") // what runs in a shell's background ignores SIGINT
	s.Account.StopSignal = "SIGINT"
	b.start(s, StartFirst)
	b.ready(1)
	b.sup.Stop("app", 0)
	b.stopped()
	if out := b.lines(); !strings.Contains(out, "got INT") || strings.Contains(out, "got TERM") {
		t.Errorf("output %q", out)
	}
}

func TestStopMessage(t *testing.T) {
	for name, c := range map[string]struct {
		handler string
		killed  int
	}{
		"heard":   {"console.log('told'); process.exit(0)", 0},
		"ignored": {"console.log('told'); setInterval(() => {}, 1000)", 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := b.node(1, `
				require('http').createServer().listen(3000);
				process.on('SIGTERM', () => console.log('signal'));
				process.on('message', (m) => { if (m === 'shutdown') { `+c.handler+` } });`)
			s.Account.StopMessage = true
			if c.killed > 0 {
				s.Times.Kill = time.Second
			}
			b.start(s, StartFirst)
			b.ready(1)
			b.sup.Stop("app", 0)
			b.stopped()
			if out := b.lines(); out != "told" || b.counted(metricKilled) != c.killed {
				t.Errorf("output %q, killed %d", out, b.counted(metricKilled))
			}
		})
	}
}

func TestLeaveTree(t *testing.T) {
	b := newBench(t)
	f := b.follow()
	defer f.Close()
	s := b.spec(1, "child daemon polite ready wait")
	s.Account.LeaveTree = true
	b.start(s, StartFirst)
	b.ready(1)
	family := []int{pidLine(t, f), pidLine(t, f)}
	b.sup.Stop("app", 0)
	b.stopped()
	for _, pid := range family {
		if !alive(pid) {
			t.Error("a process that was to be left alone was ended")
		}
	}
	killRun(b.id + "/app/0#1")
}

func TestVariablesOfTheApp(t *testing.T) {
	t.Setenv("SECRET_A", "1")
	t.Setenv("SECRET_B", "2")
	t.Setenv("PLAIN", "3")
	t.Setenv("PLAINER", "4")
	b := newBench(t)
	s := b.spec(1, "env ready wait")
	s.Env = append(s.Env, "METRICS=9100", "SECRET_B=the app's own")
	s.Account = Account{InstanceVar: "SLOT", IncrementVar: "METRICS", FilterEnv: []string{"SECRET_*", "PLAIN"}}
	s.Account.Limits.OpenFiles = 123
	s.Command[2] = "echo files=$(ulimit -n)\n" + s.Command[2]
	b.sup.Start(2, s, StartFirst)
	b.ready(1)
	b.sup.Stop("app", 2)
	b.stopped()
	out := strings.Split(b.lines(), "\n")
	for _, want := range []string{"SLOT=2", "METRICS=9102", "SECRET_B=the app's own", "PLAINER=4", "files=123"} {
		if !slices.Contains(out, want) {
			t.Errorf("no %s", want)
		}
	}
	for _, l := range out {
		if name, _, _ := strings.Cut(l, "="); name == "SECRET_A" || name == "PLAIN" || name == "NODE_APP_INSTANCE" {
			t.Errorf("the worker has %s", l)
		}
	}
}

func TestAccount(t *testing.T) {
	b := newBench(t)
	if os.Getuid() != 0 {
		s := b.sh(1, "exit")
		s.Account.User = "root"
		b.start(s, StartFirst)
		if st := b.until("failure", func(s Status) bool { return s.State == StateBackoff }); !strings.HasPrefix(st.Error, "only a node that runs as root") {
			t.Errorf("error %q", st.Error)
		}
		return
	}
	for dir := b.dir; dir != "/"; dir = parent(dir) { // the test's own folders; the program's have modes that let others in
		if fi, err := os.Stat(dir); err == nil && fi.Mode().Perm()&1 == 0 {
			if err := os.Chmod(dir, fi.Mode().Perm()|0o11); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := b.sh(1, "echo id $(id -un) $(id -gn); echo home $HOME $USER\n"+roles["ready"]+"\n"+roles["wait"])
	s.Env = []string{"HELPER=" + helper(t, b)}
	s.Account.User, s.Account.Group = "nobody", "daemon"
	f := b.follow()
	defer f.Close()
	b.start(s, StartFirst)
	if got := line(t, f, "id "); got != "nobody daemon" {
		t.Errorf("runs as %s", got)
	}
	if got := line(t, f, "home "); !strings.HasSuffix(got, " nobody") || strings.HasPrefix(got, "/root") {
		t.Errorf("home %s", got)
	}
	b.ready(1) // another user's word on the notify socket counts

	s = b.sh(2, "exit")
	s.Account.User = "no-such-user"
	b.start(s, StartFirst)
	if st := b.until("refusal", func(s Status) bool { return s.Refused == 2 }); st.Error != `there is no user "no-such-user" on this server` {
		t.Errorf("error %q", st.Error)
	}
}

func parent(dir string) string { return dir[:max(1, strings.LastIndex(dir, "/"))] }

// helper is a copy of this program that another user may run.
func helper(t *testing.T, b *bench) string {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := b.dir + "/helper"
	if err := os.WriteFile(path, raw, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// A successor that becomes ready and dies within the watch time is refused, and never had a client.
func TestSuccessorDiesWithinTheWatchTime(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "polite ready wait"), StartFirst)
	old := b.ready(1)
	s := b.spec(2, "ready crash")
	s.Times.Watch = limit
	b.start(s, StartFirst)
	st := b.until("refusal", func(s Status) bool { return s.Refused == 2 })
	if st.PID != old.PID || st.State != StateReady || !strings.Contains(st.Error, "exited with code 3") || Headline(st.Tail) != "TypeError: not today" {
		t.Errorf("status %+v", st)
	}
	if b.r.has("route app/0#2") {
		t.Error("it was in the routing")
	}
}

func TestWatchTimeEnds(t *testing.T) {
	b := newBench(t)
	s := b.spec(1, "polite ready wait")
	s.Times.Watch = 300 * time.Millisecond
	b.start(s, StartFirst)
	b.until("ready, not proven", func(s Status) bool { return s.State == StateReady && s.Unproven })
	b.until("proven", func(s Status) bool { return s.State == StateReady && !s.Unproven })
	s2 := b.spec(2, "polite ready wait")
	s2.Times.Watch = s.Times.Watch
	b.start(s2, StartFirst)
	if st := b.ready(2); st.Unproven || time.Since(st.StartedAt) < s2.Times.Watch {
		t.Errorf("status %+v after %s", st, time.Since(st.StartedAt))
	}
	b.eventually("end of the old worker", func() bool { return b.r.has("ended app/0#1") })
	want := []string{"route app/0#1", "route app/0#2", "unroute app/0#1"}
	if got := b.r.said("drain", "ended"); !slices.Equal(got, want) {
		t.Errorf("router: %v", got)
	}
}

// A worker that had not proved itself when a successor came goes on with that when nothing becomes of the successor.
func TestProofGoesOn(t *testing.T) {
	for name, undo := range map[string]func(b *bench, first Spec){
		"refused":    func(*bench, Spec) {},
		"taken back": func(b *bench, first Spec) { b.start(first, StartFirst) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			s := b.spec(1, "polite ready wait")
			s.Times.Watch = 500 * time.Millisecond
			b.start(s, StartFirst)
			b.until("ready, not proven", func(s Status) bool { return s.State == StateReady && s.Unproven })
			s2 := b.spec(2, "ready crash")
			if name != "refused" {
				s2 = b.spec(2, "ready wait")
			}
			s2.Times.Watch = limit
			b.start(s2, StartFirst)
			b.eventually("successor", func() bool { st := b.sup.Status(); return st[0].Replacing == 2 || st[0].Refused == 2 })
			undo(b, s)
			if st := b.until("proof", func(s Status) bool { return !s.Unproven }); st.Release != 1 || st.Replacing != 0 || st.State != StateReady {
				t.Errorf("status %+v", st)
			}
		})
	}
}

// The old worker dies while its successor is ready and only has to stay up: it serves at once.
func TestReadySuccessorStandsIn(t *testing.T) {
	b := newBench(t)
	f := b.follow()
	defer f.Close()
	b.start(b.spec(1, "ready wait"), StartFirst)
	old := b.ready(1)
	line(t, f, "waiting")
	s := b.spec(2, "ready wait")
	s.Times.Watch = time.Hour
	b.start(s, StartFirst)
	line(t, f, "waiting")
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := b.ready(2); !st.Unproven {
		t.Errorf("status %+v", st)
	}
}

func TestReleaseTakenBackInMidStart(t *testing.T) {
	b := newBench(t)
	first := b.spec(1, "polite ready wait")
	b.start(first, StartFirst)
	old := b.ready(1)
	b.start(b.spec(2, "wait"), StartFirst)
	b.until("replacement", func(s Status) bool { return s.Replacing == 2 })
	b.start(first, StartFirst)
	b.eventually("end of the successor", func() bool { return b.r.has("ended app/0#2") })
	st := b.until("peace", func(s Status) bool { return s.Replacing == 0 })
	if st.PID != old.PID || st.Refused != 0 || st.Error != "" || st.State != StateReady {
		t.Errorf("status %+v", st)
	}
}

// A signal reaches every worker once, and restarts can be counted anew.
func TestSignalAndReset(t *testing.T) {
	b := newBench(t)
	s := b.spec(1, "ready wait")
	s.Command = []string{"sh", "-c", `trap 'echo got it' USR2; ` + helperVariable + `=ready "$HELPER"; while :; do sleep 0.02; done`}
	f := b.follow()
	b.start(s, StartFirst)
	st := b.ready(1)
	if err := b.sup.Signal("app", "SIGUSR2"); err != nil {
		t.Fatal(err)
	}
	line(t, f, "got it")
	if err := b.sup.Signal("other", "SIGUSR2"); err != nil {
		t.Errorf("an app that is not here: %v", err)
	}
	if err := b.sup.Signal("app", "SIGNONE"); err == nil {
		t.Error("no such signal, and no error")
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("a restart", func(st Status) bool { return st.Restarts == 1 && st.State == StateReady })
	b.sup.ResetRestarts("app")
	b.until("the count", func(st Status) bool { return st.Restarts == 0 })
}
