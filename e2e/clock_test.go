package e2e

import (
	"errors"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// jumps are what a clock may do: a wrong time zone, a bad source of time, an empty battery.
func jumps() []time.Duration {
	return []time.Duration{24 * time.Hour, -time.Hour, -10 * 365 * 24 * time.Hour}
}

// TestClockJumps sets the clocks of a follower's node, of the leader's and of a worker, while clients send requests through all servers.
func TestClockJumps(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.NewWired(t, 3)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	nodes[0].Must("start", "-n", "minute", "-i", "1", "-mode", "port", "-port", "3001", "-cron-restart", "* * * * *", lab.App(t, "port.js"))
	ready(t, nodes[0], 6, 20*time.Second)
	c := &five{Lab: l, t: t, nodes: nodes, where: owners(t, nodes[0])}
	leader, rest := leads(t, nodes)
	for _, who := range []struct {
		name string
		node *lab.Node
		pid  int
		asks bool // it is a node, which is asked what it says of the clocks
	}{{"a follower", rest[0], rest[0].Inner(), true}, {"the leader", leader, leader.Inner(), true}, {"a worker", rest[1], pidOf(t, rest[1], "web"), false}} {
		for _, jump := range jumps() {
			c.clockJump(t, who.name, who.pid, jump, who.asks)
		}
		if now := who.node.Inner(); who.asks && now != who.pid {
			t.Errorf("%s: the node process was %d and is %d", who.name, who.pid, now)
		}
	}
}

// clockJump has one process's clock be off for a while.
func (c *five) clockJump(t *testing.T, who string, pid int, jump time.Duration, asks bool) {
	t.Helper()
	before := pidsOf(t, c.nodes[0])
	err := lab.JumpClock(pid, jump)
	if errors.Is(err, lab.ErrNoClock) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	streams := doors(c.nodes, 60)
	elections, states := c.calm(t, streams, 8*time.Second)
	for _, n := range c.nodes {
		if r := change(n, 1); r.Code != 0 {
			t.Errorf("%s %s: a change at %s: %s", who, jump, n.Name, r.Err)
		}
	}
	warned := ""
	if asks {
		lab.Eventually(t, 5*time.Second, func() error {
			for _, n := range c.nodes {
				s, err := n.Status()
				if err != nil {
					return err
				}
				if warned = warningWith(s, "clock"); warned == "" {
					return errors.New(n.Name + " does not warn of the clock")
				}
			}
			return nil
		})
	}
	tell(t, streams, c.where)
	f, n, _ := lostOf(streams)
	restarts := 0
	for worker, old := range pidsOf(t, c.nodes[0]) {
		if before[worker] != old {
			restarts++
		}
	}
	if f > 0 || elections > 0 || len(states) > 1 {
		t.Errorf("%s %s: %d of %d requests failed, the leader changed %d times, members seen %v", who, jump, f, n, elections, states)
	}
	if err := lab.JumpClock(pid, 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range c.nodes {
		n.Voters(10*time.Second, 3, 3)
	}
	c.agreed(t, 10*time.Second)
	minutes := int(time.Since(begun)/time.Minute) + 1
	if restarts > 3*minutes {
		t.Errorf("%s %s: %d workers were replaced", who, jump, restarts)
	}
	measured(t, 46, "%s %s: %d of %d requests failed, members seen %v, the leader changed %d times, %d workers replaced by the clock; status: %q", who, jump, f, n, states, elections, restarts, warned)
}

// pidOf is the process of the worker of an app on a server.
func pidOf(t *testing.T, n *lab.Node, app string) int {
	t.Helper()
	ws, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if w.Node == n.Name && w.App == app {
			return w.PID
		}
	}
	t.Fatalf("%s has no worker of %s", n.Name, app)
	return 0
}

// warningWith is the first warning that contains a text.
func warningWith(s api.Status, text string) string {
	for _, w := range s.Warnings {
		if strings.Contains(w.What, text) {
			return w.What
		}
	}
	return ""
}
