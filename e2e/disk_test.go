package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// TestDisks has the disks of a cluster of three be slow, full, cut off from power, damaged and emptied.
func TestDisks(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 3)
	join := l.Host(1).IP + ":7946"
	var nodes []*lab.Node
	for i := range 3 {
		n := l.Host(i+1).Prepare("-join", join)
		mkdir(t, n.Dir)
		if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=16m,mode=700", "meshnode-test", n.Dir).CombinedOutput(); err != nil {
			t.Skipf("no right to mount: %v: %s", err, out)
		}
		t.Cleanup(func() { // runs before the lab is removed, whose nodes hold the folder
			n.Kill()
			lab.Eventually(t, 10*time.Second, func() error { return exec.Command("umount", n.Dir).Run() })
		})
		n.Restart()
		nodes = append(nodes, n)
	}
	nodes[0].Voters(30*time.Second, 3, 3)
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, nodes[0], 3, 20*time.Second)
	t.Run("slow", func(t *testing.T) { slowDisk(t, nodes) })
	t.Run("full", func(t *testing.T) { fullDisk(t, l, nodes) })
	t.Run("sick", func(t *testing.T) { sickDisk(t, l, nodes) })
	t.Run("damaged", func(t *testing.T) { damagedLog(t, nodes) })
	t.Run("wiped", func(t *testing.T) { wipedDisk(t, nodes) })
}

// leads returns who leads and who does not.
func leads(t *testing.T, nodes []*lab.Node) (leader *lab.Node, others []*lab.Node) {
	t.Helper()
	lab.Eventually(t, 20*time.Second, func() error {
		leader, others = nil, nil
		for _, n := range nodes {
			s, err := n.Status()
			if err != nil {
				return err
			}
			if s.Leader == n.Name {
				leader = n
			} else {
				others = append(others, n)
			}
		}
		if leader == nil || len(others) != len(nodes)-1 {
			return lab.ErrNone
		}
		return nil
	})
	return leader, others
}

func slowDisk(t *testing.T, nodes []*lab.Node) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	leader, others := leads(t, nodes)
	trace := exec.Command("strace", "-f", "-qq", "-p", strconv.Itoa(leader.Inner()), "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:delay_exit=1500000")
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = trace.Process.Signal(syscall.SIGINT)
		_ = trace.Wait()
	}()
	lab.Eventually(t, 5*time.Second, func() error { return traced(leader.Inner()) })
	begun := time.Now()
	lab.Eventually(t, 30*time.Second, func() error {
		_ = change(others[0], 1)
		s, err := others[0].Status()
		if err == nil && (s.Leader == leader.Name || s.Leader == "") {
			err = lab.ErrNone
		}
		return err
	})
	moved := time.Since(begun)
	write := time.Now()
	if r := change(others[0], 1); r.Code != 0 {
		t.Errorf("a change after that: %s", r.Err)
	}
	if moved > 15*time.Second {
		t.Errorf("it took %v", moved)
	}
	s, err := others[0].Status()
	warned := err == nil && strings.Contains(fmt.Sprint(s.Warnings), "slow")
	measured(t, 24, "fsync takes 1.5 s: another leads after %.1f s, the next change takes %.1f s; status warns: %v", moved.Seconds(), time.Since(write).Seconds(), warned)
}

// traced reports whether a process is being traced.
func traced(pid int) error {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err == nil && strings.Contains(string(raw), "TracerPid:\t0\n") {
		err = lab.ErrNone
	}
	return err
}

func fullDisk(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	for _, who := range []string{"a follower", "the leader"} {
		leader, others := leads(t, nodes)
		victim := leader
		if who == "a follower" {
			victim = others[0]
		}
		asked := others[1]
		fill := filepath.Join(victim.Dir, "fill")
		_ = exec.Command("dd", "if=/dev/zero", "of="+fill, "bs=4k").Run() // ends when the disk is full
		var gap time.Duration
		var acked int
		for i := range 10 {
			gap = max(gap, lab.Eventually(t, 30*time.Second, func() error {
				if r := change(asked, 1+i%2); r.Code != 0 {
					return fmt.Errorf("exit %d: %s", r.Code, r.Err)
				}
				return nil
			}))
			acked = 1 + i%2
		}
		if _, err := lab.Get(l.Client(true), victim.URL(3000, "/")); err != nil {
			t.Errorf("a server whose disk is full does not serve: %v", err)
		}
		said := ""
		if s, err := asked.Status(); err == nil && len(s.Warnings) > 0 {
			said = s.Warnings[0].What
		}
		if err := os.Remove(fill); err != nil {
			t.Fatal(err)
		}
		healed := lab.Eventually(t, 30*time.Second, func() error {
			seen := make(map[uint64]bool)
			for _, n := range nodes {
				s, err := n.Status()
				if err != nil {
					return err
				}
				for _, m := range s.Members {
					seen[m.AppliedIndex] = true
				}
			}
			if len(seen) != 1 {
				return fmt.Errorf("indexes %v", seen)
			}
			return nil
		})
		ready(t, asked, 3*acked, 20*time.Second)
		if gap > 6*time.Second {
			t.Errorf("%s: a change took %v", who, gap)
		}
		measured(t, 25, "at %s: the longest of 10 changes took %.1f s, all are there; status: %q; level again %.1f s after there was room", who, gap.Seconds(), said, healed.Seconds())
	}
}

func damagedLog(t *testing.T, nodes []*lab.Node) {
	_, others := leads(t, nodes)
	n := others[0]
	remedy := ""
	for _, what := range []string{"cut short", "emptied", "bytes changed"} {
		n.Kill()
		path := filepath.Join(n.Dir, "raft", "raft.db")
		good, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		bad := good[:2*4096] // what bolt begins with, and nothing of the log
		switch what {
		case "emptied":
			bad = nil
		case "bytes changed":
			bad = []byte(strings.ReplaceAll(string(good), "plain.js", "plein.js"))
		}
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		n.Restart()
		code, out, err := n.Exited(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		said := lineWith(out[strings.LastIndex(out, "meshnode: "):], "meshnode: ")
		if code != 1 || !strings.Contains(said, "raft") || !strings.Contains(said, "mv "+filepath.Join(n.Dir, "raft")) {
			t.Errorf("%s: exit %d: %s", what, code, out)
		}
		_, remedy, _ = strings.Cut(said, "must not go on with it: ")
		measured(t, 28, "log %s: ended after %.1f s: %q", what, time.Since(begun).Seconds(), said)
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	remedy, _, _ = strings.Cut(remedy, ", then start it")
	if out, err := exec.Command("sh", "-c", remedy).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", remedy, err, out)
	}
	n.Restart()
	took := n.Voters(30*time.Second, 3, 3)
	measured(t, 28, "a new voter %.1f s after its start, by the commands that it had printed", took.Seconds())
}

func wipedDisk(t *testing.T, nodes []*lab.Node) {
	_, others := leads(t, nodes)
	n := others[0]
	n.Kill()
	files, err := os.ReadDir(n.Dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := os.RemoveAll(filepath.Join(n.Dir, f.Name())); err != nil {
			t.Fatal(err)
		}
	}
	n.Restart()
	took := n.Voters(30*time.Second, 3, 3)
	measured(t, 29, "a new voter %.1f s after the start", took.Seconds())
}
