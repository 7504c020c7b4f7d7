package e2e

import (
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/bench/load"
	"meshnode/e2e/lab"
)

// Two of three servers are restarted in turn, in an orderly way, at 80 requests/s through each: nothing that comes through the first fails,
// and at their own doors nothing but new connections while they are down: clients of kept ones are asked to leave before, also by the workers of other servers.
func TestServersRestartedInTurn(t *testing.T) {
	l, nodes := three(t)
	var streams []*stream
	for _, n := range nodes {
		streams = append(streams, &stream{door: n, rate: 80, warm: time.Second, work: load.Work{Mean: 15 * time.Millisecond}, patience: 5 * time.Second, clients: 16})
	}
	where := owners(t, nodes[0])
	under(t, l, streams, func() {
		for _, n := range nodes[1:] {
			if err := n.Stop(40 * time.Second); err != nil {
				t.Errorf("%s: %v", n.Name, err)
			}
			n.Restart()
			ready(t, nodes[0], 6, 20*time.Second)
			for pid, node := range owners(t, nodes[0]) {
				where[pid] = node
			}
			time.Sleep(span(0, 5*time.Second))
		}
	})
	tell(t, streams, where)
	for i, s := range streams {
		for _, rep := range []load.Report{s.kept, s.fresh} {
			excused := rep.Classes[load.ConnectRefused]
			if i == 0 {
				excused = 0 // its door was open all the time
			}
			if rep.Failed > excused {
				t.Errorf("through %s: %d failed %v, of which %d found the door closed", s.door.Name, rep.Failed, rep.Classes, excused)
			}
		}
	}
}

// A server with two workers, and all its processes, is stopped, and later killed, at 200 requests/s (1,000 where the test may take its time)
// through the door of one that has no workers; another has two more. What was on it is lost, and what was sent to it before its silence was noticed.
func TestStoppedAndKilledServer(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	join := l.Host(1).IP + ":7946"
	nodes := []*lab.Node{l.Host(1).Start("-join", join, "-no-workers"), l.Host(2).Start("-join", join), l.Host(3).Start("-join", join)}
	nodes[0].Voters(30*time.Second, 3, 3)
	nodes[0].Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	ready(t, nodes[0], 4, 20*time.Second)
	for _, c := range []struct {
		name string
		sig  syscall.Signal
	}{{"stopped", syscall.SIGSTOP}, {"killed", syscall.SIGKILL}} {
		t.Run(c.name, func(t *testing.T) {
			where := owners(t, nodes[0])
			s := &stream{door: nodes[0], rate: 200, warm: span(time.Second, 5*time.Second), work: load.Work{Mean: 5 * time.Millisecond}, patience: 2 * time.Second}
			if full() {
				s.rate = 1000
			}
			s.clients = s.rate / 8 // each of them sends four a second
			defer nodes[2].SignalAll(syscall.SIGCONT)
			held := under(t, l, []*stream{s}, func() {
				nodes[2].SignalAll(c.sig)
				time.Sleep(span(2500*time.Millisecond, 9*time.Second))
			})
			tell(t, []*stream{s}, where)
			lostWith(t, s, held)
			f, n, last := lostOf([]*stream{s})
			measured(t, map[syscall.Signal]int{syscall.SIGSTOP: 9, syscall.SIGKILL: 8}[c.sig], "%d of %d requests at %d/s lost, the last one due %.2f s after it", f, n, s.rate, last)
			for _, f := range unserved([]*stream{s}, where, "h3") {
				t.Log("lost, and nothing of it had been on that server before:", f)
			}
			nodes[2].SignalAll(syscall.SIGCONT)
			nodes[0].Voters(20*time.Second, map[syscall.Signal]int{syscall.SIGSTOP: 3, syscall.SIGKILL: 2}[c.sig], 3)
		})
	}
}

// lostWith checks what may be lost with a server that falls silent: of kept connections one request each, if they lead there, of new ones those
// that it had. None that was due more than half a second later is among them, and nothing stalls for longer than a second, beside what the
// machine did.
func lostWith(t *testing.T, s *stream, held time.Duration) {
	t.Helper()
	lost, last := s.kept.Failed+s.fresh.Failed, max(s.kept.LastFail, s.fresh.LastFail)
	stall := max(s.kept.Stall, s.fresh.Stall)
	t.Logf("%d of %d lost, the last one due %.2f s after the fault; the longest answer took %.2f s", lost, s.kept.Sent+s.fresh.Sent, last, stall)
	if lost >= 135 {
		t.Errorf("%d requests were lost, want fewer than 135", lost)
	}
	if last > 0.5+held.Seconds() {
		t.Errorf("a request that was due %.2f s after the fault was lost", last)
	}
	if stall > 1+held.Seconds() {
		t.Errorf("an answer took %.2f s", stall)
	}
}
