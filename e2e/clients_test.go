package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// say sends text to an address from the client's place, and returns all of the answer and the client's own address.
func say(l *lab.Lab, addr, text string) (answer, from string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := l.DialContext(ctx, "tcp", addr)
	if err != nil {
		return "", "", err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		return "", "", err
	}
	b, err := io.ReadAll(c)
	_, body, _ := strings.Cut(string(b), "\r\n\r\n")
	return body, c.LocalAddr().String(), err
}

const request = "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n\r\n"

// counts are what came in at a node of an app.
func counts(t *testing.T, n *lab.Node, app string) api.ClientCounts {
	t.Helper()
	var all []api.Description
	if err := json.Unmarshal([]byte(n.Must("describe", app, "-json").Out), &all); err != nil {
		t.Fatal(err)
	}
	for _, w := range all[0].Nodes {
		if w.Node == n.Name {
			return w.Clients
		}
	}
	t.Fatalf("nothing of %s", n.Name)
	return api.ClientCounts{}
}

// Behind HAProxy, which says who the client is in either form, an unmodified Node.js app sees the client, also over another server; whoever
// does not come by HAProxy is refused.
func TestBehindHAProxy(t *testing.T) {
	lab.NeedNode(t)
	if _, err := exec.LookPath("haproxy"); err != nil {
		t.Skip("no haproxy in PATH: apt-get install --no-install-recommends haproxy")
	}
	l := lab.New(t, 3)
	front := l.Host(3)
	join := l.Host(1).IP + ":7946"
	nodes := []*lab.Node{l.Host(1).Start("-join", join), l.Host(2).Start("-join", join, "-no-workers")}
	nodes[0].Voters(30*time.Second, 2, 1)
	nodes[0].Must("start", "-n", "web", "-i", "2", "-proxy-protocol", "-trusted-proxy", front.IP, lab.App(t, "plain.js"))
	haproxy(t, front, `
listen text
  bind `+front.IP+`:8001
  server a `+nodes[0].IP+`:3000 send-proxy
listen binary
  bind `+front.IP+`:8002
  server a `+nodes[0].IP+`:3000 send-proxy-v2
listen door
  bind `+front.IP+`:8003
  server a `+nodes[1].IP+`:3000 send-proxy-v2 proxy-v2-options unique-id,crc32c check
`)
	for _, port := range []int{8001, 8002, 8003} {
		var got lab.Answer
		var from string
		lab.Eventually(t, 20*time.Second, func() error {
			text, me, err := say(l, fmt.Sprintf("%s:%d", front.IP, port), request)
			if err != nil {
				return err
			}
			from = me
			return json.Unmarshal([]byte(text), &got)
		})
		if host, _, _ := net.SplitHostPort(from); got.Remote != host || got.Node != "h1" {
			t.Errorf("by port %d: the app of %s saw %q, the client is %s", port, got.Node, got.Remote, from)
		}
	}
	if l.Spaces() { // on loopback all have one address
		if _, _, err := say(l, nodes[0].IP+":3000", "PROXY TCP4 1.2.3.4 10.0.0.1 1 2\r\n"+request); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("past HAProxy: %v, want a reset", err)
		}
		if c := counts(t, nodes[0], "web"); c.Untrusted != 1 || c.BadHeader != 0 {
			t.Errorf("%+v", c)
		}
	}
}

// haproxy runs HAProxy on a host.
func haproxy(t *testing.T, h *lab.Host, text string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "haproxy.cfg")
	config := "global\n  maxconn 100\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 20s\n  timeout server 20s\n" + text
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	c := h.Command("haproxy", "-db", "-f", path)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		_ = c.Wait()
		if t.Failed() {
			t.Logf("HAProxy: %s", out.String())
		}
	})
}

// NGINX as a worker, which expects either form of the header, is told of the client and the address it came by, also over another server. Its
// health is looked at by connecting.
func TestNginxBehind(t *testing.T) {
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Skip("no nginx in PATH: apt-get install --no-install-recommends nginx-light")
	}
	l := lab.New(t, 2)
	join := l.Host(1).IP + ":7946"
	nodes := []*lab.Node{l.Host(1).Start("-join", join), l.Host(2).Start("-join", join, "-no-workers")}
	nodes[0].Voters(30*time.Second, 2, 1)
	for i, version := range []string{"v1", "v2"} {
		port := 8080 + i
		nodes[0].Must("start", "-n", "ng"+version, "-i", "1", "-port", fmt.Sprint(port), "-send-proxy", version, "-health", "tcp", lab.App(t, "nginx.sh"))
		for _, n := range nodes {
			addr := fmt.Sprintf("%s:%d", n.IP, port)
			var got, from string
			lab.Eventually(t, 20*time.Second, func() (err error) {
				got, from, err = say(l, addr, request)
				return err
			})
			if want := from + " " + addr; got != want {
				t.Errorf("%s by %s: NGINX was told %q, want %q", version, n.Name, got, want)
			}
		}
	}
}

// A limit holds for all servers each by itself, whatever a connection is for; who is over it is refused at once, and counted.
func TestClientLimits(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	n := nodes[0]
	n.Must("start", "-n", "web", "-i", "2", "-limit-connections", "10", lab.App(t, "plain.js"))
	lab.Eventually(t, 20*time.Second, func() error { return ends(n, "web", 0) })
	held := l.Client(true)
	for range 10 {
		_, end, err := lab.Hold(held, n.URL(3000, "/hold"))
		if err != nil {
			t.Fatal(err)
		}
		defer end()
	}
	begun := time.Now()
	if _, _, err := say(l, n.IP+":3000", request); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the eleventh: %v, want a reset", err)
	}
	if took := time.Since(begun); took > time.Second {
		t.Errorf("it was refused after %s", took)
	}
	if _, _, err := say(l, nodes[1].IP+":3000", request); err != nil {
		t.Errorf("by the other server: %v", err)
	}
	if c := counts(t, n, "web"); c.Open != 10 || c.OverLimit != 1 {
		t.Errorf("%+v", c)
	}
	before := pids(t, n)
	n.Must("start", "-n", "web", "-i", "2", "-replace", "-limit-connections", "12", "-limit-per-client", "11", lab.App(t, "plain.js"))
	if after := pids(t, n); fmt.Sprint(before) != fmt.Sprint(after) {
		t.Errorf("workers were replaced for a limit: %v, now %v", before, after)
	}
	lab.Eventually(t, 10*time.Second, func() error {
		_, _, err := say(l, n.IP+":3000", request)
		return err
	})
}

// ends reports whether an app has that many connections open at a node.
func ends(n *lab.Node, app string, want int) error {
	var all []api.Description
	r := n.Run("describe", app, "-json")
	if err := json.Unmarshal([]byte(r.Out), &all); err != nil {
		return fmt.Errorf("%w: %s", err, r.Err)
	}
	for _, w := range all[0].Nodes {
		if w.Node == n.Name && w.Clients.Open == want && w.Progress.Ready > 0 {
			return nil
		}
	}
	return fmt.Errorf("%+v", all[0].Nodes)
}
