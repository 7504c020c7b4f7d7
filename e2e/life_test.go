package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// living is a node with two workers of an app that can go wrong, started from a file with these further keys.
func living(t *testing.T, keys string) (*lab.Lab, *lab.Node) {
	t.Helper()
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	file := filepath.Join(t.TempDir(), "ecosystem.config.js")
	text := fmt.Sprintf("module.exports = { apps: [{ name: 'web', script: %q, instances: 2, %s }] };\n", lab.App(t, "life.js"), keys)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	n.Must("start", file)
	return l, n
}

// report fails the test for every request that was lost.
func report(t *testing.T, what string, load *lab.Load) {
	t.Helper()
	total, failed, served := load.Stop()
	t.Logf("%s: %d of %d requests lost; served by %d workers", what, len(failed), total, len(served))
	for i, f := range failed {
		if t.Error(f); i == 10 {
			break
		}
	}
}

// A worker in an endless loop is out of the routing in 3 s, and replaced. From then on no request is lost; only those that it had are.
func TestEndlessLoop(t *testing.T) {
	l, n := living(t, "health: { hang: '6s' }")
	fresh := l.Client(true)
	hung, err := lab.Get(fresh, n.URL(3000, "/"))
	if err != nil {
		t.Fatal(err)
	}
	before := pids(t, n)
	early := lab.StartLoad(100, []*http.Client{fresh}, []string{n.URL(3000, "/")})
	stuck := make(chan time.Duration, 1)
	begun := time.Now()
	go func() {
		_, _ = lab.Get(l.Client(true), n.URL(3000, "/loop")) // its connection ends with the worker
		stuck <- time.Since(begun)
	}()
	lab.Eventually(t, 20*time.Second, func() error {
		if !strings.Contains(n.Output(), "worker gets no connections") {
			return fmt.Errorf("the hung worker is in the routing")
		}
		return nil
	})
	out := time.Since(begun)
	load := lab.StartLoad(200, []*http.Client{fresh}, []string{n.URL(3000, "/")})
	lab.Eventually(t, 20*time.Second, func() error {
		now := pids(t, n)
		if err := replaced(before, now); err != nil {
			return err
		}
		if len(now) != 2 || now[0] {
			return fmt.Errorf("workers %v", now)
		}
		for pid := range now {
			if !before[pid] {
				return nil
			}
		}
		return fmt.Errorf("the workers are still %v", now)
	})
	took := time.Since(begun)
	sent := load.Sent()
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+100) })
	report(t, "after the detection", load)
	total, failed, _ := early.Stop()
	t.Logf("first worker asked %d; out of the routing after %.1f s, replaced after %.1f s, its request ended after %.1f s; %d of %d requests before were lost",
		hung.PID, out.Seconds(), took.Seconds(), (<-stuck).Seconds(), len(failed), total)
	measured(t, 2, "endless loop: out of the choice after %.1f s, replaced after %.1f s, nothing lost after that, %d of %d before", out.Seconds(), took.Seconds(), len(failed), total)
	for _, f := range failed {
		if !strings.Contains(f, "EOF") && !strings.Contains(f, "reset") {
			t.Error(f)
		}
	}
}

// A worker that grew, and all workers when their time has come, are replaced under load, and no request is lost.
func TestMemoryAndCronRestart(t *testing.T) {
	for name, c := range map[string]struct {
		keys string
		path string
	}{
		"memory": {"max_memory_restart: '200M'", "/eat?mb=250"},
		"cron":   {"cron_restart: '*/3 * * * * *'", "/"},
	} {
		t.Run(name, func(t *testing.T) {
			l, n := living(t, c.keys)
			before := pids(t, n)
			load := lab.StartLoad(200, []*http.Client{l.Client(true), l.Client(false)}, []string{n.URL(3000, "/")})
			if _, err := lab.Get(l.Client(true), n.URL(3000, c.path)); err != nil {
				t.Fatal(err)
			}
			lab.Eventually(t, 25*time.Second, func() error {
				now := pids(t, n)
				gone := 0
				for pid := range before {
					if !now[pid] {
						gone++
					}
				}
				if gone < 1 || name == "cron" && gone < 2 {
					return fmt.Errorf("the workers were %v and are %v", before, now)
				}
				return replaced(before, now)
			})
			sent := load.Sent()
			lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+200) })
			report(t, name, load)
			if name == "memory" {
				measured(t, 3, "a worker of 250 MB with a limit of 200 MB: replaced, nothing lost at 200/s")
			}
		})
	}
}

// A worker of another user finds what it needs of the node: the preload, and the rendezvous that a program behind a launcher asks at.
func TestWorkerOfAnotherUser(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root starts workers as another user")
	}
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	for dir := filepath.Dir(n.Dir); dir != "/" && dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil { // the test's own; a server's are open so far
			t.Fatal(err)
		}
	}
	dir := filepath.Join(filepath.Dir(n.Dir), "app")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(lab.App(t, "life.js"))
	if err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "life.js")
	if err := os.WriteFile(script, text, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, command := range map[string][]string{"direct": {script}, "launcher": {"-mode", "cluster", "sh", "--", "-c", "node " + script + "; true"}} {
		t.Run(name, func(t *testing.T) {
			n.Must("start", append([]string{"-n", name, "-i", "2", "-user", "nobody"}, command...)...)
			a, err := lab.Get(l.Client(true), n.URL(3000, "/"))
			if err != nil {
				t.Fatal(err)
			}
			status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.PID))
			if err != nil || strings.Contains(string(status), "\nUid:\t0") {
				t.Errorf("the worker runs as root: %v", err)
			}
			if !strings.Contains(string(status), "\nNoNewPrivs:\t1\n") {
				t.Error("the worker may gain privileges by a setuid program")
			}
			n.Must("delete", name)
		})
	}
}
