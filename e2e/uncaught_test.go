package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// wrapper is a Node.js program that runs another one, as npm start does.
const wrapper = `const { spawn } = require('child_process');
const child = spawn(%q, %s, { stdio: 'inherit' });
child.on('exit', (code) => process.exit(code === null ? 1 : code));
process.on('SIGTERM', () => child.kill());
`

// script writes a Node.js program and returns its path.
func script(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// warned waits until status and describe say something of the app.
func warned(t *testing.T, n *lab.Node, app, what string) {
	t.Helper()
	lab.Eventually(t, 20*time.Second, func() error {
		if r := n.Must("describe", app); !strings.Contains(r.Out, what) {
			return fmt.Errorf("describe does not say %q:\n%s", what, r.Out)
		}
		if r := n.Must("status"); !strings.Contains(r.Out, what) {
			return fmt.Errorf("status does not say %q:\n%s", what, r.Out)
		}
		return nil
	})
}

// A Node.js program that starts a server which is none, and takes PORT: its workers run in mode port behind the address that the first one had
// opened, with a warning, and are reloaded without a loss.
func TestUncaughtProgramRunsInModePort(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	n := nodes[0]
	n.Must("start", "-i", "2", script(t, "web.js", fmt.Sprintf(wrapper, goProgram(t), "[]")))
	warned(t, n, "web", "web listens on :8000 by itself on h1, past meshnode: it runs in mode port there")
	c := l.Client(true)
	for _, n := range nodes {
		lab.Eventually(t, 30*time.Second, func() error {
			by, err := lab.Many(c, n.URL(8000, "/?ms=5"), 40, 8)
			if err == nil && (by[n.Name+"/0"] == 0 || by[n.Name+"/1"] == 0) {
				err = fmt.Errorf("reached %v, want both workers of %s", by, n.Name)
			}
			return err
		})
	}
	ready(t, n, 4, 20*time.Second)
	before := pids(t, n)
	load := startLoad(t, c, n.URL(8000, "/?ms=5"))
	n.Must("reload", "web")
	lab.Eventually(t, 60*time.Second, func() error { return replaced(before, pids(t, n)) })
	total, failed, served := load.Stop()
	t.Logf("reload: %d of %d requests lost, by %v", len(failed), total, served)
	for _, f := range failed {
		t.Error(f)
	}
	if err := n.Stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	n.Restart() // its port is known now, and open: a worker finds it taken by the node itself
	ready(t, nodes[1], 4, 30*time.Second)
	if by, err := lab.Many(c, n.URL(8000, "/"), 20, 4); err != nil || len(by) < 2 {
		t.Errorf("after a restart of the node: %v, %v", by, err)
	}
}

// One that ignores PORT cannot run twice: exactly one worker goes on, the other slot stays empty, and the warning says so. Reload replaces it
// stop-first, and what it was scaled down to goes on.
func TestUncaughtProgramThatIgnoresPortRunsOnce(t *testing.T) {
	lab.NeedNode(t)
	python := "/usr/bin/python3"
	if _, err := os.Stat(python); err != nil {
		t.Skip("no python3: apt-get install --no-install-recommends python3")
	}
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	serve := fmt.Sprintf(`['-c', %q]`, "exec "+python+" -u -m http.server 8000")
	r := n.Must("start", "-i", "2", script(t, "files.js", fmt.Sprintf(wrapper, "sh", serve)))
	t.Log(strings.TrimSpace(r.Out))
	warned(t, n, "files", "files listens on :8000 by itself on h1, past meshnode, and ignores PORT: only one worker of it can run there")
	get := func() error {
		res, err := l.Client(true).Get(n.URL(8000, "/"))
		if err != nil {
			return err
		}
		defer res.Body.Close()
		_, err = io.Copy(io.Discard, res.Body)
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("status %d", res.StatusCode)
		}
		return err
	}
	one := func() api.WorkerStatus {
		t.Helper()
		var up api.WorkerStatus
		lab.Eventually(t, 30*time.Second, func() error {
			ws, err := n.Workers()
			if err != nil {
				return err
			}
			states := map[string]int{}
			for _, w := range ws {
				if states[w.Status]++; w.Status == "ready" {
					up = w
				}
			}
			if states["ready"] != 1 || states["ready"]+states["stopped"] != len(ws) {
				return fmt.Errorf("workers are %v, want one ready and the others stopped", states)
			}
			return get()
		})
		return up
	}
	first := one()
	n.Must("reload", "files")
	second := one()
	if second.PID == first.PID {
		t.Error("reload kept the process")
	}
	n.Must("scale", "files", "1")
	third := one()
	t.Logf("worker %s, then %s, then %s; restarts %d", first.Worker, second.Worker, third.Worker, third.Restarts)
	n.Must("stop", "files")
	if get() == nil {
		t.Error("it serves after the stop")
	}
}

// A lone worker that listens by itself serves on, and is spoken of.
func TestUncaughtSingleWorkerIsSpokenOf(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	n.Must("start", "-i", "1", script(t, "solo.js", fmt.Sprintf(wrapper, goProgram(t), "[]")))
	warned(t, n, "solo", "solo listens on :8000 by itself on h1, past meshnode: its connections are not balanced")
	if _, err := lab.Many(l.Client(true), n.URL(8000, "/"), 5, 1); err != nil {
		t.Error(err)
	}
	n.Must("reload", "solo")
	warned(t, n, "solo", "it runs in mode port there")
	lab.Eventually(t, 20*time.Second, func() error { _, err := lab.Many(l.Client(true), n.URL(8000, "/"), 5, 1); return err })
}
