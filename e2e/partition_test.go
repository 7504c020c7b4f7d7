package e2e

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/bench/load"
	"meshnode/e2e/lab"
	"meshnode/e2e/lab/wire"
)

// five is a cluster of five voters with one worker each, on hosts whose cables can be bad.
type five struct {
	*lab.Lab
	t     *testing.T
	nodes []*lab.Node
	where map[int]string
}

// TestPartitions cuts a cluster of five servers in every way, and has its network behave badly, under load.
func TestPartitions(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.NewWired(t, 5)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, nodes[0], 5, 20*time.Second)
	c := &five{Lab: l, t: t, nodes: nodes, where: owners(t, nodes[0])}
	for _, sub := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"minority", c.minority}, {"leader cut off", c.leaderCutOff}, {"loss of 5 %", c.loss}, {"delay", c.delay}, {"damage", c.damage}, {"no UDP", c.noUDP},
		{"leader lost", c.leaderLost},
	} {
		t.Run(sub.name, func(t *testing.T) {
			sub.run(t)
			c.everywhere(wire.Rule{})
			for _, n := range nodes {
				n.Voters(30*time.Second, 5, 5)
			}
			c.where = owners(t, nodes[0])
		})
	}
}

// split gives all cables between two groups a rule.
func (c *five) split(a, b []*lab.Node, r wire.Rule) {
	for _, x := range a {
		for _, y := range b {
			c.Cables(x.Host, y.Host, r)
		}
	}
}

// everywhere gives all cables between servers a rule.
func (c *five) everywhere(r wire.Rule) {
	for i, n := range c.nodes {
		c.split([]*lab.Node{n}, c.nodes[i+1:], r)
	}
}

// doors is a load of new connections through each of the nodes.
func doors(nodes []*lab.Node, rate int) []*stream {
	var out []*stream
	for _, n := range nodes {
		out = append(out, &stream{door: n, rate: rate, warm: time.Second, work: load.Work{Mean: 10 * time.Millisecond}, patience: 4 * time.Second, clients: 16})
	}
	return out
}

// lostOf is how many requests of the streams failed, of how many, and when the last of them was due (seconds after the fault).
func lostOf(streams []*stream) (failed, sent int, last float64) {
	for _, s := range streams {
		failed, sent = failed+s.kept.Failed+s.fresh.Failed, sent+s.kept.Sent+s.fresh.Sent
		last = max(last, s.kept.LastFail, s.fresh.LastFail)
	}
	return failed, sent, last
}

// change tries to change the configuration at a server, and returns what came of it.
func change(n *lab.Node, workers int) lab.Result {
	return n.Run("scale", "web", fmt.Sprint(workers), "-detach")
}

// changed waits until the configuration can be changed at a server.
func changed(t *testing.T, n *lab.Node, limit time.Duration) time.Duration {
	t.Helper()
	return lab.Eventually(t, limit, func() error {
		if r := change(n, 1); r.Code != 0 {
			return fmt.Errorf("%s: exit %d: %s", n.Name, r.Code, r.Err)
		}
		return nil
	})
}

// agreed waits until all servers see one leader, all members alive, and have applied the same.
func (c *five) agreed(t *testing.T, limit time.Duration) time.Duration {
	t.Helper()
	return lab.Eventually(t, limit, func() error {
		seen := make(map[string]bool)
		for _, n := range c.nodes {
			s, err := n.Status()
			if err != nil {
				return err
			}
			for _, m := range s.Members {
				if m.Status != "alive" {
					return fmt.Errorf("%s sees %s as %s", n.Name, m.Node, m.Status)
				}
			}
			if s.Leader == "" || !s.Quorum {
				return fmt.Errorf("%s has no leader", n.Name)
			}
			seen[fmt.Sprint(s.Leader, s.Index)] = true
		}
		if len(seen) != 1 {
			return fmt.Errorf("leaders and indexes %v", seen)
		}
		return nil
	})
}

func (c *five) minority(t *testing.T) {
	leader, rest := leaderOf(t, c.nodes)
	few, many := rest[:2], append([]*lab.Node{leader}, rest[2:]...)
	left, right := doors(few, 60), doors(many, 60)
	var refused lab.Result
	var healed time.Duration
	under(t, c.Lab, slices.Concat(left, right), func() {
		c.split(few, many, wire.Rule{Cut: true})
		time.Sleep(6 * time.Second)
		refused = change(few[0], 2)
		if r := change(leader, 1); r.Code != 0 {
			t.Errorf("the majority cannot change the configuration: %s", r.Err)
		}
		time.Sleep(10 * time.Second)
		c.split(few, many, wire.Rule{})
		healed = c.agreed(t, 10*time.Second)
	})
	tell(t, left, c.where)
	tell(t, right, c.where)
	if refused.Code != 2 || !strings.Contains(refused.Err, "voters can be reached") {
		t.Errorf("the smaller side answers a change with exit %d: %s", refused.Code, refused.Err)
	}
	for _, f := range append(unserved(left, c.where, names(many)...), unserved(right, c.where, names(few)...)...) {
		t.Error(f)
	}
	lf, ls, ll := lostOf(left)
	rf, rs, rl := lostOf(right)
	measured(t, 14, "the smaller side lost %d of %d, the larger %d of %d, the last one due %.2f s after the cut; a change is refused: %q", lf, ls, rf, rs, max(ll, rl), strings.TrimSpace(refused.Err))
	measured(t, 18, "one leader, one index and five living members %.1f s after the cables were mended", healed.Seconds())
}

func names(nodes []*lab.Node) []string {
	var out []string
	for _, n := range nodes {
		out = append(out, n.Name)
	}
	return out
}

func (c *five) leaderCutOff(t *testing.T) {
	leader, rest := leaderOf(t, c.nodes)
	all := doors(c.nodes, 40)
	var first lab.Result
	var refusal, again time.Duration
	under(t, c.Lab, all, func() {
		c.split([]*lab.Node{leader}, rest, wire.Rule{Cut: true})
		begun := time.Now()
		again = changed(t, rest[0], 10*time.Second)
		refusal = lab.Eventually(t, 10*time.Second, func() error {
			if first = change(leader, 3); first.Code == 0 {
				t.Error("a leader that nobody hears took a change")
			}
			return nil
		})
		time.Sleep(max(0, 8*time.Second-time.Since(begun)))
		c.split([]*lab.Node{leader}, rest, wire.Rule{})
		c.agreed(t, 15*time.Second)
	})
	tell(t, all, c.where)
	f, s, last := lostOf(all)
	measured(t, 17, "the others took a change %.1f s after the cut; the old leader refused one within %.1f s: %q; %d of %d requests lost, the last one due %.2f s after the cut",
		again.Seconds(), refusal.Seconds(), strings.TrimSpace(first.Err), f, s, last)
}

// calm runs load while the network is as it is, and returns how often the leader changed and which states of members were seen.
func (c *five) calm(t *testing.T, streams []*stream, d time.Duration) (leaders int, states []string) {
	t.Helper()
	seen, last := make(map[string]bool), ""
	under(t, c.Lab, streams, func() {
		for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(500 * time.Millisecond) {
			for _, n := range c.nodes {
				s, err := n.Status()
				if err != nil {
					t.Error(err)
					continue
				}
				for _, m := range s.Members {
					seen[m.Status] = true
				}
				if s.Leader != "" && s.Leader != last {
					leaders++
					last = s.Leader
				}
			}
		}
	})
	for state := range seen {
		states = append(states, state)
	}
	slices.Sort(states)
	if seen["failed"] || seen["left"] {
		t.Error("a server was taken for dead")
	}
	return leaders - 1, states
}

func (c *five) loss(t *testing.T) {
	c.everywhere(wire.Rule{Loss: 0.05})
	s := doors(c.nodes[:3], 60)
	elections, states := c.calm(t, s, 30*time.Second)
	tell(t, s, c.where)
	f, n, _ := lostOf(s)
	if f > 0 {
		t.Errorf("%d of %d requests failed", f, n)
	}
	measured(t, 19, "at 5 %% %d of %d failed, members seen %v, the leader changed %d times", f, n, states, elections)
	c.everywhere(wire.Rule{Loss: 0.2})
	s = doors(c.nodes[:3], 60)
	elections, states = c.calm(t, s, 20*time.Second)
	tell(t, s, c.where)
	f, n, _ = lostOf(s)
	measured(t, 19, "at 20 %% %d of %d failed, members seen %v, the leader changed %d times", f, n, states, elections)
}

func (c *five) delay(t *testing.T) {
	c.everywhere(wire.Rule{Delay: 200 * time.Millisecond, Jitter: 10 * time.Millisecond})
	s := doors(c.nodes[:3], 60)
	elections, states := c.calm(t, s, 20*time.Second)
	tell(t, s, c.where)
	f, n, _ := lostOf(s)
	if elections > 0 {
		t.Errorf("the leader changed %d times", elections)
	}
	measured(t, 20, "%d of %d failed, members seen %v, the leader changed %d times", f, n, states, elections)
}

func (c *five) damage(t *testing.T) {
	c.everywhere(wire.Rule{Bad: wire.Damage{Twice: 0.05, Late: 0.05, Changed: 0.01}})
	s := doors(c.nodes[:3], 60)
	elections, states := c.calm(t, s, 20*time.Second)
	tell(t, s, c.where)
	f, n, _ := lostOf(s)
	if f > 0 {
		t.Errorf("%d of %d requests failed", f, n)
	}
	measured(t, 21, "5 %% doubled, 5 %% overtaken, 1 %% changed: %d of %d failed, members seen %v, the leader changed %d times", f, n, states, elections)
}

func (c *five) noUDP(t *testing.T) {
	c.split(c.nodes[:1], c.nodes[1:2], wire.Rule{NoUDP: true})
	s := doors(c.nodes[:2], 60)
	_, states := c.calm(t, s, 20*time.Second)
	f, n, _ := lostOf(s)
	if f > 0 {
		t.Errorf("%d of %d requests failed", f, n)
	}
	measured(t, 22, "%d of %d failed, members seen %v", f, n, states)
}

// leaderLost kills, stops and cuts off leaders, and measures when the configuration can be changed again.
func (c *five) leaderLost(t *testing.T) {
	by := make(map[string][]float64)
	for i := range 12 {
		leader, rest := leaderOf(t, c.nodes)
		how := []string{"killed", "stopped", "cut off"}[i%3]
		switch how {
		case "killed":
			leader.Kill()
		case "stopped":
			leader.SignalAll(syscall.SIGSTOP)
		case "cut off":
			leader.Host.Cut()
		}
		took := changed(t, rest[0], 15*time.Second).Seconds()
		by[how] = append(by[how], took)
		by["all"] = append(by["all"], took)
		switch how {
		case "killed":
			leader.Restart()
		case "stopped":
			leader.SignalAll(syscall.SIGCONT)
		case "cut off":
			leader.Host.Mend()
		}
		for _, n := range c.nodes {
			n.Voters(30*time.Second, 5, 5)
		}
	}
	slices.Sort(by["all"])
	median, worst := by["all"][len(by["all"])/2], slices.Max(by["all"])
	if median > 3 || worst > 6 {
		t.Errorf("median %.1f s, worst %.1f s", median, worst)
	}
	measured(t, 23, "12 times: median %.1f s, worst %.1f s (killed %.1f, stopped %.1f, cut off %.1f)", median, worst, by["killed"], by["stopped"], by["cut off"])
}
