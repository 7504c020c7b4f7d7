package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// TestKeyRotationInterrupted kills the leader, which replaces the cluster key, at moments between the steps, with requests at the other servers; the next
// rotation goes on from there. At last one is forced past a server that is down, which is then admitted again.
func TestKeyRotationInterrupted(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "1", "-secret-env", "TOKEN=s3cret", lab.App(t, "plain.js"))
	ready(t, nodes[0], 3, 20*time.Second)
	l.Key = "" // each has its own from now on
	met := make(map[string]int)
	for i := range 8 { // each moment twice
		leader, others := leads(t, nodes)
		before := keyFile(leader, "cluster.key")
		requests := lab.StartLoad(100, []*http.Client{l.Client(true)}, []string{others[0].URL(3000, "/"), others[1].URL(3000, "/")})
		done := make(chan lab.Result, 1)
		go func() { done <- others[0].Run("key", "rotate") }()
		interruptAt(leader, others[0], before, i%4)
		leader.Kill()
		first := <-done
		met[between(leader, before)]++
		leader.Restart()
		others[0].Voters(30*time.Second, 3, 3)
		lab.Eventually(t, 30*time.Second, func() error {
			if r := others[1].Run("key", "rotate"); r.Code != 0 {
				return fmt.Errorf("exit %d: %s", r.Code, r.Err)
			}
			return nil
		})
		lostAtMost(t, inFlight, fmt.Sprintf("killed in rotation %d (exit %d)", i, first.Code), requests)
		settled(t, nodes, before)
		others[1].Must("reload", "web") // the secret is opened anew
	}
	measured(t, 59, "the leader killed during 8 rotations, with %v: the next one goes on, no server needs a hand", met)
	forced(t, l, nodes)
}

// interruptAt waits for a moment in a rotation: at once, when the new key is on the leader's disk, when another server uses it, when that has removed the
// old one. A rotation that is over before that is as good.
func interruptAt(leader, other *lab.Node, before string, moment int) {
	for end := time.Now().Add(3 * time.Second); time.Now().Before(end); {
		switch {
		case moment == 0,
			moment == 1 && keyFile(leader, "cluster.key.next") != "",
			moment == 2 && strings.Contains(keyFile(other, "cluster.key.next"), "using"),
			moment == 3 && keyFile(other, "cluster.key") != before:
			return
		}
		time.Sleep(time.Millisecond / 4)
	}
}

// between says what a rotation has left on a server's disk.
func between(n *lab.Node, before string) string {
	next := keyFile(n, "cluster.key.next")
	switch {
	case keyFile(n, "cluster.key") != before:
		return "the old key removed"
	case strings.Contains(next, "using"):
		return "the new key in use"
	case next != "":
		return "the new key installed"
	}
	return "nothing begun"
}

func keyFile(n *lab.Node, name string) string {
	raw, err := os.ReadFile(filepath.Join(n.Dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err.Error()
	}
	return string(raw)
}

// settled checks that all have one key, another than before, and nothing is left of the way there.
func settled(t *testing.T, nodes []*lab.Node, before string) {
	t.Helper()
	for _, n := range nodes {
		if key := keyFile(n, "cluster.key"); key == before || key != keyFile(nodes[0], "cluster.key") || keyFile(n, "cluster.key.next") != "" {
			t.Errorf("%s has not the new key, or not it alone", n.Name)
		}
	}
}

// forced replaces the key past a server that is down, and does with that what its line says.
func forced(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	t.Helper()
	_, others := leads(t, nodes)
	down := others[1]
	before := keyFile(down, "cluster.key")
	down.Kill()
	left := []*lab.Node{}
	for _, n := range nodes {
		if n != down {
			left = append(left, n)
		}
	}
	memberStatus(t, left[0], down.Name, "failed", 15*time.Second)
	r := left[0].Must("key", "rotate", "-force")
	if !strings.Contains(r.Out, "to be admitted again: "+down.Name) {
		t.Errorf("key rotate -force: %s", r.Out)
	}
	settled(t, left, before)
	down.Restart()
	lab.Eventually(t, 20*time.Second, func() error { // it serves its own clients, and says why it is alone
		if _, err := lab.Get(l.Client(true), down.URL(3000, "/")); err != nil {
			return err
		}
		if out := down.Output(); !strings.Contains(out, "another cluster key") {
			return errors.New("it does not say that its key is another one")
		}
		return nil
	})
	if s, err := left[0].Status(); err != nil || !s.Quorum {
		t.Errorf("the others: %+v, %v", s, err)
	}
	down.Kill()
	for _, name := range []string{"cluster.key", "cluster.key.next", "cluster.key.former"} {
		_ = os.Remove(filepath.Join(down.Dir, name))
	}
	back := l.Host(int(down.Name[1]-'0')).Start("-join", left[0].IP+":7946")
	left[0].Must("admit", newCode(t, back, ""))
	left[0].Voters(30*time.Second, 3, 3)
	settled(t, nodes, before)
	if _, err := lab.Get(l.Client(true), back.URL(3000, "/")); err != nil {
		t.Error(err)
	}
	measured(t, 59, "with -force past a server that is down: done on the others; it serves alone and says why, and is a voter again once admitted")
}
