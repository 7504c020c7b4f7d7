package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// clientIP is the address that requests of the lab's client come from.
func clientIP(h *lab.Host) string {
	if strings.HasPrefix(h.IP, "127.") {
		return "127.0.0.1"
	}
	return h.IP[:strings.LastIndexByte(h.IP, '.')] + ".254"
}

// Unmodified Express and Fastify apps run as several workers and see the client's own address.
func TestFrameworksRunUnmodified(t *testing.T) {
	lab.NeedNode(t)
	if _, err := os.Stat(lab.App(t, "node_modules/express")); err != nil {
		t.Skip("Express and Fastify are not installed: run npm ci in e2e/apps")
	}
	for _, app := range []string{"express", "fastify"} {
		t.Run(app, func(t *testing.T) {
			l := lab.New(t, 1)
			n := l.Cluster()[0]
			n.Must("start", "-i", "2", lab.App(t, app+".js"))
			by, err := lab.Many(l.Client(true), n.URL(3000, "/"), 40, 4)
			if err != nil {
				t.Fatal(err)
			}
			if len(by) != 2 {
				t.Errorf("reached %v, want two workers", by)
			}
			a, err := lab.Get(l.Client(true), n.URL(3000, "/"))
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.TrimPrefix(a.Remote, "::ffff:"); got != clientIP(n.Host) {
				t.Errorf("the app sees the client as %q, want %s", a.Remote, clientIP(n.Host))
			}
			r := n.Must("reload", app)
			t.Logf("%v, %s", by, strings.TrimSpace(r.Out))
		})
	}
}

// A program that knows only PORT runs on every server behind one client port, and an app on a peer sees the address of a client whose
// connection was forwarded.
func TestPortModeAndForwardedAddress(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "any", "-mode", "port", "-port", "4000", "-i", "2", lab.App(t, "port.js"))
	by, err := lab.Many(l.Client(true), nodes[1].URL(4000, "/"), 60, 8)
	if err != nil {
		t.Fatal(err)
	}
	if by["h2/0"] == 0 || by["h2/1"] == 0 {
		t.Errorf("port mode: %v, want both local workers among them", by)
	}
	kept := l.Client(false)
	if _, err := lab.Many(kept, nodes[0].URL(4000, "/"), 200, 4); err != nil {
		t.Errorf("port mode, keep-alive: %v", err)
	}
	kept.CloseIdleConnections() // or the workers would be drained for as long as they may
	begun := time.Now()
	nodes[0].Must("reload", "any")
	t.Logf("reloaded after %.1f s", time.Since(begun).Seconds())
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	seesForwardedClient(t, l, nodes)
}

// seesForwardedClient has a server forward a connection to the app web, which sees the client's own address.
func seesForwardedClient(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	t.Helper()
	// With its one worker held, the first server forwards.
	held, end, err := lab.Hold(l.Client(true), nodes[0].URL(3000, "/hold"))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	door := nodes[0]
	if held.Node == "h2" {
		door = nodes[1]
	}
	c := l.Client(true)
	lab.Eventually(t, 10*time.Second, func() error {
		a, err := lab.Get(c, door.URL(3000, "/"))
		if err != nil {
			return err
		}
		if a.Node == door.Name {
			return fmt.Errorf("served locally")
		}
		if got := strings.TrimPrefix(a.Remote, "::ffff:"); got != clientIP(door.Host) {
			t.Fatalf("the app on %s sees the forwarded client as %q, want %s", a.Node, a.Remote, clientIP(door.Host))
		}
		t.Logf("through %s to %s, seen as %s", door.Name, a.Node, a.Remote)
		return nil
	})
}

// Forwards in plain text between servers that have the key: the stream itself is the worker's, and the app sees the client all the same. TLS again
// afterwards.
func TestPlainForwards(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	nodes[0].Must("set", "forward=plain")
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	seesForwardedClient(t, l, nodes)
	for _, mode := range []string{"plain", "tls"} {
		nodes[1].Must("set", "forward="+mode)
		lab.Eventually(t, 5*time.Second, func() error {
			for _, n := range nodes {
				if out := n.Must("set").Out; !strings.Contains(out, "forward="+mode) {
					return fmt.Errorf("%s: %s", n.Name, out)
				}
			}
			return nil
		})
		by, err := lab.Many(l.Client(true), nodes[0].URL(3000, "/?ms=20"), 100, 8)
		if err != nil || by["h2/0"] == 0 {
			t.Errorf("%s: %v, %v, want some served by the other server", mode, by, err)
		}
		t.Logf("%s: %v", mode, by)
	}
	nodes[0].Must("reload", "web")
}

// A node that ends in order under load loses nothing on the others nor on itself, and what a worker has started ends with it, also when its node is
// killed.
func TestOrderlyStopAndNothingLeftBehind(t *testing.T) {
	l, nodes := three(t)
	load := lab.StartLoad(200, []*http.Client{l.Client(true)}, []string{nodes[0].URL(3000, "/?ms=20"), nodes[1].URL(3000, "/?ms=20")})
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 200) })
	away := 0
	ends := make(chan error, 6)
	for range 6 { // more than its own workers take alone: some are served by peers
		a, rest, err := lab.Slow(l.Client(true), nodes[2].URL(3000, "/slow?ms=1500"))
		if err != nil {
			t.Fatal(err)
		}
		go func() { ends <- rest() }()
		if a.Node != "h3" {
			away++
		}
	}
	if err := nodes[2].Stop(30 * time.Second); err != nil {
		t.Errorf("orderly stop: %v", err)
	}
	for range 6 {
		if err := <-ends; err != nil {
			t.Errorf("a request in flight on the stopped node: %v", err)
		}
	}
	t.Logf("orderly stop: 6 requests in flight by the stopped node, %d of them served by peers", away)
	if away == 0 || away == 6 {
		t.Errorf("%d of 6 requests were served by peers; the test shows both only with some", away)
	}
	total, failed, _ := load.Stop()
	t.Logf("orderly stop: %d of %d requests to the others lost", len(failed), total)
	for _, f := range failed {
		t.Error(f)
	}
	nodes[0].Must("delete", "web")
	nodes[0].Must("start", "-n", "parent", "-i", "1", lab.App(t, "parent.js"))
	a, err := lab.Get(l.Client(true), nodes[1].URL(3000, "/"))
	if err != nil {
		t.Fatal(err)
	}
	victim := nodes[strings.IndexByte("123", a.Node[1])]
	victim.Kill()
	if gone(a.PID) == nil {
		t.Fatal("the detached child ended by itself: the test shows nothing")
	}
	victim.Restart()
	took := lab.Eventually(t, 10*time.Second, func() error { return gone(a.PID) })
	t.Logf("the detached child of the killed node's worker was ended %.1f s after the node came back", took.Seconds())
	nodes[0].Must("delete", "parent")
	secondSignal(t, l, nodes)
}

// secondSignal stops a node that has a connection which does not end: it waits for it, until it is told again.
func secondSignal(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	t.Helper()
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	a, end, err := lab.Hold(l.Client(true), nodes[0].URL(3000, "/hold"))
	if err != nil {
		t.Fatal(err)
	}
	defer end()
	n := nodes[strings.IndexByte("123", a.Node[1])]
	n.Signal(syscall.SIGTERM)
	lab.Eventually(t, 10*time.Second, func() error {
		if c, err := l.Dial(n.IP+":3000", time.Now().Add(time.Second)); err == nil {
			c.Close()
			return errors.New("its door is open")
		}
		return nil
	})
	if gone(a.PID) == nil {
		t.Error("the worker ended with a connection open")
	}
	n.Signal(syscall.SIGTERM)
	if _, _, err := n.Exited(5 * time.Second); err != nil {
		t.Errorf("after the second signal: %v", err)
	}
	lab.Eventually(t, 5*time.Second, func() error { return gone(a.PID) })
}

// logs shows the lines of all nodes, describe the app, and leave takes a server out.
func TestLogsDescribeLeave(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	dir := t.TempDir()
	script := filepath.Join(dir, "talk.js")
	text := "console.log('hello from', process.env.MESHNODE_NODE, process.env.MESHNODE_KEY || 'no key'); console.error('a warning'); require('http').createServer((q, s) => s.end('ok')).listen(3000)\n"
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	nodes[0].Must("start", "-i", "1", script)
	r := nodes[1].Must("logs", "talk")
	for _, w := range []string{"hello from h1 no key", "hello from h2 no key", "hello from h3 no key", "a warning"} {
		if !strings.Contains(r.Out, w) {
			t.Errorf("logs: %q is not in\n%s", w, r.Out)
		}
	}
	if r := nodes[1].Must("logs", "talk", "-err"); strings.Contains(r.Out, "hello") {
		t.Errorf("logs -err shows standard output:\n%s", r.Out)
	}
	t.Log(nodes[2].Must("describe", "talk").Out)
	nodes[2].Must("leave")
	if code, out, err := nodes[2].Exited(20 * time.Second); err != nil || code != 0 {
		t.Fatalf("leave: exit %d, %v\n%s", code, err, out)
	}
	lab.Eventually(t, 10*time.Second, func() error {
		s, err := nodes[0].Status()
		if err != nil {
			return err
		}
		for _, m := range s.Members {
			if m.Node == "h3" && (m.Status != "left" || m.Role != "") {
				return fmt.Errorf("h3 is %s, %s", m.Status, m.Role)
			}
		}
		return nil
	})
	if r := nodes[0].Must("scale", "talk", "2"); !strings.Contains(r.Out, "4 of 4") {
		t.Errorf("scale after leave: %s", r.Out)
	}
}

// -insecure does without a key, between servers that all do.
func TestInsecureCluster(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	l.Key = ""
	nodes := l.Cluster("-insecure")
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	by, err := lab.Many(l.Client(true), nodes[0].URL(3000, "/?ms=20"), 60, 8)
	if err != nil || len(by) != 2 {
		t.Errorf("%v, %v", by, err)
	}
	if !strings.Contains(nodes[0].Output(), "-insecure") {
		t.Error("the start does not say that it is insecure")
	}
}
