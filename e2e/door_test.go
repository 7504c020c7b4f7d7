package e2e

import (
	"bufio"
	"encoding/json"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// A server that is told to run no workers takes connections for every app and passes all of them on; verbs work at it as anywhere.
func TestServerWithoutWorkers(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	join := l.Host(1).IP + ":7946"
	first := l.Host(1).Start("-join", join)
	door := l.Host(2).Start("-join", join, "-no-workers")
	door.Voters(30*time.Second, 2, 1)
	door.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	door.Must("scale", "web", "+1")
	ws, err := door.Workers()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		if w.Node != first.Name {
			t.Errorf("%s runs worker %s", w.Node, w.Worker)
		}
	}
	if len(ws) != 3 {
		t.Errorf("%d workers, want 3", len(ws))
	}
	by, err := lab.Many(l.Client(true), door.URL(3000, "/?ms=5"), 100, 8)
	t.Logf("100 connections to the door: %v", by)
	if err != nil {
		t.Fatal(err)
	}
	for who := range by {
		if !strings.HasPrefix(who, first.Name+"/") {
			t.Errorf("%s served a connection", who)
		}
	}
	door.Must("delete", "web")
	leavesByHTTP2(t, first, door)
}

// leavesByHTTP2 stops a server while clients of HTTP/2 have sessions that it passes on, with and without TLS: the workers of the other server ask them to leave, and
// nothing is lost.
func leavesByHTTP2(t *testing.T, first, door *lab.Node) {
	t.Helper()
	dir := t.TempDir()
	key, cert := certificate(t, dir)
	door.Must("start", "-i", "2", "-env", "KEY="+key, "-env", "CERT="+cert, "-env", "SOCKET="+filepath.Join(dir, "app.sock"), lab.App(t, "many.js"))
	ready(t, first, 2, 20*time.Second)
	args := []string{lab.App(t, "h2client.js")}
	for range 4 {
		args = append(args, door.URL(3445, ""), first.URL(3445, ""), "https"+door.URL(3444, "")[4:], "https"+first.URL(3444, "")[4:])
	}
	client := first.Command("node", args...)
	out, err := client.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	defer client.Process.Kill()
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Fatal("the client has ended")
	}
	begun := time.Now()
	if err := door.Stop(40 * time.Second); err != nil {
		t.Error(err)
	}
	took := time.Since(begun)
	if err := client.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() {
		t.Fatal("the client says nothing")
	}
	var got struct {
		Sent, Answered, Repeated, Left, Elsewhere int
		Failed                                    []string
	}
	if err := json.Unmarshal(lines.Bytes(), &got); err != nil {
		t.Fatalf("%v: %s", err, lines.Bytes())
	}
	_ = client.Wait()
	t.Logf("HTTP/2 through a server that stops, which took %.2f s: %+v", took.Seconds(), got)
	if got.Left < 8 || len(got.Failed) > 0 || got.Answered != got.Sent {
		t.Errorf("want 8 sessions or more that were asked to leave, and every request answered")
	}
	if took > 10*time.Second {
		t.Errorf("the stop took %s: somebody was not asked to leave", took)
	}
}
