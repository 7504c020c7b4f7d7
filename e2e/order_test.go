package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// TestStartOrder watches what a server that has an app already does when it starts, and has each step fail in turn: what came before it is undone.
func TestStartOrder(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 1)
	if !l.Spaces() {
		t.Skip("looks at all ports of a host")
	}
	n := l.Cluster()[0]
	n.Must("start", "-n", "ordered", "-i", "1", "-mode", "port", "-port", "4000", lab.App(t, "port.js"))
	serves := func() {
		t.Helper()
		lab.Eventually(t, 20*time.Second, func() error {
			_, err := lab.Get(l.Client(true), n.URL(4000, "/"))
			return err
		})
	}
	serves()
	end := func() {
		t.Helper()
		if err := n.Stop(20 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	end()
	t.Run("order", func(t *testing.T) {
		trace := traceStarts(t, n)
		n.Restart()
		serves()
		n.Must("status")
		n.Program = ""
		end()
		inOrder(t, trace, []step{
			{"the data folder is locked", "flock(", ""},
			{"identity", "openat(", "/identity.json"},
			{"peer port", "bind(", "htons(7946)"},
			{"configuration", "openat(", "/raft/raft.db"},
			{"gossip", "bind(", "htons(7946)"},
			{"metrics and health", "bind(", "htons(7947)"},
			{"control socket", "bind(", "/meshnode.sock"},
		})
		inOrder(t, trace, []step{
			{"configuration", "openat(", "/raft/raft.db"},
			{"gossip", "bind(", "htons(7946)"},
			{"door of the app", "bind(", "htons(4000)"},
		})
	})
	for _, c := range breakages(n) {
		t.Run(c.what, func(t *testing.T) {
			undo := c.cause(t)
			n.Restart()
			from := len(n.Output())
			code, out, err := n.Exited(20 * time.Second)
			undo()
			if err != nil || code != 1 || !strings.Contains(out[min(from, len(out)):]+lastLine(out), c.says) {
				t.Fatalf("exit %d, %v, want 1 and %q:\n%s", code, err, c.says, out)
			}
			for _, at := range boundPorts(t, n.Host) {
				t.Errorf("the port %s is bound still", at)
			}
			lab.Eventually(t, 2*time.Second, func() error { return noneOf("MESHNODE_APP=ordered") })
		})
	}
	n.Restart()
	serves()
}

func lastLine(out string) string {
	out = strings.TrimSpace(out)
	return out[strings.LastIndexByte(out, '\n')+1:]
}

// step is a system call by which a step of the start can be told.
type step struct{ what, call, argument string }

// inOrder looks for the steps, one behind the other.
func inOrder(t *testing.T, trace string, steps []step) {
	t.Helper()
	raw, err := os.ReadFile(trace)
	if err != nil {
		t.Fatal(err)
	}
	lines := slices.DeleteFunc(strings.Split(string(raw), "\n"), func(line string) bool { return strings.Contains(line, `"/proc/`) })
	at := 0
	for _, s := range steps {
		found := false
		for ; at < len(lines) && !found; at++ {
			found = strings.Contains(lines[at], s.call) && strings.Contains(lines[at], s.argument)
		}
		if !found {
			t.Fatalf("%s does not come where it should, in:\n%s", s.what, strings.Join(lines, "\n"))
		}
	}
}

// traceStarts has the next start of the node traced, and returns the file. The tracer is no parent of the node, which so stays what the lab started.
func traceStarts(t *testing.T, n *lab.Node) string {
	t.Helper()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	dir := t.TempDir()
	trace := filepath.Join(dir, "trace")
	n.Program = filepath.Join(dir, "node.sh")
	text := fmt.Sprintf("#!/bin/sh\nexec strace -D -f -qq --seccomp-bpf -o %s -e trace=flock,openat,bind %s \"$@\"\n", trace, lab.Binary(t))
	if err := os.WriteFile(n.Program, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	return trace
}

// breakage is a step that fails.
type breakage struct {
	what, says string
	cause      func(t *testing.T) (undo func())
}

// breakages are in the order of the steps.
func breakages(n *lab.Node) []breakage {
	in := func(name string) string { return filepath.Join(n.Dir, name) }
	spoil := func(name string) func(*testing.T) func() {
		return func(t *testing.T) func() {
			good, err := os.ReadFile(in(name))
			if err != nil {
				t.Fatal(err)
			}
			put := func(text []byte) {
				if err := os.WriteFile(in(name), text, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			put(bytes.Repeat([]byte("spoilt "), len(good)/7+1))
			return func() { put(good) }
		}
	}
	taken := func(program string) func(*testing.T) func() {
		return func(t *testing.T) func() {
			c := n.Command("node", "-e", program+".on('listening', () => console.log('bound'))")
			out, err := c.StdoutPipe()
			if err == nil {
				err = c.Start()
			}
			if err == nil {
				_, err = out.Read(make([]byte, 5))
			}
			if err != nil {
				t.Fatal(err)
			}
			return func() { _ = c.Process.Kill(); _ = c.Wait() }
		}
	}
	return []breakage{
		{"identity", "identity.json cannot be read", spoil("identity.json")},
		{"peer port", "the peer port 0.0.0.0:7946 is in use", taken("require('net').createServer().listen(7946, '0.0.0.0')")},
		{"configuration", "raft.db", spoil("raft/raft.db")},
		{"gossip", "7946 (UDP) cannot be opened", taken("require('dgram').createSocket('udp4').bind(7946)")},
		{"metrics and health", "is in use by another program; choose another with -http", taken("require('net').createServer().listen(7947, '127.0.0.1')")},
		{"control socket", "open the control socket", func(t *testing.T) func() {
			_ = os.Remove(in("meshnode.sock"))
			if err := os.MkdirAll(in("meshnode.sock/x"), 0o700); err != nil {
				t.Fatal(err)
			}
			return func() { _ = os.RemoveAll(in("meshnode.sock")) }
		}},
	}
}

// boundPorts are the ports of the node and its app at which somebody listens on a host.
func boundPorts(t *testing.T, h *lab.Host) (out []string) {
	t.Helper()
	raw, err := h.Command("cat", "/proc/net/tcp", "/proc/net/tcp6", "/proc/net/udp", "/proc/net/udp6").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		f := strings.Fields(line)
		for _, port := range []int{7946, 7947, 4000} {
			if len(f) > 3 && (f[3] == "0A" || f[3] == "07") && strings.HasSuffix(f[1], fmt.Sprintf(":%04X", port)) {
				out = append(out, f[1])
			}
		}
	}
	return out
}

// noneOf is an error while a process lives whose environment has the entry.
func noneOf(entry string) error {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range all {
		if env, err := os.ReadFile(path); err == nil && bytes.Contains(env, []byte(entry+"\x00")) {
			return fmt.Errorf("%s is left", path)
		}
	}
	return nil
}
