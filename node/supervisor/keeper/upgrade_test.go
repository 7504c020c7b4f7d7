package keeper

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patient are limits that no test reaches; hasty has one of them run out.
var patient = limits{standby: patience, yield: patience, start: patience, end: patience}

func hasty(which func(*limits)) limits {
	l := patient
	which(&l)
	return l
}

// The worker of a node that is killed lives on, with the next node; a stop ends all of it in order.
func TestNodeThatIsKilledComesBack(t *testing.T) {
	th := open(t, "serves", "", patient)
	first := th.mark("serves-ready")
	for range 3 {
		pid := th.mark("serves-ready")
		th.forget("serves-ready")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if now := th.mark("serves-ready"); now == first {
			t.Error("the node is the same process")
		}
		th.lives()
	}
	waitUntil(t, "the watchdog is told", func() bool { return th.told("WATCHDOG=1") > 1 })
	th.cancel()
	if code := th.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	th.mark("serves-stopped")
	th.mark("worker-told") // this node leaves its worker to the keeper
	if th.told("READY=1") != 4 || th.told("STOPPING=1") != 1 {
		t.Errorf("systemd was told %v", th.said)
	}
}

// A node that never served is not started again: who started it has to look.
func TestNodeThatNeverServes(t *testing.T) {
	for name, want := range map[string]int{"dies": 3, "fails": 1, "late": 7} {
		if code := open(t, name, "", patient).end(); code != want {
			t.Errorf("%s: exit code %d, want %d", name, code, want)
		}
	}
	th := open(t, "mute", "", patient)
	waitUntil(t, "it runs", func() bool { return th.told("WATCHDOG=1") > 0 })
	th.cancel()
	if code := th.end(); code != 0 {
		t.Errorf("mute: exit code %d", code)
	}
}

// An upgrade changes the node, and not the worker; the former node carries on until it is told to end.
func TestUpgrade(t *testing.T) {
	th := open(t, "serves", "next", patient)
	old, next := th.mark("serves-ready"), th.mark("next-ready")
	if old == next || th.has("serves-over") {
		t.Error("the former node is not there any more")
	}
	th.lives()
	th.forget("next-ready")
	if err := syscall.Kill(next, syscall.SIGKILL); err != nil { // what is started again is the new binary
		t.Fatal(err)
	}
	th.mark("next-ready")
	th.lives()
	th.cancel()
	if code := th.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	th.mark("next-stopped")
	th.mark("serves-over") // told too, and waited for
	th.mark("worker-told")
}

// A binary that does not take over leaves the former one serving: the same process if that had not let go yet, else a new one.
func TestUpgradeThatFails(t *testing.T) {
	for _, c := range []struct {
		next, why string
		yields    bool
		limits    limits
	}{
		{"dies", "it ended before it served: exit code 3", false, patient},
		{"hangs", "it was not able to start within 300ms", false, hasty(func(l *limits) { l.standby = 300 * time.Millisecond })},
		{"fails", "it ended before it served: exit code 1", true, patient},
		{"late", "it ended before it served: exit code 7", true, patient},
		{"mute", "it did not serve within 300ms", true, hasty(func(l *limits) { l.start = 300 * time.Millisecond })},
	} {
		t.Run(c.next, func(t *testing.T) {
			th := open(t, "serves", c.next, c.limits)
			old := th.mark("serves-ready")
			if c.yields {
				th.mark("serves-yield")
				waitUntil(t, "the former binary serves again", func() bool { return th.told("READY=1") > 1 || th.has("serves-refused") })
			}
			if got := th.outcome(); !strings.Contains(got.Error, c.why) {
				t.Errorf("outcome %q, want %q", got.Error, c.why)
			}
			if now := th.mark("serves-ready"); (now != old) != c.yields {
				t.Errorf("the node was %d and is %d", old, now)
			}
			th.lives()
			th.cancel()
			th.end()
		})
	}
}

// A node that does not let go is ended, and a new one takes over.
func TestNodeThatClings(t *testing.T) {
	th := open(t, "clings", "next", hasty(func(l *limits) { l.yield = 300 * time.Millisecond }))
	old := th.mark("clings-ready")
	th.mark("clings-yield")
	th.forget("clings-ready")
	if now := th.mark("clings-ready"); now == old {
		t.Error("it is the same process")
	}
	th.lives()
	th.cancel()
	th.end()
}

// A stop in the middle of an upgrade ends all of it, whoever's turn it is.
func TestStopInTheMiddleOfAnUpgrade(t *testing.T) {
	for _, c := range []struct{ first, next, at string }{
		{"serves", "hangs", "serves-ready"}, // the successor is in standby, or about to be
		{"serves", "mute", "serves-yield"},  // it is the successor's turn, or about to be
		{"clings", "next", "clings-yield"},  // the node lets go
	} {
		t.Run(c.at+"-"+c.next, func(t *testing.T) {
			th := open(t, c.first, c.next, hasty(func(l *limits) { l.yield, l.end = 500*time.Millisecond, 2*time.Second }))
			th.mark(c.at)
			th.cancel()
			th.end()
			th.mark("worker-told")
		})
	}
}

// A stop while no node runs does not wait for the next.
func TestStopBetweenTwoNodes(t *testing.T) {
	th := open(t, "serves", "", patient)
	for range 6 { // each time it is started later
		pid := th.mark("serves-ready")
		th.forget("serves-ready")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	th.lives()
	th.cancel()
	th.end()
	th.mark("worker-told")
}

// A node that says what cannot be understood, or does not read any more, is ended and replaced.
func TestNodeThatCannotBeTalkedTo(t *testing.T) {
	th := open(t, "babbles", "", patient)
	first := th.mark("babbles-ready")
	th.forget("babbles-ready")
	waitUntil(t, "another one", func() bool { return th.has("babbles-ready") && th.mark("babbles-ready") != first })
	th.lives()
	th.cancel()
	th.end()
	if syscall.Kill(first, 0) == nil {
		t.Error("process " + strconv.Itoa(first) + " still runs")
	}
}
