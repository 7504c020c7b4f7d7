package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// another returns a copy of the binary, under a name of its own.
func another(t *testing.T, name string) string {
	t.Helper()
	in, err := os.Open(lab.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	path := filepath.Join(t.TempDir(), name)
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(out, in); err != nil {
		t.Fatal(err)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

// echo is a connection that lasts, and asks again and again whether it still does.
type echo struct {
	c net.Conn
	r *bufio.Reader
	n int
}

// dialEcho opens one to the host's address.
func dialEcho(t *testing.T, l *lab.Lab, n *lab.Node) *echo {
	t.Helper()
	c, err := l.DialContext(t.Context(), "tcp", net.JoinHostPort(n.IP, "3001"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &echo{c: c, r: bufio.NewReader(c)}
}

func (e *echo) ask(t *testing.T, what string) {
	t.Helper()
	e.n++
	_ = e.c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := fmt.Fprintf(e.c, "%d\n", e.n); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if line, err := e.r.ReadString('\n'); err != nil || line != fmt.Sprintf("%d\n", e.n) {
		t.Fatalf("%s: %q %v", what, line, err)
	}
}

// counted checks that the lines of each worker that are in the logs are one sequence, without a gap and without one that is there twice.
func counted(t *testing.T, n *lab.Node, least int) {
	t.Helper()
	next := make(map[int]int)
	r := n.Must("logs", "web", "-lines", "100000", "-out", "-json")
	for line := range strings.Lines(r.Out) {
		var l struct {
			Text string `json:"text"`
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		var pid, i int
		if _, err := fmt.Sscanf(l.Text, "count %d %d", &pid, &i); err != nil {
			t.Fatalf("a line that nobody wrote: %q", l.Text)
		}
		if want := next[pid]; i != want {
			t.Errorf("worker %d: line %d, want %d", pid, i, want)
		}
		next[pid] = i + 1
	}
	sum := 0
	for _, count := range next {
		sum += count
	}
	if sum < least {
		t.Errorf("%d lines, want %d at least", sum, least)
	}
}

// restarts are the workers' restarts, by node and worker.
func restarts(t *testing.T, n *lab.Node) map[string]int {
	t.Helper()
	ws, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]int)
	for _, w := range ws {
		out[w.Node+"/"+w.Worker] = int(w.Restarts)
	}
	return out
}

// two is a cluster of two nodes with two workers each.
func two(t *testing.T) (*lab.Lab, []*lab.Node) {
	t.Helper()
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "2", lab.App(t, "counter.js"))
	ready(t, nodes[1], 4, 20*time.Second)
	return l, nodes
}

// An upgrade of either node loses no request, no long connection, no line of output, and no worker.
func TestUpgradeLosesNothing(t *testing.T) {
	l, nodes := two(t)
	ws, err := nodes[0].Workers()
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pick(t, ws, "h1", "1").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(restarts(t, nodes[0])["h1/1"], 1) })
	ready(t, nodes[0], 4, 20*time.Second)
	before, worn := pids(t, nodes[0]), restarts(t, nodes[0])
	var long []*echo
	for i := range 24 { // all to one node: some of them cross to the other
		long = append(long, dialEcho(t, l, nodes[0]))
		long[i].ask(t, "at the begin")
	}
	load := loadOn(t, 300, l, nodes)
	for i, n := range nodes {
		inner := n.Inner()
		r := n.Must("upgrade", another(t, "meshnode-next"))
		t.Log(strings.TrimSpace(r.Out))
		if !strings.Contains(r.Out, "meshnode-next") || n.Inner() == inner && len(kin(n)) < 2 {
			t.Errorf("it is not the new binary: %s", r.Out)
		}
		if k := kin(n); len(k) != 2 {
			t.Errorf("no former process carries what crosses node %d: %v", i+1, k)
		}
		if after := pids(t, n); !maps.Equal(before, after) {
			t.Errorf("the workers were %v and are %v", before, after)
		}
		if now := restarts(t, n); !maps.Equal(worn, now) {
			t.Errorf("restarts were %v and are %v", worn, now)
		}
		for k, e := range long {
			e.ask(t, fmt.Sprintf("connection %d after the upgrade of node %d", k, i+1))
		}
		sent := load.Sent()
		lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+300) })
		ready(t, n, 4, 5*time.Second)
	}
	lost(t, "upgrade of both nodes", load)
	measured(t, 11, "two upgrades at 300/s: nothing lost, %d long connections and all workers stay", len(long))
	counted(t, nodes[0], 500)
	for _, e := range long {
		e.ask(t, "at the end")
		e.c.Close()
	}
	for _, n := range nodes { // with the last connection that crosses it, the former process goes
		lab.Eventually(t, 10*time.Second, func() error {
			if k := kin(n); len(k) != 1 {
				return fmt.Errorf("%s has the processes %v", n.Name, k)
			}
			return nil
		})
	}
}

// kin are the node processes of a keeper: the one that serves, and former ones that carry what crosses them.
func kin(n *lab.Node) (out []int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/children", n.PID()))
	for _, list := range lists {
		raw, _ := os.ReadFile(list) // a thread that has ended has none
		for _, f := range strings.Fields(string(raw)) {
			if name, _ := os.ReadFile("/proc/" + f + "/comm"); strings.TrimSpace(string(name)) == "meshnode" {
				pid, _ := strconv.Atoi(f)
				out = append(out, pid)
			}
		}
	}
	return out
}

// A connection that a worker had before the upgrade still counts: a reload waits for it.
func TestReloadAfterAnUpgradeWaitsForOldConnections(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	n.Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, n, 1, 20*time.Second)
	a, end, err := lab.Slow(l.Client(true), n.URL(3000, "/slow?ms=6000"))
	if err != nil {
		t.Fatal(err)
	}
	n.Must("upgrade", another(t, "meshnode-next"))
	ws, err := n.Workers()
	if err != nil || len(ws) != 1 || ws[0].Connections != 1 {
		t.Errorf("the worker's connections after the upgrade: %+v %v", ws, err)
	}
	n.Must("reload", "web")
	if err := end(); err != nil {
		t.Errorf("the answer of worker %d: %v", a.PID, err)
	}
	lab.Eventually(t, 20*time.Second, func() error { return gone(a.PID) })
	ready(t, n, 1, 5*time.Second)
}

// What is no meshnode for this machine, or does not come up, leaves the node as it is: exit code 2 and one line that says why.
func TestBrokenBinariesAreRefused(t *testing.T) {
	l, nodes := two(t)
	n := nodes[0]
	before, inner := pids(t, n), n.Inner()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	elf, err := os.ReadFile(lab.Binary(t))
	if err != nil {
		t.Fatal(err)
	}
	other := append([]byte(nil), elf[:64<<10]...)
	other[18], other[19] = 0xf3, 0 // its machine is RISC-V now
	load := loadOn(t, 200, l, nodes)
	for name, path := range map[string]string{
		"exits at start":          write("exits", "#!/bin/sh\nexit 3\n", 0o755),
		"says a version, no more": write("says", "#!/bin/sh\necho '{\"version\":\"v9\"}'\n", 0o755),
		"not executable":          write("plain", string(elf), 0o644),
		"not a meshnode":          "/bin/true",
		"not there":               filepath.Join(dir, "none"),
		"other architecture":      write("other", string(other), 0o755),
		"a folder":                dir,
	} {
		r := n.Run("upgrade", path)
		line := strings.TrimSpace(r.Err)
		if i := strings.LastIndexByte(line, '\n'); i >= 0 {
			line = line[i+1:]
		}
		t.Logf("%s: exit %d: %s", name, r.Code, line)
		if r.Code != 2 || !strings.Contains(line, path) && !strings.Contains(r.Err, path) {
			t.Errorf("%s: exit %d: %s", name, r.Code, r.Err)
		}
	}
	lost(t, "broken binaries", load)
	measured(t, 13, "seven kinds of broken binaries: each refused with exit 2 and the reason, nothing lost at 200/s")
	if after := pids(t, n); !maps.Equal(before, after) || n.Inner() != inner {
		t.Errorf("the workers were %v and are %v, node %d and %d", before, after, inner, n.Inner())
	}
	n.Must("upgrade", another(t, "meshnode-next")) // and a good one is taken afterwards
}

// kill -9 of the node process: nobody notices but the operator, and who was being passed from one server to the other. Its workers serve on, the
// next node takes them over.
func TestKilledNodeProcessCostsNothing(t *testing.T) {
	l, nodes := two(t)
	before := pids(t, nodes[0])
	load := loadOn(t, 300, l, nodes)
	for range 2 {
		inner := nodes[0].Inner()
		if err := syscall.Kill(inner, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		took := lab.Eventually(t, 10*time.Second, func() error {
			ws, err := nodes[0].Workers()
			if err == nil && (len(ws) != 4 || nodes[0].Inner() == inner) {
				err = fmt.Errorf("%d workers", len(ws))
			}
			return err
		})
		t.Logf("the node answers again after %.1f s", took.Seconds())
		if took > 2*time.Second {
			t.Errorf("the node answers only after %s", took)
		}
		ready(t, nodes[0], 4, 10*time.Second)
		if after := pids(t, nodes[0]); !maps.Equal(before, after) {
			t.Errorf("the workers were %v and are %v", before, after)
		}
	}
	sent := load.Sent()
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+300) })
	lostAtMost(t, 2*inFlight, "kill -9 of the node process, twice", load)
	measured(t, 12, "twice at 300/s: the same workers serve on, and what crossed the node at most is lost")
	if k := kin(nodes[0]); len(k) != 1 {
		t.Errorf("node processes %v", k)
	}
}

// kill -9 of the keeper ends everything of that server; the same command line serves again, with nothing of the former run beside it.
func TestKilledKeeperTakesAllWithIt(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	ready(t, n, 2, 20*time.Second)
	before := pids(t, n)
	inner := n.Inner()
	n.Kill()
	lab.Eventually(t, 5*time.Second, func() error { return gone(inner) })
	for pid := range before {
		lab.Eventually(t, 5*time.Second, func() error { return gone(pid) })
	}
	n.Restart()
	took := lab.Eventually(t, 15*time.Second, func() error {
		_, err := lab.Get(l.Client(true), n.URL(3000, "/"))
		return err
	})
	t.Logf("served again %.1f s after the start", took.Seconds())
	if took > 3*time.Second {
		t.Errorf("served again only after %s", took)
	}
	ready(t, n, 2, 10*time.Second)
}

// The app of "meshnode run" is put on the cluster once: a node that comes back leaves what was changed since.
func TestRunPutsItsAppOnce(t *testing.T) {
	lab.NeedNode(t)
	dir := t.TempDir()
	file := filepath.Join(dir, "eco.config.js")
	text := fmt.Sprintf("require('fs').appendFileSync(%q, 'x')\nmodule.exports = {apps: [{name: 'web', script: %q, instances: 1}]}\n", filepath.Join(dir, "seen"), lab.App(t, "plain.js"))
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	l := lab.New(t, 1)
	n := l.Host(1).Prepare(file)
	n.Verb = "run"
	n.Restart()
	ready(t, n, 1, 20*time.Second)
	n.Must("scale", "web", "2")
	inner := n.Inner()
	if err := syscall.Kill(inner, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 10*time.Second, func() error {
		if now := n.Inner(); now == 0 || now == inner {
			return fmt.Errorf("node %d", now)
		}
		_, err := n.Workers()
		return err
	})
	n.Must("upgrade", another(t, "meshnode-next"))
	ready(t, n, 2, 10*time.Second)
	ws, err := n.Workers()
	if err != nil || len(ws) != 2 || ws[0].Release != 1 {
		t.Errorf("%+v %v", ws, err)
	}
	if seen, err := os.ReadFile(filepath.Join(dir, "seen")); err != nil || len(seen) != 1 {
		t.Errorf("the file was evaluated %d times, %v", len(seen), err)
	}
}

// Programs in the other modes, and UDP, across kill -9 of the node process and an upgrade. What crosses the node (all of mode port) is lost with a
// process that is killed; a new connection is not, and an upgrade loses nothing.
func TestOtherModesAcrossCrashAndUpgrade(t *testing.T) {
	lab.NeedNode(t)
	for name, args := range map[string][]string{
		"port":   {"-mode", "port", "-port", "3000", "-interpreter", "node", lab.App(t, "port.js")},
		"socket": {"-mode", "socket", "-port", "3000", "-interpreter", "python3", lab.App(t, "inherit.py")},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, 1)
			n := l.Cluster()[0]
			n.Must("start", append([]string{"-n", "web", "-i", "2"}, args...)...)
			ready(t, n, 2, 20*time.Second)
			before := pids(t, n)
			load := loadOn(t, 200, l, []*lab.Node{n})
			n.Must("upgrade", another(t, "meshnode-next"))
			sent := load.Sent()
			lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+200) })
			lost(t, "upgrade, mode "+name, load)
			crash(t, n)
			load = loadOn(t, 200, l, []*lab.Node{n})
			crash(t, n)
			sent = load.Sent()
			lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+200) })
			total, failed, _ := load.Stop()
			t.Logf("kill -9 of the node process, mode %s: %d of %d requests lost", name, len(failed), total)
			if len(failed) > 12 { // kept connections, and what was in flight
				t.Errorf("%d lost: %v", len(failed), failed[:12])
			}
			ready(t, n, 2, 10*time.Second)
			if after := pids(t, n); !maps.Equal(before, after) {
				t.Errorf("the workers were %v and are %v", before, after)
			}
		})
	}
	t.Run("udp", func(t *testing.T) {
		l := lab.New(t, 1)
		n := l.Cluster()[0]
		n.Must("start", "-n", "udp", "-i", "1", lab.App(t, "udp.js"))
		ready(t, n, 1, 20*time.Second)
		c, err := l.DialContext(t.Context(), "udp", net.JoinHostPort(n.IP, "3002"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		first := datagram(t, c, "a")
		n.Must("upgrade", another(t, "meshnode-next"))
		if now := datagram(t, c, "b"); now != first {
			t.Errorf("answered by %s, and now by %s", first, now)
		}
		crash(t, n)
		if now := datagram(t, c, "c"); now != first {
			t.Errorf("answered by %s, and now by %s", first, now)
		}
		n.Must("reload", "udp") // the next worker has the same socket
		if now := datagram(t, c, "d"); now == first {
			t.Errorf("answered by %s after a reload", now)
		}
	})
}

// crash kills the node process, and waits for the next one to answer.
func crash(t *testing.T, n *lab.Node) {
	t.Helper()
	inner := n.Inner()
	if err := syscall.Kill(inner, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 10*time.Second, func() error {
		if now := n.Inner(); now == 0 || now == inner {
			return fmt.Errorf("the node is process %d", now)
		}
		_, err := n.Workers()
		return err
	})
}

// datagram sends one and returns which process answered.
func datagram(t *testing.T, c net.Conn, text string) string {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 64)
	k, err := c.Read(b)
	got, pid, _ := strings.Cut(string(b[:k]), " ")
	if err != nil || got != text {
		t.Fatalf("datagram %s: %q %v", text, b[:k], err)
	}
	return pid
}

// As a service: the keeper tells systemd how it stands, for its own process and over crash and upgrade, and systemctl reload takes the program that is at
// the path of the running one now.
func TestService(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 1)
	path := filepath.Join(t.TempDir(), "notify")
	pc, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	n := l.Host(1).Prepare()
	n.Program = another(t, "meshnode")
	n.Env = []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=600000"}
	n.Restart()
	heard := func(want string) {
		t.Helper()
		b := make([]byte, 256)
		for {
			_ = pc.SetReadDeadline(time.Now().Add(15 * time.Second))
			k, _, err := pc.ReadFrom(b)
			if err != nil {
				t.Fatalf("waiting for %s: %v", want, err)
			}
			if strings.Contains(string(b[:k]), "MAINPID") {
				t.Errorf("systemd was told %q", b[:k])
			}
			if string(b[:k]) == want {
				return
			}
		}
	}
	heard("READY=1")
	n.Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, n, 1, 20*time.Second)
	before := pids(t, n)
	heard("WATCHDOG=1")
	crash(t, n)
	heard("READY=1")
	keeper, inner := n.PID(), n.Inner()
	if err := os.Rename(another(t, "new"), n.Program); err != nil { // as a package does
		t.Fatal(err)
	}
	r := n.Must("upgrade", n.Program)
	if now := n.Inner(); now == inner || now == 0 || n.PID() != keeper || !strings.Contains(r.Out, n.Program) {
		t.Errorf("node %d and %d: %s", inner, now, r.Out)
	}
	heard("READY=1")
	heard("WATCHDOG=1")
	if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", n.Inner())); err != nil || exe != n.Program {
		t.Errorf("the node runs %s, %v", exe, err)
	}
	if after := pids(t, n); !maps.Equal(before, after) {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	if err := n.Stop(20 * time.Second); err != nil {
		t.Error(err)
	}
	heard("STOPPING=1")
	for pid := range before {
		if err := gone(pid); err != nil {
			t.Error(err)
		}
	}
}
