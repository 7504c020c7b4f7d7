package e2e

import (
	"fmt"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// three starts three hosts with the plain app, two workers each, and waits until each knows that the others serve it: a load record is up to 100 ms
// old.
func three(t *testing.T) (*lab.Lab, []*lab.Node) {
	t.Helper()
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	nodes[1].Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	c := l.Client(true)
	for _, n := range nodes {
		lab.Eventually(t, 10*time.Second, func() error {
			by, err := lab.Many(c, n.URL(3000, "/?ms=20"), 24, 24)
			if err == nil && len(by) < 6 {
				err = fmt.Errorf("%s reaches %v", n.Name, by)
			}
			return err
		})
	}
	return l, nodes
}

// 300 new connections of 5 ms, eight at a time, to one host are all answered and reach all six workers. Then each policy is set in turn.
func TestEveryWorkerIsReachedThroughOneServer(t *testing.T) {
	l, nodes := three(t)
	by, err := lab.Many(l.Client(true), nodes[0].URL(3000, "/?ms=5"), 300, 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("300 connections: %v", by)
	if len(by) != 6 {
		t.Errorf("reached %d of 6 workers", len(by))
	}
	policiesHold(t, l, nodes)
}

// 64 connections at once, 200 ms each, one at a time per worker: done within 1.3 times the ideal 2.2 s. A worker with k of them needs
// k x 200 ms, so the bound is 14 on any worker; the time is printed.
func TestBurstIsSpreadEvenly(t *testing.T) {
	l, nodes := three(t)
	begun := time.Now()
	by, err := lab.Many(l.Client(true), nodes[0].URL(3000, "/one?ms=200"), 64, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("64 connections in %.2f s (ideal 2.2 s, bound 2.86 s): %v", time.Since(begun).Seconds(), by)
	for who, k := range by {
		if k > 14 {
			t.Errorf("%s had %d of 64, which takes %d ms", who, k, k*200)
		}
	}
}

// With every worker of the seed held by long requests, more than 80 % of the new connections to the seed are served by its peers; with all
// idle, fewer than one in ten is forwarded.
func TestBusyServerForwardsIdleServerDoesNot(t *testing.T) {
	l, nodes := three(t)
	c, url := l.Client(true), nodes[0].URL(3000, "")
	idle, err := lab.Many(c, url+"/?ms=5", 100, 1)
	if err != nil {
		t.Fatal(err)
	}
	away := 100 - idle["h1/0"] - idle["h1/1"]
	t.Logf("idle: %d of 100 forwarded", away)
	if away >= 10 {
		t.Errorf("idle: %d of 100 connections were forwarded, want fewer than 10", away)
	}
	held := make(map[string]func())
	lab.Eventually(t, 10*time.Second, func() error {
		a, end, err := lab.Hold(c, url+"/hold")
		if err != nil {
			return err
		}
		if held[a.Who()] != nil || a.Node != "h1" {
			end()
		} else {
			held[a.Who()] = end
		}
		if len(held) < 2 {
			return fmt.Errorf("%d of 2 workers of the seed are held", len(held))
		}
		return nil
	})
	time.Sleep(500 * time.Millisecond) // long requests have been going on for a while: that is what makes them long
	busy, err := lab.Many(c, url+"/?ms=5", 200, 4)
	if err != nil {
		t.Fatal(err)
	}
	why := nodes[0].Run("explain", "web").Out
	for _, end := range held {
		end()
	}
	local := busy["h1/0"] + busy["h1/1"]
	t.Logf("busy: %d of 200 served by peers", 200-local)
	if 200-local <= 160 {
		t.Errorf("busy: %d of 200 connections were served by peers, want more than 160: %v\n%s", 200-local, busy, why)
	}
}
