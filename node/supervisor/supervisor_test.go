package supervisor

import (
	"context"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStartReadyStop(t *testing.T) {
	b := newBench(t)
	b.r.hold = make(chan struct{})
	b.start(b.spec(1, "polite ready wait"), StartFirst)
	st := b.ready(1)
	if st.PID == 0 || st.Worker != "app/0#1" || st.Mode != ModePort || st.Restarts != 0 || st.Error != "" {
		t.Errorf("status %+v", st)
	}
	b.start(b.spec(1, "crash"), StartFirst) // the same release again is nothing
	b.sup.Stop("app", 0)
	b.until("drain", func(s Status) bool { return s.State == StateDraining })
	b.eventually("drain asked for", func() bool { return b.r.has("drain app/0#1") })
	if !alive(st.PID) || strings.Contains(b.lines(), "told to end") {
		t.Fatal("the worker was told to end before its connections were done")
	}
	close(b.r.hold)
	b.stopped()
	if !strings.Contains(b.lines(), "told to end") {
		t.Errorf("the worker was not told to end; it wrote:\n%s", b.lines())
	}
	want := []string{"route app/0#1", "unroute app/0#1", "drain app/0#1", "ended app/0#1"}
	if got := b.r.said(); !slices.Equal(got, want) {
		t.Errorf("router: %v, want %v", got, want)
	}
	if alive(st.PID) {
		t.Error("the worker lives on")
	}
}

func TestDrainDeadlineThenKillDeadline(t *testing.T) {
	b := newBench(t)
	b.r.hold = make(chan struct{}) // never closed
	s := b.spec(1, "stubborn ready wait")
	s.Times.Drain, s.Times.Kill = 50*time.Millisecond, 50*time.Millisecond
	b.start(s, StartFirst)
	b.ready(1)
	b.sup.Stop("app", 0)
	b.stopped()
	if n := b.counted(metricDrainExpired); n != 1 {
		t.Errorf("%d expired drains counted", n)
	}
	if n := b.counted(metricKilled); n != 1 {
		t.Errorf("%d kills counted", n)
	}
}

func TestHurryCutsTheDrain(t *testing.T) {
	b := newBench(t)
	b.r.hold = make(chan struct{})
	b.start(b.spec(1, "stubborn ready wait"), StartFirst)
	b.ready(1)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	b.sup.Close(ctx)
	if n := b.counted(metricDrainExpired); n != 0 {
		t.Errorf("a drain that was cut short counts as expired: %d", n)
	}
	b.start(b.spec(2, "ready wait"), StartFirst)
	if st := b.sup.Status(); len(st) != 0 {
		t.Errorf("started after Close: %+v", st)
	}
}

func TestCrashBacksOffAndRestarts(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "crash"), StartFirst)
	st := b.until("third start", func(s Status) bool { return s.Restarts >= 2 && s.State == StateBackoff })
	if st.Error != "exited with code 3 before it was ready" || st.LastExit != "exited with code 3" || Headline(st.Tail) != "TypeError: not today" {
		t.Errorf("status %+v", st)
	}
	if len(st.Tail) != 1 {
		t.Errorf("the tail is of the last process only: %q", st.Tail)
	}
	b.sup.Stop("app", 0) // in the back-off
	b.stopped()
}

func TestCrashOfAReadyWorker(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "ready wait"), StartFirst)
	st := b.ready(1)
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := b.until("restart", func(s Status) bool { return s.State == StateReady && s.Restarts == 1 })
	if again.PID == st.PID || again.Error != "" || !strings.Contains(again.LastExit, "signal 9") {
		t.Errorf("status %+v", again)
	}
	want := []string{"route app/0#1", "unroute app/0#1", "ended app/0#1", "route app/0#2"}
	if got := b.r.said(); !slices.Equal(got, want) {
		t.Errorf("router: %v, want %v", got, want)
	}
}

func TestStartFirst(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "polite ready wait"), StartFirst)
	b.ready(1)
	b.start(b.spec(2, "polite ready wait"), StartFirst)
	b.ready(2)
	b.eventually("end of the old worker", func() bool { return b.r.has("ended app/0#1") })
	want := []string{"route app/0#1", "route app/0#2", "unroute app/0#1", "ended app/0#1"}
	if got := b.r.said("drain"); !slices.Equal(got, want) {
		t.Errorf("router: %v, want %v", got, want)
	}
}

func TestStopFirst(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "polite ready wait"), StartFirst)
	b.ready(1)
	b.start(b.spec(2, "polite ready wait"), StopFirst)
	b.start(b.spec(3, "polite ready wait"), StartFirst) // overtakes, while the old worker ends
	st := b.ready(3)
	if st.Restarts != 0 {
		t.Errorf("a replacement is no restart: %d", st.Restarts)
	}
	got := b.r.said("drain")
	want := []string{"route app/0#1", "unroute app/0#1", "ended app/0#1"}
	if len(got) < 4 || !slices.Equal(got[:3], want) || !strings.HasPrefix(got[3], "route ") {
		t.Errorf("router: %v, want %v and only then the next", got, want)
	}
}

func TestRefusedReleaseKeepsTheOldWorker(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "polite ready wait"), StartFirst)
	old := b.ready(1)
	b.start(b.spec(2, "crash"), StartFirst)
	st := b.until("refusal", func(s Status) bool { return s.Refused == 2 })
	if st.PID != old.PID || st.State != StateReady || st.Release != 1 || st.Replacing != 0 {
		t.Errorf("status %+v", st)
	}
	if !strings.Contains(st.Error, "code 3 before it was ready") || !slices.Equal(st.Tail, []string{"TypeError: not today"}) {
		t.Errorf("error %q, tail %q: want the refused worker's own", st.Error, st.Tail)
	}
	if n := b.counted(metricRefused); n != 1 {
		t.Errorf("%d refusals counted", n)
	}
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	again := b.until("restart", func(s Status) bool { return s.State == StateReady && s.PID != old.PID })
	if again.Release != 1 || again.Refused != 2 || again.Error == "" {
		t.Errorf("after a restart of the old release: %+v", again)
	}
	b.start(b.spec(3, "ready wait"), StartFirst)
	if st := b.ready(3); st.Refused != 0 || st.Error != "" {
		t.Errorf("after a release that works: %+v", st)
	}
}

// The old worker dies while its successor starts, which fails: the release that is known to work comes back.
func TestOldWorkerDiesDuringAReplacement(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "ready wait"), StartFirst)
	old := b.ready(1)
	b.start(b.spec(2, "wait"), StartFirst)
	b.until("replacement", func(s Status) bool { return s.Replacing == 2 })
	if err := syscall.Kill(old.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	st := b.until("successor alone", func(s Status) bool { return s.State == StateStarting && s.PID != old.PID })
	if st.Worker != "app/0#2" {
		t.Errorf("status %+v", st)
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if st := b.ready(1); st.Refused != 2 || st.Restarts != 1 {
		t.Errorf("status %+v", st)
	}
}

func TestNewReleaseWhileAWorkerStarts(t *testing.T) {
	b := newBench(t)
	b.start(b.spec(1, "wait"), StartFirst)
	b.until("start", func(s Status) bool { return s.PID > 0 })
	b.start(b.spec(2, "ready wait"), StartFirst)
	if st := b.ready(2); st.Restarts != 0 {
		t.Errorf("status %+v", st)
	}
	b.start(b.spec(3, "wait"), StartFirst)
	b.until("replacement", func(s Status) bool { return s.Replacing == 3 })
	b.start(b.spec(4, "ready wait"), StartFirst)
	if st := b.ready(4); st.Refused != 0 {
		t.Errorf("an abandoned successor is not a refused release: %+v", st)
	}
}

func TestNeverReady(t *testing.T) {
	b := newBench(t)
	s := b.spec(1, "wait")
	s.Times.Listen = 50 * time.Millisecond
	b.start(s, StartFirst)
	st := b.until("failure", func(s Status) bool { return s.State == StateBackoff })
	if want := "meshnode: not ready after 50ms: it did not send READY=1 to NOTIFY_SOCKET"; !slices.Contains(st.Tail, want) {
		t.Errorf("tail %q, want %q", st.Tail, want)
	}
	if got := b.r.said(); slices.ContainsFunc(got, func(l string) bool { return strings.HasPrefix(l, "route") }) {
		t.Errorf("a worker that is not ready was routed: %v", got)
	}
}

func TestPortWorker(t *testing.T) {
	b := newBench(t)
	s := b.spec(1, "listen wait")
	s.WaitReady, s.Serves = false, true
	b.start(s, StartFirst)
	st := b.ready(1)
	b.r.mu.Lock()
	w := b.r.ws[st.Worker]
	b.r.mu.Unlock()
	c, err := net.DialTimeout("tcp", w.Addr, limit)
	if err != nil {
		t.Fatalf("the worker's address %q: %v", w.Addr, err)
	}
	c.Close()

	q := b.spec(1, "wait") // serves nobody: ready once it has lived for a while
	q.App, q.WaitReady = "queue", false
	b.start(q, StartFirst)
	b.eventually("queue ready", func() bool { return b.r.has("route queue/0#2") })
}

func TestStartErrors(t *testing.T) {
	b := newBench(t)
	for i, c := range []struct {
		change func(*Spec)
		want   string
	}{
		{func(s *Spec) { s.Dir = "/no/such/folder" }, "the app's folder /no/such/folder is not on this server"},
		{func(s *Spec) { s.Command = []string{"node", "/no/such/app.js", "/no/other.js"} }, "/no/such/app.js is not on this server"},
		{func(s *Spec) { s.Command = []string{"no-such-program"} }, "start no-such-program: it is not in PATH on this server"},
		{func(s *Spec) { s.Command = []string{"/etc/passwd"} }, "start /etc/passwd: permission denied"},
	} {
		s := b.spec(uint64(i+1), "wait")
		c.change(&s)
		b.start(s, StartFirst)
		st := b.until(c.want, func(s Status) bool { return s.Release == uint64(i+1) && s.State == StateBackoff })
		if !strings.HasPrefix(st.Error, c.want) {
			t.Errorf("error %q, want %q", st.Error, c.want)
		}
	}
}

// Nothing is left of a slot: no descriptor of ours, whether its starts work or fail.
func TestDescriptorsAreGivenBack(t *testing.T) {
	b := newBench(t)
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(fds)
	}
	cycle := func() {
		good, bad := b.spec(1, "ready wait"), b.spec(1, "wait")
		bad.App, bad.Command = "bad", []string{"no-such-program"}
		bad.Mode = ModeCluster
		b.start(good, StartFirst)
		b.start(bad, StartFirst)
		b.eventually("both", func() bool {
			st := b.sup.Status()
			return len(st) == 2 && st[0].State == StateReady && st[1].State == StateBackoff
		})
		b.sup.Stop("app", 0)
		b.sup.Stop("bad", 0)
		b.stopped()
	}
	cycle()
	before := count()
	for range 3 {
		cycle()
	}
	if after := count(); after > before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
