package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// ready waits until the node sees that many ready workers.
func ready(t *testing.T, n *lab.Node, want int, limit time.Duration) time.Duration {
	t.Helper()
	return lab.Eventually(t, limit, func() error {
		ws, err := n.Workers()
		if err != nil {
			return err
		}
		got := 0
		for _, w := range ws {
			if w.Status == "ready" {
				got++
			}
		}
		if got != want {
			return fmt.Errorf("%d of %d workers ready", got, want)
		}
		return nil
	})
}

// memberStatus waits until node sees the member in that status.
func memberStatus(t *testing.T, n *lab.Node, member, want string, limit time.Duration) time.Duration {
	t.Helper()
	return lab.Eventually(t, limit, func() error {
		s, err := n.Status()
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.Node == member && m.Status == want {
				return nil
			}
		}
		return fmt.Errorf("%s does not see %s as %s: %+v", n.Name, member, want, s.Members)
	})
}

// kill -9 of one worker: only requests in flight on it fail, and another takes its place.
func TestKilledWorkerCostsOnlyWhatWasOnIt(t *testing.T) {
	l, nodes := three(t)
	ws, err := nodes[0].Workers()
	if err != nil {
		t.Fatal(err)
	}
	victim := pick(t, ws, "h1", "0")
	load := lab.StartLoad(300, []*http.Client{l.Client(true)}, []string{nodes[0].URL(3000, "/?ms=5")})
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 300) })
	if err := syscall.Kill(victim.PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	sent := load.Sent()
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+900) })
	total, failed, _ := load.Stop()
	// What can be in flight on one worker at 300/s and 5 ms over six workers is one or two; its window is four more.
	t.Logf("killed worker: %d of %d requests failed: %v", len(failed), total, failed)
	if len(failed) > 6 {
		t.Errorf("%d requests failed, more than can have been in flight on one worker", len(failed))
	}
	took := ready(t, nodes[1], 6, 10*time.Second)
	measured(t, 1, "%d of %d requests lost at 300/s, all workers ready again %.1f s later", len(failed), total, took.Seconds())
}

func pick(t *testing.T, ws []api.WorkerStatus, node, worker string) api.WorkerStatus {
	t.Helper()
	for _, w := range ws {
		if w.Node == node && w.Worker == worker {
			return w
		}
	}
	t.Fatalf("no worker %s on %s in %+v", worker, node, ws)
	return api.WorkerStatus{}
}

func atLeast(have, want int) error {
	if have < want {
		return fmt.Errorf("%d of %d", have, want)
	}
	return nil
}

// kill -9 of a node: connections to the others never fail but those that were under way on it, status tells the truth within 6 s, and the node comes back with its data folder
// and serves again without a command, with no worker of the old run beside the new ones.
func TestKilledNodeCostsTheOthersNothing(t *testing.T) {
	l, nodes := three(t)
	ws, err := nodes[0].Workers()
	if err != nil {
		t.Fatal(err)
	}
	old := pick(t, ws, "h3", "0").PID
	load := lab.StartLoad(200, []*http.Client{l.Client(true)}, []string{nodes[0].URL(3000, "/"), nodes[1].URL(3000, "/")})
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 200) })
	nodes[2].Kill()
	took := memberStatus(t, nodes[0], "h3", "failed", 6*time.Second)
	t.Logf("status says failed after %.1f s", took.Seconds())
	lab.Eventually(t, 5*time.Second, func() error { return gone(old) })
	nodes[2].Restart()
	back := ready(t, nodes[0], 6, 15*time.Second)
	t.Logf("all six workers are ready again %.1f s after the restart", back.Seconds())
	if a, err := lab.Get(l.Client(true), nodes[2].URL(3000, "/")); err != nil {
		t.Errorf("the node that came back does not serve: %v", err)
	} else {
		t.Logf("the node that came back serves: %+v", a)
	}
	lostAtMost(t, inFlight, "killed node, requests to the others", load)
}

// gone reports whether a process has ended.
func gone(pid int) error {
	if syscall.Kill(pid, 0) == nil {
		return fmt.Errorf("process %d lives", pid)
	}
	return nil
}

// kill -9 of the leader: the configuration can be written again within 6 s and traffic does not notice. Two of three gone: the last one still
// serves, and scale is refused with the reason.
func TestKilledLeaderAndLostQuorum(t *testing.T) {
	l, nodes := three(t)
	s, err := nodes[0].Status()
	if err != nil {
		t.Fatal(err)
	}
	leader := nodes[strings.IndexByte("123", s.Leader[1])]
	var rest []*lab.Node
	for _, n := range nodes {
		if n != leader {
			rest = append(rest, n)
		}
	}
	load := lab.StartLoad(200, []*http.Client{l.Client(true)}, []string{rest[0].URL(3000, "/"), rest[1].URL(3000, "/")})
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 200) })
	leader.Kill()
	took := lab.Eventually(t, 6*time.Second, func() error {
		if r := rest[0].Run("scale", "web", "3", "-detach"); r.Code != 0 {
			return fmt.Errorf("scale: exit %d: %s", r.Code, r.Err)
		}
		return nil
	})
	t.Logf("configuration written %.1f s after the leader's death", took.Seconds())
	ready(t, rest[0], 6, 20*time.Second)
	_, failed, _ := load.Stop()
	for _, f := range failed {
		t.Error("traffic noticed:", f)
	}
	rest[1].Kill()
	lab.Eventually(t, 6*time.Second, func() error {
		s, err := rest[0].Status()
		if err == nil && s.Quorum {
			err = fmt.Errorf("%s still believes in a quorum", rest[0].Name)
		}
		return err
	})
	if _, err := lab.Many(l.Client(true), rest[0].URL(3000, "/"), 100, 4); err != nil {
		t.Errorf("without quorum: %v", err)
	}
	r := rest[0].Run("scale", "web", "1")
	if r.Code != 2 || !strings.Contains(r.Err, "1 of 3 voters") {
		t.Errorf("scale without quorum: exit %d, %q; want 2 and the reason", r.Code, r.Err)
	}
	measured(t, 15, "100 of 100 requests served; a change: exit %d, %q", r.Code, strings.TrimSpace(r.Err))
	if st, err := rest[0].Status(); err != nil || st.Quorum || st.Leader != "" {
		t.Errorf("status without quorum: %+v, %v", st, err)
	}
	ready(t, rest[0], 3, 5*time.Second)
}
