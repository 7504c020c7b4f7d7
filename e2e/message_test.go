package e2e

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// oneLine checks that a node or verb ended with code and one error line that holds all the words.
func oneLine(t *testing.T, code int, out string, words ...string) {
	t.Helper()
	var errs []string
	for _, l := range strings.Split(strings.TrimSpace(out), "\n") {
		if strings.HasPrefix(l, "meshnode: ") {
			errs = append(errs, l)
		}
	}
	if code != 1 || len(errs) != 1 {
		t.Errorf("exit %d with %d error lines, want 1 and 1:\n%s", code, len(errs), out)
	}
	for _, w := range words {
		if !strings.Contains(out, w) {
			t.Errorf("%q is not in:\n%s", w, out)
		}
	}
	t.Log(strings.Join(errs, "\n"))
}

// Mistakes at the start of a node: one clear line that names the remedy, and nothing else is disturbed.
func TestStartMistakes(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	first := l.Host(1).Start()
	first.Voters(10*time.Second, 1, 1)
	join := l.Host(1).IP + ":7946"
	other, err := exec.Command(lab.Binary(t), "keygen").Output()
	if err != nil {
		t.Fatal(err)
	}
	key := l.Key

	t.Run("wrong key", func(t *testing.T) {
		l.Key = strings.TrimSpace(string(other))
		n := l.Host(2).Start("-join", join)
		code, out, err := n.Exited(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		oneLine(t, code, out, "another cluster key", "cluster.key")
		measured(t, 33, "%q", lineWith(out, "another cluster key"))
		os.RemoveAll(n.Dir) // the key that was given is kept there
	})
	t.Run("mistyped key", func(t *testing.T) {
		last := "x"
		if strings.HasSuffix(key, last) {
			last = "y"
		}
		l.Key = key[:len(key)-1] + last
		n := l.Host(2).Start("-join", join)
		code, out, err := n.Exited(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		oneLine(t, code, out, "MESHNODE_KEY", "copied whole")
	})
	t.Run("no key", func(t *testing.T) { // it waits, and ends when it is told to
		l.Key = ""
		n := l.Host(2).Start("-join", join)
		newCode(t, n, "")
		if out := n.Output(); !strings.Contains(out, "MESHNODE_KEY") || !strings.Contains(out, "-key-file") {
			t.Errorf("the other ways are not in:\n%s", out)
		}
		if err := n.Stop(10 * time.Second); err != nil {
			t.Error(err)
		}
	})
	l.Key = key
	os.RemoveAll(filepath.Join(filepath.Dir(first.Dir), "h2"))
	t.Run("unwritable data folder", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "file")
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		n := l.Host(2).Start("-join", join, "-data-dir", filepath.Join(file, "data"))
		code, out, err := n.Exited(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		oneLine(t, code, out, "data folder", "-data-dir")
	})
	t.Run("port in use", func(t *testing.T) {
		n := l.Host(1).Prepare("-data-dir", filepath.Join(t.TempDir(), "second"), "-http", "")
		n.Restart()
		code, out, err := n.Exited(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		oneLine(t, code, out, "7946", "in use", "-bind")
		measured(t, 45, "%q", lineWith(out, "in use"))
	})
	t.Run("data folder in use", func(t *testing.T) {
		n := l.Host(1).Prepare()
		n.Restart()
		code, out, err := n.Exited(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		oneLine(t, code, out, "in use by another meshnode", "-data-dir")
	})
	t.Run("unreachable seed", func(t *testing.T) {
		n := l.Host(3).Start("-join", net.JoinHostPort(l.Host(2).IP, "7946"))
		lab.Eventually(t, 10*time.Second, func() error {
			if !strings.Contains(n.Output(), "waiting for a join address") {
				return lab.ErrNone
			}
			return nil
		})
		lab.Eventually(t, 10*time.Second, func() error { // the control socket is the last thing to open
			if r := n.Run("start", lab.App(t, "plain.js")); r.Code == 0 || !strings.Contains(r.Err, "not part of a cluster yet") {
				return fmt.Errorf("start while waiting: exit %d, %q", r.Code, r.Err)
			}
			return nil
		})
		n.Kill()
	})
	if s, err := first.Status(); err != nil || len(s.Members) != 1 || !s.Quorum {
		t.Errorf("the first server was disturbed: %+v, %v", s, err)
	}
}

// Mistakes in verbs: one clear line, the right exit code, nothing changed.
func TestVerbMistakes(t *testing.T) {
	l, nodes := three(t)
	n := nodes[1]
	r := n.Run("start", filepath.Join(t.TempDir(), "sever.js"))
	oneLine(t, r.Code, r.Err, "sever.js")
	r = n.Run("start", "-n", "broken", lab.App(t, "crash.js"))
	if r.Code != 1 || !strings.Contains(r.Err, "the database is not configured") {
		t.Errorf("a script that crashes at once: exit %d\n%s", r.Code, r.Err)
	}
	t.Log(r.Err)
	n.Must("delete", "broken")
	r = n.Run("reload", "wbe")
	oneLine(t, r.Code, r.Err, `"web"`)
	r = n.Run("relaod", "web")
	oneLine(t, r.Code, r.Err, "reload")
	r = n.Run("scale", "web", "-worker", "3")
	if r.Code != 1 {
		t.Errorf("a mistyped flag: exit %d\n%s", r.Code, r.Err)
	}
	if by, err := lab.Many(l.Client(true), n.URL(3000, "/"), 50, 4); err != nil {
		t.Errorf("the app was disturbed: %v, %v", by, err)
	}
}

// An app that was stopped is shown as stopped, refuses connections, and starts again by its name.
func TestStoppedAppIsKept(t *testing.T) {
	l, nodes := three(t)
	nodes[0].Must("stop", "web")
	ws, err := nodes[1].Workers()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if w.Status != "stopped" || w.PID != 0 {
			t.Errorf("after stop: %+v", w)
		}
	}
	if len(ws) != 6 {
		t.Errorf("list shows %d workers of the stopped app, want 6", len(ws))
	}
	lab.Eventually(t, 5*time.Second, func() error {
		if a, err := lab.Get(l.Client(true), nodes[2].URL(3000, "/")); err == nil {
			return fmt.Errorf("still served by %s", a.Who())
		}
		return nil
	})
	nodes[2].Must("start", "web")
	if _, err := lab.Many(l.Client(true), nodes[1].URL(3000, "/"), 20, 4); err != nil {
		t.Errorf("after start: %v", err)
	}
}
