package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// reload, restart and scale up and down at 300 requests a second, half of them on new connections and half on kept ones: none is lost.
func TestReloadAndScaleLoseNothing(t *testing.T) {
	l, nodes := three(t)
	urls := []string{nodes[0].URL(3000, "/?ms=2"), nodes[1].URL(3000, "/?ms=2"), nodes[2].URL(3000, "/?ms=2")}
	for _, step := range []struct {
		verb string
		args []string
	}{
		{"reload", []string{"web"}},
		{"scale", []string{"web", "4"}},
		{"scale", []string{"web", "1"}},
		{"restart", []string{"web"}},
		{"scale", []string{"web", "2"}},
	} {
		t.Run(fmt.Sprint(step.verb, step.args[1:]), func(t *testing.T) {
			load := lab.StartLoad(300, []*http.Client{l.Client(true), l.Client(false)}, urls)
			lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 300) })
			before := pids(t, nodes[1])
			begun := time.Now()
			r := nodes[1].Must(step.verb, step.args...)
			took := time.Since(begun)
			lab.Eventually(t, 60*time.Second, func() error { return replaced(before, pids(t, nodes[1])) })
			sent := load.Sent()
			lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+300) })
			total, failed, served := load.Stop()
			t.Logf("%s took %.1f s; %d of %d requests lost; served by %d workers; %s", step.verb, took.Seconds(), len(failed), total, len(served), r.Out)
			for i, f := range failed {
				if t.Error(f); i == 10 {
					break
				}
			}
		})
	}
}

// pids are the worker processes of the whole cluster.
func pids(t *testing.T, n *lab.Node) map[int]bool {
	t.Helper()
	ws, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[int]bool)
	for _, w := range ws {
		out[w.PID] = true
	}
	return out
}

// replaced reports whether every process that is no worker any more has ended: until then a drain goes on.
func replaced(before, now map[int]bool) error {
	for pid := range before {
		if now[pid] {
			continue
		}
		if err := gone(pid); err != nil {
			return err
		}
	}
	return nil
}

// Keep-alive requests to a local worker cost no meshnode CPU: its processor time does not grow with the requests.
func TestKeepAliveRequestsCostNothing(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	c := l.Client(false)
	measure := func(requests int) time.Duration {
		if _, err := lab.Many(c, n.URL(3000, "/"), 16, 16); err != nil { // the connections are open before the count begins
			t.Fatal(err)
		}
		before, begun := n.CPU(), time.Now()
		if requests > 0 {
			if _, err := lab.Many(c, n.URL(3000, "/"), requests, 8); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(max(0, 5*time.Second-time.Since(begun))) // both are measured over the same time
		return n.CPU() - before
	}
	idle := measure(0)
	busy := measure(10000)
	t.Logf("meshnode CPU over 5 s: %s idle, %s with 10,000 keep-alive requests: %.2f us a request", idle, busy, float64((busy-idle).Microseconds())/10000)
	// A proxy needs 50 to 100 us a request: 500 ms or more here. The clock of /proc ticks in 10 ms.
	if busy-idle > 100*time.Millisecond {
		t.Errorf("10,000 requests cost %s of meshnode's time", busy-idle)
	}
}

// A release that throws at start is refused on every server: reload exits 2 with the reason, and the old workers go on, the very same processes.
func TestBrokenReleaseIsRefused(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 3)
	nodes := l.Cluster()
	script := filepath.Join(t.TempDir(), "web.js")
	good, err := os.ReadFile(lab.App(t, "plain.js"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, good, 0o644); err != nil {
		t.Fatal(err)
	}
	nodes[0].Must("start", "-i", "2", script)
	before := pids(t, nodes[0])
	load := lab.StartLoad(200, []*http.Client{l.Client(true), l.Client(false)}, []string{nodes[0].URL(3000, "/"), nodes[1].URL(3000, "/")})
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 100) })
	if err := os.WriteFile(script, []byte("throw new Error('a broken release')\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := nodes[2].Run("reload", "web")
	if r.Code != 2 || !strings.Contains(r.Err, "release 2 is refused, release 1 goes on") || !strings.Contains(r.Err, "a broken release") {
		t.Errorf("reload of a broken release: exit %d\n%s", r.Code, r.Err)
	}
	total, failed, _ := load.Stop()
	t.Logf("broken release: %d of %d requests lost; %s", len(failed), total, r.Err[strings.LastIndex(strings.TrimSpace(r.Err), "\n")+1:])
	for _, f := range failed {
		t.Error(f)
	}
	if after := pids(t, nodes[0]); !maps.Equal(before, after) {
		t.Errorf("the workers were %v and are %v", before, after)
	}
	if err := os.WriteFile(script, good, 0o644); err != nil {
		t.Fatal(err)
	}
	nodes[2].Must("reload", "web")
}
