package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// TestServersOfDoubtfulIdentity has servers join that must not, or that come back otherwise than they went: a copied data folder, a name that is
// taken, another cluster under the same key, another address. A server that failed for good is taken out. The cluster goes on meanwhile.
func TestServersOfDoubtfulIdentity(t *testing.T) {
	l := lab.New(t, 5)
	join := l.Host(1).IP + ":7946"
	nodes := []*lab.Node{l.Host(1).Start("-join", join), l.Host(2).Start("-join", join), l.Host(3).Start("-join", join)}
	nodes[0].Voters(30*time.Second, 3, 3)
	before, err := nodes[0].Status()
	if err != nil {
		t.Fatal(err)
	}
	ends := func(t *testing.T, n *lab.Node, limit time.Duration, words ...string) (took time.Duration, line string) {
		t.Helper()
		begun := time.Now()
		code, out, err := n.Exited(limit)
		if err != nil {
			t.Fatal(err)
		}
		took = time.Since(begun)
		oneLine(t, code, out, words...)
		for _, s := range strings.Split(out, "\n") {
			if strings.HasPrefix(s, "meshnode: ") {
				line = s
			}
		}
		return took, line
	}
	t.Run("copied data folder", func(t *testing.T) {
		n := l.Host(4).Prepare("-join", join)
		for _, name := range []string{"identity.json", "cluster.key", "raft"} { // as it is on the disk of a server that runs
			if out, err := exec.Command("cp", "-a", filepath.Join(nodes[1].Dir, name), filepath.Join(mkdir(t, n.Dir), name)).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}
		n.Restart()
		took, line := ends(t, n, 5*time.Second, "is a copy", nodes[1].IP, "identity")
		measured(t, 30, "ended after %.1f s: %q", took.Seconds(), line)
		os.RemoveAll(n.Dir)
	})
	t.Run("taken name", func(t *testing.T) {
		n := l.Host(4).Start("-join", join, "-node", "h2")
		took, line := ends(t, n, 3*time.Second, "h2", nodes[1].IP, "-node")
		measured(t, 31, "ended after %.1f s: %q", took.Seconds(), line)
		os.RemoveAll(n.Dir)
	})
	t.Run("two clusters", func(t *testing.T) {
		lab.NeedNode(t)
		n := l.Host(5).Start()
		n.Voters(10*time.Second, 1, 1)
		n.Must("start", "-n", "own", "-i", "1", lab.App(t, "plain.js"), "-detach")
		if err := n.Stop(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		again := l.Host(5).Start("-join", join)
		lab.Eventually(t, 10*time.Second, func() error {
			if !strings.Contains(again.Output(), "belongs to another cluster") {
				return lab.ErrNone
			}
			return nil
		})
		if s, err := again.Status(); err != nil || len(s.Members) != 1 || len(s.Apps) != 1 {
			t.Errorf("the other cluster has become %+v, %v", s, err)
		}
		measured(t, 32, "both go on for themselves, and the one that was to join warns: %q", lineWith(again.Output(), "belongs to another cluster"))
		again.Kill()
		os.RemoveAll(again.Dir)
	})
	if full() {
		comeBack(t, l, nodes, join)
	}
	after, err := nodes[0].Status()
	if err != nil || after.Cluster != before.Cluster {
		t.Errorf("the cluster was %s and is %s, %v", before.Cluster, after.Cluster, err)
	}
}

// comeBack has the third server come back at another address, and taken out.
func comeBack(t *testing.T, l *lab.Lab, nodes []*lab.Node, join string) {
	t.Run("another address", func(t *testing.T) {
		if err := nodes[2].Stop(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		moved := l.Host(4).Prepare("-join", join, "-node", "h3", "-data-dir", nodes[2].Dir)
		moved.Restart()
		took := lab.Eventually(t, 10*time.Second, func() error {
			s, err := nodes[0].Status()
			if err != nil {
				return err
			}
			for _, m := range s.Members {
				if m.Node == "h3" && m.Status == "alive" && strings.HasPrefix(m.Addr, l.Host(4).IP) && m.Role == "voter" {
					return nil
				}
			}
			return fmt.Errorf("members %+v", s.Members)
		})
		measured(t, 53, "the same voter at its new address %.1f s after its start", took.Seconds())
		nodes[2] = moved
	})
	t.Run("force-leave", func(t *testing.T) {
		if r := nodes[0].Run("force-leave", "h3"); r.Code != 2 || !strings.Contains(r.Err, "is up") {
			t.Errorf("taking out a server that is up: exit %d, %s", r.Code, r.Err)
		}
		nodes[2].Kill()
		memberStatus(t, nodes[0], "h3", "failed", 6*time.Second)
		nodes[1].Must("force-leave", "h3")
		memberStatus(t, nodes[0], "h3", "left", 5*time.Second)
		nodes[0].Voters(10*time.Second, 2, 1)
		nodes[2].Restart()
		nodes[0].Voters(20*time.Second, 3, 3)
	})
}

// mkdir makes a folder and returns it.
func mkdir(t *testing.T, dir string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}

// lineWith is the first line that contains text, without its time.
func lineWith(out, text string) string {
	for _, s := range strings.Split(out, "\n") {
		if strings.Contains(s, text) {
			_, rest, _ := strings.Cut(s, " ")
			return strings.TrimSpace(rest)
		}
	}
	return ""
}
