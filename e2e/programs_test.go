package e2e

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// programs are servers that know nothing of meshnode, as Debian 12 brings them, with the lines that a user types.
var programs = []struct {
	name    string
	program string // what has to be in PATH
	from    string // the Debian package that brings it
	mode    string
	line    string
	forks   bool // it has workers of its own
}{
	{"gunicorn-socket", "gunicorn", "gunicorn", "socket", "gunicorn -w 2 wsgi:app", true},
	{"gunicorn-port", "gunicorn", "gunicorn", "port", "gunicorn -w 2 -b 127.0.0.1:$PORT wsgi:app", true},
	{"uvicorn-socket", "uvicorn", "uvicorn", "socket", "uvicorn --fd 3 asgi:app", false},
	{"uvicorn-port", "uvicorn", "uvicorn", "port", "uvicorn --port $PORT asgi:app", false},
	{"puma-socket", "puma", "puma", "socket", "puma -w 2 -b tcp://127.0.0.1:$PORT", true},
	{"puma-port", "puma", "puma", "port", "puma -b tcp://127.0.0.1:$PORT", false},
	{"php", "php", "php-cli", "port", "php -S 127.0.0.1:$PORT", false},
}

// Real servers in modes socket and port: both workers answer, a reload under load loses nothing, a crash costs what was on the worker, and a
// stop leaves nothing behind.
func TestPrograms(t *testing.T) {
	for _, p := range programs {
		t.Run(p.name, func(t *testing.T) {
			if _, err := exec.LookPath(p.program); err != nil {
				t.Skipf("no %s in PATH: apt-get install --no-install-recommends %s", p.program, p.from)
			}
			runProgram(t, p.mode, p.line, p.forks)
		})
	}
}

// The same with a Go program, which is always there.
func TestGoProgram(t *testing.T) {
	path := goProgram(t)
	for _, mode := range []string{"socket", "port"} {
		t.Run(mode, func(t *testing.T) { runProgram(t, mode, path, false) })
	}
}

// goProgram builds the tests' Go program.
func goProgram(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if out, err := exec.Command("go", "build", "-o", path, "./apps/program").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

func runProgram(t *testing.T, mode, line string, forks bool) {
	l := lab.New(t, 1)
	n := l.Cluster()[0]
	n.Must("start", "-n", "any", "-i", "2", "-mode", mode, "-port", "8080", "-cwd", lab.App(t, "."), line)
	c, url := l.Client(true), n.URL(8080, "/?ms=5")
	by, err := lab.Many(c, url, 60, 4)
	if err != nil || len(by) != 2 {
		t.Fatalf("%v by %v, want both workers", err, by)
	}
	before := pids(t, n)
	load := startLoad(t, c, url)
	r := n.Must("reload", "any")
	lab.Eventually(t, 60*time.Second, func() error {
		now := pids(t, n)
		if len(now) != 2 { // those that drain are listed too, under the same names
			return fmt.Errorf("%d processes are listed", len(now))
		}
		return replaced(before, now)
	})
	total, failed, served := load.Stop()
	t.Logf("reload: %d of %d requests lost, by %v; %s", len(failed), total, served, strings.TrimSpace(r.Out))
	for _, f := range failed {
		t.Error(f)
	}

	stopOne(t, n, c, url)
	ws, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	load = startLoad(t, c, url)
	if err := syscall.Kill(pick(t, ws, "h1", "0").PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ready(t, n, 2, 20*time.Second)
	sent := load.Sent()
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), sent+50) })
	total, failed, _ = load.Stop()
	t.Logf("crash of a worker: %d of %d requests lost", len(failed), total)
	if len(failed) > 4 { // at 100/s and 5 ms one is on a worker at a time, or a few more while the machine is busy
		t.Errorf("more than can have been on one worker: %v", failed)
	}

	ws, err = n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	var all []int
	for _, w := range ws {
		all = append(all, descendants(w.PID)...)
	}
	if forks && len(all) < 6 {
		t.Errorf("2 workers with 2 of their own each are the processes %v", all)
	}
	ends := make(chan error, 1)
	go func() {
		_, err := lab.Get(c, n.URL(8080, "/?ms=1000"))
		ends <- err
	}()
	lab.Eventually(t, 5*time.Second, func() error { return busy(n) })
	n.Must("stop", "any")
	if err := <-ends; err != nil {
		t.Errorf("a request under way through the stop: %v", err)
	}
	for _, pid := range all {
		if err := gone(pid); err != nil {
			t.Errorf("after the stop: %v", err)
		}
	}
	for _, word := range []string{"killed", "did not end"} {
		if strings.Contains(n.Output(), "worker "+word) {
			t.Errorf("a worker had to be killed:\n%s", n.Output())
		}
	}
}

// stopOne stops one of two workers under load: what waits for it goes to the other, and so does what comes. It has its part again when it goes on, and
// answers what it had accepted.
func stopOne(t *testing.T, n *lab.Node, c *http.Client, url string) {
	t.Helper()
	ws, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	early := startLoad(t, c, url)
	all := descendants(pick(t, ws, "h1", "0").PID)
	signal := func(s syscall.Signal) {
		for _, pid := range all {
			if err := syscall.Kill(pid, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	signal(syscall.SIGSTOP)
	lab.Eventually(t, 10*time.Second, func() error {
		st, err := n.Status()
		if err == nil && !slices.ContainsFunc(st.Warnings, func(w api.Warning) bool { return strings.Contains(w.What, "its process is stopped") }) {
			err = fmt.Errorf("nothing is said of the stopped worker: %v", st.Warnings)
		}
		return err
	})
	if r := n.Must("explain", "any"); !strings.Contains(r.Out, "worker 0 here hangs") {
		t.Errorf("explain says nothing of it:\n%s", r.Out)
	}
	late := startLoad(t, c, url)
	sent, failed, served := late.Stop()
	if len(failed) > 0 || len(served) != 1 {
		t.Errorf("a second after the stop: %d of %d lost, served by %v: %v", len(failed), sent, served, failed)
	}
	signal(syscall.SIGCONT)
	sent, failed, _ = early.Stop()
	t.Logf("one stopped under load: %d of %d requests lost", len(failed), sent)
	for _, f := range failed {
		t.Error(f)
	}
	lab.Eventually(t, 20*time.Second, func() error {
		got, err := lab.Many(c, url, 20, 4)
		if err == nil && len(got) != 2 {
			err = fmt.Errorf("served by %v", got)
		}
		return err
	})
}

// startLoad sends 100 requests a second, and returns when it is under way.
func startLoad(t *testing.T, c *http.Client, url string) *lab.Load {
	t.Helper()
	load := lab.StartLoad(100, []*http.Client{c}, []string{url})
	lab.Eventually(t, 20*time.Second, func() error { return atLeast(load.Sent(), 30) })
	return load
}

// busy reports whether a worker has a connection.
func busy(n *lab.Node) error {
	ws, err := n.Workers()
	if err != nil {
		return err
	}
	for _, w := range ws {
		if w.Connections > 0 {
			return nil
		}
	}
	return fmt.Errorf("no connection is open")
}

// descendants are a process and all below it.
func descendants(pid int) []int {
	out := []int{pid}
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/children", pid))
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, child := range strings.Fields(string(raw)) {
			if k, err := strconv.Atoi(child); err == nil && !slices.Contains(out, k) {
				out = append(out, descendants(k)...)
			}
		}
	}
	return out
}
