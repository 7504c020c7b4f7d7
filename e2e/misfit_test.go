package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// TestWorkersThatMisbehave has one server run a good app, beside one that ends at once whenever it is started, one that does not end when it is told to,
// and one whose processes run away.
func TestWorkersThatMisbehave(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Host(1).Prepare()
	delegate(t, l, n)
	n.Restart()
	n.Voters(20*time.Second, 1, 1)
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	served := loadOn(t, 100, l, []*lab.Node{n})
	defer lost(t, "the good app", served)
	t.Run("crash loop", func(t *testing.T) { crashLoop(t, n) })
	for kind, row := range map[string]int{"deaf": 6, "daemons": 7} {
		t.Run(kind, func(t *testing.T) { endsWhole(t, l, n, kind, row) })
	}
}

// delegate has the node start in a control group of its own, as systemd gives it one: there even those are found who have left their process group and
// wiped their environment.
func delegate(t *testing.T, l *lab.Lab, n *lab.Node) {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	_, before, ok := strings.Cut(string(mounts), "cgroup2 ")
	if !ok || !l.Spaces() {
		t.Skip("needs cgroup v2, and the right to mount it")
	}
	root, _, _ := strings.Cut(before, " ")
	name := fmt.Sprintf("meshnode-e2e-%d", os.Getpid())
	t.Cleanup(func() {
		n.Kill()
		lab.Eventually(t, 5*time.Second, func() error { return removeGroup(filepath.Join(root, name)) })
	})
	script := filepath.Join(t.TempDir(), "node.sh")
	// The namespace of the host has a /sys of its own, with nothing mounted below.
	text := fmt.Sprintf("#!/bin/sh -e\nmount -t cgroup2 none /sys/fs/cgroup\nmkdir /sys/fs/cgroup/%[1]s\necho $$ >/sys/fs/cgroup/%[1]s/cgroup.procs\nexec %[2]s \"$@\"\n", name, lab.Binary(t))
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	n.Program = script
}

// removeGroup removes an empty control group with those below it.
func removeGroup(dir string) error {
	below, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range below {
		if e.IsDir() {
			_ = removeGroup(filepath.Join(dir, e.Name()))
		}
	}
	return os.Remove(dir)
}

// crashLoop counts what a worker costs that crashes again and again: the node's own processor time, and that of all workers that have ended.
func crashLoop(t *testing.T, n *lab.Node) {
	ended := func() time.Duration {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.PID()))
		if err != nil {
			t.Fatal(err)
		}
		f := strings.Fields(string(raw[strings.LastIndexByte(string(raw), ')')+1:]))
		user, _ := strconv.Atoi(f[13])
		system, _ := strconv.Atoi(f[14])
		return time.Duration(user+system) * 10 * time.Millisecond
	}
	calmNode, calmFrom := n.CPU(), time.Now()
	time.Sleep(10 * time.Second)
	calm := (n.CPU() - calmNode).Seconds() / time.Since(calmFrom).Seconds()
	node, workers, begun := n.CPU(), ended(), time.Now()
	if r := n.Run("start", "-n", "broken", "-i", "1", lab.App(t, "crash.js")); r.Code != 1 {
		t.Errorf("start of a script that crashes: exit %d, %s", r.Code, r.Err)
	}
	time.Sleep(time.Until(begun.Add(30 * time.Second)))
	took := time.Since(begun).Seconds()
	own, theirs := (n.CPU()-node).Seconds()/took-calm, (ended()-workers).Seconds()/took
	tries := strings.Count(n.Output(), "worker=broken/0")
	if share := own + theirs; share > 0.05 {
		t.Errorf("it took %.1f %% of a core", 100*share)
	}
	s, err := n.Status()
	if err != nil {
		t.Fatal(err)
	}
	measured(t, 4, "in %.0f s it was started %d times and took %.1f %% of a core, %.1f %% of it the node's own; status: %q", took, tries, 100*(own+theirs), 100*own, warningOf(s))
	n.Must("delete", "broken")
}

// endsWhole stops an app and looks for what its worker had started.
func endsWhole(t *testing.T, l *lab.Lab, n *lab.Node, kind string, row int) {
	const grace = 2 * time.Second
	n.Must("start", "-n", kind, "-i", "1", "-env", "KIND="+kind, "-kill-timeout", grace.String(), lab.App(t, "misfit.js"))
	all := startedBy(t, l, n)
	since := time.Now()
	n.Must("stop", kind)
	took := time.Since(since)
	for _, pid := range all {
		if err := gone(pid); err != nil {
			t.Error(err)
		}
	}
	said := n.Logged("worker did not end in time, killed", since)
	if kind == "deaf" && (said.IsZero() || took > grace+time.Second || took < grace) {
		t.Errorf("stop took %v, said at %v", took, said)
	}
	measured(t, row, "%d processes, %.1f s given to end: stopped after %.1f s, and %s", len(all), grace.Seconds(), took.Seconds(), left(all))
	n.Must("delete", kind)
}

func left(pids []int) string {
	k := 0
	for _, pid := range pids {
		if gone(pid) != nil {
			k++
		}
	}
	return fmt.Sprintf("%d of them are left", k)
}

// startedBy are the worker of misfit.js and what it has started, all of them alive.
func startedBy(t *testing.T, l *lab.Lab, n *lab.Node) []int {
	t.Helper()
	var all []int
	lab.Eventually(t, 10*time.Second, func() error {
		res, err := l.Client(true).Get(n.URL(4000, "/"))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		var a struct {
			PID  int   `json:"pid"`
			PIDs []int `json:"pids"`
		}
		if err := json.Unmarshal(raw, &a); err != nil || len(a.PIDs) < 2 {
			return fmt.Errorf("%s: %v", raw, err)
		}
		all = append(a.PIDs, a.PID)
		return nil
	})
	for _, pid := range all {
		if gone(pid) == nil {
			t.Errorf("the process %d ended by itself: the test shows nothing", pid)
		}
	}
	return all
}
