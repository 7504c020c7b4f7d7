package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// nextRelease builds a binary that differs in what a later release would: the version of the peers' protocol, and that of commands in the log.
func nextRelease(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replaced := make(map[string]string)
	for file, change := range map[string][2]string{
		"node/joining.go":    {"protocol   = 1", "protocol   = 2"},
		"store/fsm/codec.go": {"version       byte = 4\n\tthirdVersion  byte = 3\n\tplainVersion  byte = 2", "version       byte = 5\n\tthirdVersion  byte = 5\n\tplainVersion  byte = 5"},
	} {
		raw, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(string(raw), change[0]) != 1 {
			t.Fatalf("%s does not hold %q", file, change[0])
		}
		to := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(to, []byte(strings.Replace(string(raw), change[0], change[1], 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		replaced[filepath.Join(root, file)] = to
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replaced})
	if err != nil {
		t.Fatal(err)
	}
	list, out := filepath.Join(dir, "overlay.json"), filepath.Join(dir, "meshnode")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.Command("go", "build", "-overlay", list, "-o", out, "./cmd/meshnode")
	c.Dir = root
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build: %v: %s", err, said)
	}
	return out
}

// TestOtherReleases has servers of a later release meet those of this one, and this release find what the later one has written.
func TestOtherReleases(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	next := nextRelease(t)
	l := lab.New(t, 4)
	one := l.Host(1).Start("-join", l.Host(1).IP+":7946")
	two := l.Host(2).Start("-join", l.Host(1).IP+":7946")
	one.Voters(30*time.Second, 2, 1)
	one.Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, one, 2, 20*time.Second)
	nodes := []*lab.Node{one, two}
	before := state(t, nodes)

	newer := l.Host(3).Prepare("-join", one.IP+":7946")
	newer.Program = next
	refused(t, newer, one, "a newer", []string{"version 1 of the peer protocol", "version 2"})
	if after := state(t, nodes); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}

	founder := l.Host(4).Prepare()
	founder.Program = next
	founder.Restart()
	founder.Voters(20*time.Second, 1, 1)
	founder.Must("start", "-n", "own", "-i", "1", lab.App(t, "plain.js"))
	older := l.Host(3).Prepare("-join", founder.IP+":7946", "-node", "h3b", "-data-dir", filepath.Join(filepath.Dir(founder.Dir), "h3b"))
	refused(t, older, founder, "an older", []string{"version 1", "version 2 of the peer protocol"})

	founder.Kill()
	founder.Program = ""
	begun := time.Now()
	founder.Restart()
	code, out, err := founder.Exited(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	said := lineWith(out[strings.LastIndex(out, "meshnode: "):], "meshnode: ")
	if code != 1 || took > 2*time.Second || !strings.Contains(said, "newer release") || !strings.Contains(said, "version 5, this release reads 1 to 4") || strings.Contains(said, "mv ") {
		t.Errorf("exit %d after %v: %s", code, took, said)
	}
	founder.Program = next
	founder.Restart()
	founder.Voters(20*time.Second, 1, 1)
	ready(t, founder, 1, 20*time.Second)
	if after := state(t, nodes); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	measured(t, 34, "this release on the data folder of the next one: ended after %.1f s: %q; with the next one it goes on, nothing is lost", took.Seconds(), said)
}

// refused starts a server that a server of the cluster refuses, with all those words on both sides.
func refused(t *testing.T, n, by *lab.Node, what string, words []string) {
	t.Helper()
	begun := time.Now()
	n.Restart()
	code, out, err := n.Exited(10 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	took := time.Since(begun)
	here, there := lineWith(out, "cannot join"), lineWith(by.Output(), "another release")
	for _, w := range words {
		if !strings.Contains(here, w) || !strings.Contains(there, w) {
			t.Errorf("%q is missing in %q or %q", w, here, there)
		}
	}
	if code == 0 || took > 2*time.Second {
		t.Errorf("exit %d after %v", code, took)
	}
	measured(t, 34, "%s one is refused after %.1f s: %q; the other side: %q", what, took.Seconds(), here, there)
}
