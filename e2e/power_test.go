package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// powered is a cluster whose servers have disks of their own.
type powered struct {
	*lab.Lab
	disks map[*lab.Node]*lab.Disk
}

// TestPowerCut cuts the power of one server of three, and then of all of them at once, while clients send requests and somebody changes the
// configuration all the time.
func TestPowerCut(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 3)
	var nodes []*lab.Node
	p := &powered{l, make(map[*lab.Node]*lab.Disk)}
	for i := range 3 {
		n := l.Host(i+1).Prepare("-join", l.Host(1).IP+":7946")
		p.disks[n] = l.MountDisk(n.Dir, 48)
		n.Restart()
		nodes = append(nodes, n)
	}
	nodes[0].Voters(30*time.Second, 3, 3)
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, nodes[0], 3, 20*time.Second)
	for _, who := range []string{"a follower", "the leader"} {
		t.Run(who, func(t *testing.T) {
			leader, others := leads(t, nodes)
			victim, rest := leader, others
			if who == "a follower" {
				victim, rest = others[0], []*lab.Node{leader, others[1]}
			}
			p.one(t, who, victim, rest)
		})
	}
	t.Run("all", func(t *testing.T) { p.all(t, nodes) })
}

func (p *powered) one(t *testing.T, who string, victim *lab.Node, rest []*lab.Node) {
	before := selfOf(t, victim)
	where := owners(t, rest[0])
	streams := doors(rest, 60)
	w := startWriter(rest)
	for _, s := range streams {
		s.warm = 3 * time.Second
	}
	var gone, back time.Duration
	under(t, p.Lab, streams, func() {
		cut := time.Now()
		p.cut(t, victim)
		gone = time.Since(cut)
		time.Sleep(4 * time.Second)
		begun := time.Now()
		victim.Restart()
		rest[0].Voters(20*time.Second, 3, 3)
		ready(t, rest[0], 3, 20*time.Second)
		back = time.Since(begun)
		time.Sleep(2 * time.Second)
	})
	w.stop()
	tell(t, streams, where)
	for _, s := range streams {
		for _, f := range slices.Concat(s.kept.Failures, s.fresh.Failures) {
			if f.At > gone.Seconds() && where[f.PID] != victim.Name {
				t.Errorf("due %.3f s after the cut, failed %.3f s later: %s, answered before by %q: %s", f.At, f.After, f.Class, where[f.PID], f.Error)
			}
		}
	}
	for _, n := range append(rest, victim) {
		lab.Eventually(t, 10*time.Second, func() error { return w.holds(n) })
	}
	if after := selfOf(t, victim); after != before {
		t.Errorf("it was %s, and is %s", before, after)
	}
	if back > 10*time.Second {
		t.Errorf("it was back after %v", back)
	}
	f, n, _ := lostOf(streams)
	measured(t, 10, "of %s: back with its worker %.1f s after the start, the same identity; %d changes acknowledged meanwhile (%d with an outcome not known), the last of them is there on all; through the others %d of %d requests failed",
		who, back.Seconds(), w.acked, w.open, f, n)
}

// all cuts the power of all servers at one moment. What was acknowledged is on the disks of most.
func (p *powered) all(t *testing.T, nodes []*lab.Node) {
	const rounds = 5
	acked, open := 0, 0
	var longest time.Duration
	for range rounds {
		w := startWriter(nodes)
		time.Sleep(2 * time.Second)
		p.cut(t, nodes...)
		w.stop()
		acked, open = acked+w.acked, open+w.open
		begun := time.Now()
		for _, n := range nodes {
			n.Restart()
		}
		nodes[0].Voters(30*time.Second, 3, 3)
		ready(t, nodes[0], 3, 20*time.Second)
		longest = max(longest, time.Since(begun))
		for _, n := range nodes {
			lab.Eventually(t, 10*time.Second, func() error { return w.holds(n) })
		}
	}
	if longest > 10*time.Second {
		t.Errorf("it took %v", longest)
	}
	measured(t, 10, "of all three at once, %d times: a cluster with all its workers %.1f s after the start at most; %d changes acknowledged before (%d with an outcome not known), the last one of each time is there on all",
		rounds, longest.Seconds(), acked, open)
}

// cut cuts the power of servers at one moment, and mounts their disks for the next start.
func (p *powered) cut(t *testing.T, nodes ...*lab.Node) {
	t.Helper()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = p.disks[n].Cut() })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.SignalAll(syscall.SIGKILL)
		n.Kill()
		p.disks[n].Again()
	}
}

// selfOf is the identity of a server, as it stands in its data folder.
func selfOf(t *testing.T, n *lab.Node) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(n.Dir, "identity.json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}
