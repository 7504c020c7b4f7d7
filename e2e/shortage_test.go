package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/e2e/lab"
)

// TestDiskFullOfLogs has a worker print more than the disk of the logs can take, and then others fill what is left of that disk.
func TestDiskFullOfLogs(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Host(1).Prepare("-join", l.Host(1).IP+":7946")
	logs := filepath.Join(n.Dir, "logs")
	l.MountMemory(logs, 16)
	n.Restart()
	n.Voters(20*time.Second, 1, 1)
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "talk.js"))
	ready(t, n, 2, 20*time.Second)
	before := pids(t, n)
	load := lab.StartLoad(100, []*http.Client{l.Client(true)}, []string{n.URL(3000, "/")})
	talk := func(path string) { // both workers hear of it
		for range 20 {
			if _, err := lab.Get(l.Client(true), n.URL(3000, path)); err != nil {
				t.Fatal(err)
			}
		}
	}
	talk("/?kb=2000")
	most := 0.0
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		most = max(most, usedOf(t, logs))
	}
	newest := age(t, n)
	talk("/?kb=0")
	n.Must("flush", "web") // else its own older files make room for the next ones
	fill := filepath.Join(logs, "fill")
	_ = exec.Command("dd", "if=/dev/zero", "of="+fill, "bs=4k").Run() // ends when the disk is full
	talk("/?kb=2000")
	said := ""
	lab.Eventually(t, 10*time.Second, func() error {
		s, err := n.Status()
		if said = warningWith(s, "output"); err == nil && said == "" {
			err = fmt.Errorf("status says %v", s.Warnings)
		}
		return err
	})
	time.Sleep(3 * time.Second)
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	healed := lab.Eventually(t, 20*time.Second, func() error {
		s, err := n.Status()
		if err == nil && len(s.Warnings) > 0 {
			err = fmt.Errorf("status says %v", s.Warnings)
		}
		return err
	})
	after := age(t, n)
	sent, failed, _ := load.Stop()
	for i, f := range failed {
		if i < 10 {
			t.Error(f)
		}
	}
	if now := pids(t, n); len(now) != 2 || !same(before, now) {
		t.Errorf("the workers were %v and are %v", before, now)
	}
	if newest > 2*time.Second || after > 2*time.Second || most > 0.9 {
		t.Errorf("the last line is %v old, after it was full %v; at most %.0f %% of the disk were in use", newest, after, 100*most)
	}
	measured(t, 26, "2 workers that print 4 MB/s, on a disk of 16 MB: at most %.0f %% of it in use; full by others: status says %q, stored again %.1f s after there was room; %d of %d requests failed, the same workers",
		100*most, said, healed.Seconds(), len(failed), sent)
}

// usedOf is how much of a disk is in use, in [0,1].
func usedOf(t *testing.T, dir string) float64 {
	t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	return 1 - float64(s.Bavail)/float64(s.Blocks)
}

// age is how old the last line is that is in the logs of an app that prints all the time.
func age(t *testing.T, n *lab.Node) time.Duration {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(n.Dir, "logs", "web", "*-out.log"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no logs: %v", err)
	}
	var newest time.Time
	for _, name := range files {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for line := range bytes.Lines(raw) {
			stamp, _, _ := strings.Cut(string(line), " ")
			if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil && at.After(newest) {
				newest = at
			}
		}
	}
	return time.Since(newest)
}

func same(a, b map[int]bool) bool {
	for pid := range a {
		if !b[pid] {
			return false
		}
	}
	return len(a) == len(b)
}

// memoryLimit puts a node with all its processes, and those that it will start, under a limit of memory.
func memoryLimit(t *testing.T, n *lab.Node, megabytes int) {
	t.Helper()
	group := fmt.Sprintf("/sys/fs/cgroup/memory/meshnode-test-%d", os.Getpid())
	if err := os.Mkdir(group, 0o755); err != nil {
		t.Skipf("no control group for memory: %v", err)
	}
	t.Cleanup(func() { // runs before the lab is removed
		n.Kill()
		lab.Eventually(t, 10*time.Second, func() error { return os.Remove(group) })
	})
	write := func(file, text string) {
		if err := os.WriteFile(filepath.Join(group, file), []byte(text), 0o644); err != nil {
			t.Skipf("no control group for memory: %v", err)
		}
	}
	write("memory.limit_in_bytes", strconv.Itoa(megabytes<<20))
	for _, pid := range n.Processes() {
		write("cgroup.procs", strconv.Itoa(pid))
	}
}

// score is what the kernel goes by when memory has run out: the highest goes first.
func score(t *testing.T, pid int) int {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score", pid))
	if err != nil {
		t.Fatal(err)
	}
	k, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// TestMemoryRunsOut has the memory of a server run out: the kernel ends a worker, and neither the node nor its keeper.
func TestMemoryRunsOut(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	memoryLimit(t, n, 350)
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "life.js"))
	ready(t, n, 2, 20*time.Second)
	keeper, inner, before := n.PID(), n.Inner(), pids(t, n)
	for pid := range before {
		if w, k := score(t, pid), max(score(t, keeper), score(t, inner)); w < k+200 {
			t.Errorf("a worker's score is %d, and the node's is %d", w, k)
		}
	}
	load := lab.StartLoad(100, []*http.Client{l.Client(true)}, []string{n.URL(3000, "/")})
	said := ""
	lab.Eventually(t, 30*time.Second, func() error {
		_, _ = lab.Get(l.Client(true), n.URL(3000, "/eat?mb=20")) // its connection may end with the worker
		said = lineWith(n.Must("describe", "web").Out, "out of memory")
		if said == "" {
			return fmt.Errorf("describe says:\n%s", n.Must("describe", "web").Out)
		}
		return nil
	})
	begun := time.Now()
	ready(t, n, 2, 10*time.Second)
	back := time.Since(begun)
	sent, failed, _ := load.Stop()
	if n.PID() != keeper || n.Inner() != inner {
		t.Errorf("keeper and node were %d and %d, and are %d and %d", keeper, inner, n.PID(), n.Inner())
	}
	for _, f := range failed {
		if !strings.Contains(f, "EOF") && !strings.Contains(f, "reset") {
			t.Error(f)
		}
	}
	measured(t, 51, "server with 350 MB, two workers that grow: a worker is killed, keeper and node stay; describe: %q; both workers ready %.1f s later; %d of %d requests lost, with the worker that had them", said, back.Seconds(), len(failed), sent)
}
