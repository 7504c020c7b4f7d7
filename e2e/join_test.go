package e2e

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// The three nodes started in any order, seconds apart, with the same command line, form one cluster. The quick test tries a few times;
// MESHNODE_E2E_JOINS=20 tries twenty.
func TestAnyOrderOneCluster(t *testing.T) {
	tries := 4
	if n, err := strconv.Atoi(os.Getenv("MESHNODE_E2E_JOINS")); err == nil {
		tries = n
	}
	for i := range tries {
		t.Run(fmt.Sprintf("try %d", i+1), func(t *testing.T) {
			t.Parallel()
			l := lab.New(t, 3)
			join := l.Host(1).IP + ":7946"
			if l.Spaces() {
				join = "seed" // by name, with the default port
			}
			order := rand.Perm(3)
			nodes := make([]*lab.Node, 3)
			for i := range 3 {
				nodes[i] = l.Host(i+1).Prepare("-join", join)
			}
			var wg sync.WaitGroup
			pause := time.Duration(0)
			for _, i := range order {
				at := pause
				wg.Go(func() {
					time.Sleep(at) // the promise is about nodes that start seconds apart
					nodes[i].Restart()
				})
				pause += time.Duration(rand.IntN(2500)) * time.Millisecond
			}
			wg.Wait()
			took := nodes[0].Voters(30*time.Second, 3, 3)
			ids := map[string]bool{}
			for _, n := range nodes {
				s, err := n.Status()
				if err != nil {
					t.Fatal(err)
				}
				ids[s.Cluster] = true
			}
			if len(ids) != 1 {
				t.Fatalf("order %v: clusters %v", order, ids)
			}
			t.Logf("order %v, over %s: one cluster of three voters %.1f s later", order, pause.Round(time.Millisecond), took.Seconds())
		})
	}
}

// A fourth server started with the same line serves within 5 s of its start, no other command given.
func TestFourthServerServes(t *testing.T) {
	l, nodes := three(t)
	begun := time.Now()
	h := l.AddHost()
	h.Start("-join", l.Host(1).IP+":7946")
	c := l.Client(true)
	lab.Eventually(t, 5*time.Second, func() error {
		a, err := lab.Get(c, h.URL(3000, "/"))
		if err == nil && a.Node != h.Name {
			return fmt.Errorf("served by %s", a.Who())
		}
		return err
	})
	t.Logf("the fourth server serves with a worker of its own %.1f s after its start", time.Since(begun).Seconds())
	ready(t, nodes[0], 8, 10*time.Second)
}

// A seed whose disk was wiped joins its cluster again and does not found another.
func TestWipedSeedJoinsAgain(t *testing.T) {
	l, nodes := three(t)
	s, err := nodes[1].Status()
	if err != nil {
		t.Fatal(err)
	}
	nodes[0].Kill()
	if err := os.RemoveAll(nodes[0].Dir); err != nil {
		t.Fatal(err)
	}
	nodes[0].Restart()
	took := lab.Eventually(t, 30*time.Second, func() error {
		after, err := nodes[0].Status()
		if err != nil {
			return err
		}
		if after.Cluster != s.Cluster || len(after.Apps) != 1 {
			return fmt.Errorf("cluster %q with %d apps, want %q with 1", after.Cluster, len(after.Apps), s.Cluster)
		}
		return nil
	})
	t.Logf("the wiped seed is back in its cluster after %.1f s", took.Seconds())
	ready(t, nodes[1], 6, 20*time.Second)
	nodes[1].Voters(30*time.Second, 3, 3)
	if _, err := lab.Get(l.Client(true), nodes[0].URL(3000, "/")); err != nil {
		t.Error(err)
	}
}
