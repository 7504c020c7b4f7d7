package supervisor

import (
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shows waits for what makes no news: a figure that changes.
func (b *bench) shows(what string, cond func() bool) {
	b.t.Helper()
	for until := time.Now().Add(limit); !cond(); <-time.After(time.Millisecond) {
		if time.Now().After(until) {
			b.t.Fatalf("%s: not within %s; status %+v; router %v", what, limit, b.sup.Status(), b.r.said())
		}
	}
}

// A stopped worker is out of the routing while another of its app talks, and back in at its next word; one that is alone stays.
func TestNodeWorkerThatSaysNothing(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	script := `require('http').createServer().listen(3000);`
	two, alone := b.node(1, script), b.node(1, script)
	alone.App = "alone"
	b.sup.Start(0, two, StartFirst)
	b.sup.Start(1, two, StartFirst)
	b.sup.Start(0, alone, StartFirst)
	b.shows("all ready, and talk", func() bool {
		st := b.sup.Status()
		for _, s := range st {
			if s.State != StateReady || !s.Busy.Known {
				return false
			}
		}
		return len(st) == 3
	})
	st := b.sup.Status()
	single, x, y := st[0], st[1], st[2]
	for _, s := range []Status{single, x} {
		send(t, s.PID, syscall.SIGSTOP)
		defer func() { _ = syscall.Kill(s.PID, syscall.SIGCONT) }()
	}
	b.eventually("out of the routing", func() bool { return b.r.has("unroute " + x.Worker) })
	if b.r.has("unroute "+y.Worker) || b.r.has("unroute "+single.Worker) {
		t.Errorf("router: %v", b.r.said())
	}
	b.shows("busy", func() bool { s := b.sup.Status(); return s[1].Busy.Share > s[2].Busy.Share && s[1].Busy.Share > 0.2 })
	send(t, x.PID, syscall.SIGCONT)
	b.eventually("back", func() bool {
		said := b.r.said()
		out := slices.Index(said, "unroute "+x.Worker)
		return slices.Contains(said[out:], "route "+x.Worker)
	})
}

// Ill and silent are reasons of their own: both must be gone before a worker is back.
func TestReasonsToStepOut(t *testing.T) {
	r := &router{poke: make(chan struct{}, 1), ws: make(map[string]Worker)}
	p := &process{Worker: Worker{ID: "w"}, place: place{router: r}}
	p.route()
	p.hush(true)
	p.hush(true)
	if !p.stepOut(true) || p.stepOut(true) {
		t.Error("that it is ill is news once")
	}
	p.hush(false)
	if got := strings.Join(r.said(), ","); got != "route w,unroute w" {
		t.Errorf("it is ill still: %s", got)
	}
	p.stepOut(false)
	p.hush(true)
	if !p.unroute() {
		t.Error("it belonged to the routing")
	}
	p.hush(false)
	if got := strings.Join(r.said(), ","); got != "route w,unroute w,route w,unroute w" {
		t.Errorf("router: %s", got)
	}
}
