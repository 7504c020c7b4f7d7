package supervisor

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Nothing of a worker outlives it, also what left its process group.
func TestTheWholeFamilyEnds(t *testing.T) {
	b := newBench(t)
	f := b.sup.Follow("app")
	defer f.Close()
	b.start(b.spec(1, "child daemon polite ready wait"), StartFirst)
	st := b.ready(1)
	child, daemon := pidLine(t, f), pidLine(t, f)
	if !alive(child) || !alive(daemon) {
		t.Fatal("the family does not live")
	}
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("restart", func(s Status) bool { return s.State == StateReady && s.PID != st.PID })
	if alive(child) || alive(daemon) {
		t.Errorf("outlived the worker: child %v, daemon %v", alive(child), alive(daemon))
	}
}

// A wrapper that ends at the signal must not take its program's time from it.
func TestOrderlyEndOfAGroup(t *testing.T) {
	b := newBench(t)
	f := b.sup.Follow("app")
	defer f.Close()
	b.start(b.sh(1, `(trap 'sleep 0.2; echo cleaned up; exit' TERM; echo in place; while :; do sleep 0.05; done) & wait`), StartFirst)
	line(t, f, "in place")
	b.sup.Stop("app", 0)
	b.stopped()
	if !strings.Contains(b.lines(), "cleaned up") {
		t.Errorf("the program behind the shell was not given its time; output:\n%s", b.lines())
	}
}

func TestStubbornGroupIsKilled(t *testing.T) {
	b := newBench(t)
	f := b.sup.Follow("app")
	defer f.Close()
	s := b.spec(1, "child polite ready wait") // the child ignores the signal
	s.Times.Kill = 100 * time.Millisecond
	b.start(s, StartFirst)
	b.ready(1)
	child := pidLine(t, f)
	b.sup.Stop("app", 0)
	b.stopped()
	if alive(child) {
		t.Error("the child lives on")
	}
}

// A process that nothing can find any more must not keep the slot waiting for the end of its output.
func TestStrangerHoldsTheOutput(t *testing.T) {
	b := newBench(t)
	f := b.sup.Follow("app")
	defer f.Close()
	b.start(b.sh(1, `setsid env -i sleep 60 & echo pid $!; sleep 60`), StartFirst)
	stranger := pidLine(t, f)
	defer func() { _ = syscall.Kill(stranger, syscall.SIGKILL) }()
	st := b.until("start", func(s Status) bool { return s.PID > 0 })
	b.eventually("setsid and env done", func() bool {
		raw, err := os.ReadFile("/proc/" + itoa(stranger) + "/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		b.sup.poke() // asked again at once
		return strings.HasPrefix(string(raw), "sleep")
	})
	if err := syscall.Kill(st.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	b.until("notice of the end", func(s Status) bool { return s.State == StateBackoff })
}

func TestKillOrphans(t *testing.T) {
	b := newBench(t)
	run := func(mark string) *exec.Cmd {
		c := exec.Command("sleep", "60")
		c.Env = []string{"A=1", mark, "B=2"}
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
		return c
	}
	ours := []*exec.Cmd{run(runVariable + "=" + b.id + "/app/0#1"), run(runVariable + "=" + b.id + "/b/3#7")}
	others := []*exec.Cmd{run(runVariable + "=" + b.id + "x/app/0#1"), run("X" + runVariable + "=" + b.id + "/app/0#1")}
	if n := KillOrphans(b.id, nil); n != 2 {
		t.Errorf("ended %d processes, want 2", n)
	}
	for _, c := range ours {
		if alive(c.Process.Pid) {
			t.Error("an orphan lives on")
		}
	}
	for _, c := range others {
		if !alive(c.Process.Pid) {
			t.Error("a process of another was ended")
		}
	}
}

// Readiness that is reported after the end must not bring a dead worker into the routing.
func TestPlaceIsLeftForGood(t *testing.T) {
	r := &router{poke: make(chan struct{}, 1), ws: make(map[string]Worker)}
	p := &process{Worker: Worker{ID: "w"}, place: place{router: r}}
	if p.unroute() || p.route() {
		t.Error("it was never in the routing, and is not to enter after its end")
	}
	q := &process{Worker: Worker{ID: "w"}, place: place{router: r}}
	if !q.route() || !q.route() || !q.unroute() || q.unroute() || q.route() {
		t.Error("in once, out once")
	}
	if got := strings.Join(r.said(), ","); got != "route w,unroute w" {
		t.Errorf("router: %s", got)
	}
}
