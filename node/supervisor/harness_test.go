package supervisor

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"

	"meshnode/node/supervisor/keeper"
	"meshnode/node/supervisor/nodeipc"
)

// limit bounds every wait of these tests.
const limit = 15 * time.Second

// helperVariable has the test binary play what a shell cannot.
const helperVariable = "SUPERVISOR_TEST_HELPER"

func TestMain(m *testing.M) {
	switch os.Getenv(helperVariable) {
	case "":
		os.Exit(m.Run())
	case "ready":
		c, err := net.Dial("unixgram", os.Getenv("NOTIFY_SOCKET"))
		if err != nil {
			os.Exit(8)
		}
		fmt.Fprint(c, "STATUS=up\nREADY=1")
	case "listen":
		if _, err := net.Listen("tcp4", "127.0.0.1:"+os.Getenv("PORT")); err != nil {
			os.Exit(8)
		}
		<-time.After(time.Minute)
	}
}

// roles are what a worker of these tests does, by the word: lines of a shell script.
var roles = map[string]string{
	"ready":    helperVariable + `=ready "$HELPER"`,
	"listen":   helperVariable + `=listen exec "$HELPER"`,
	"polite":   `trap 'echo told to end; exit 0' TERM`,
	"stubborn": `trap '' TERM`,
	"crash":    `echo 'TypeError: not today' >&2; exit 3`,
	"env":      `env`,
	"child":    `sh -c 'trap "" TERM; sleep 60; :' & echo pid $!`,        // in the group
	"daemon":   `setsid sh -c 'trap "" TERM; sleep 60; :' & echo pid $!`, // and out of it
	"wait":     `echo waiting; sleep 60 & wait $!`,
}

// router is a fake Router that writes down what it is told, in order.
type router struct {
	poke chan struct{}
	hold chan struct{} // Drained waits for its close, if there is one

	mu  sync.Mutex
	log []string
	ws  map[string]Worker
}

func (r *router) note(what string, w Worker) {
	r.mu.Lock()
	r.log = append(r.log, what+" "+w.ID)
	r.ws[w.ID] = w
	r.mu.Unlock()
	select {
	case r.poke <- struct{}{}:
	default:
	}
}

func (r *router) Route(w Worker)   { r.note("route", w) }
func (r *router) Unroute(w Worker) { r.note("unroute", w) }
func (r *router) Ended(w Worker)   { r.note("ended", w) }
func (r *router) Drained(ctx context.Context, w Worker) error {
	r.note("drain", w)
	if r.hold == nil {
		return nil
	}
	select {
	case <-r.hold:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *router) Listen(w Worker, q nodeipc.Query) nodeipc.Reply {
	r.note("listen", w)
	return nodeipc.Reply{Address: "127.0.0.1", Port: q.Port, Data: q.Data}
}
func (r *router) Unlisten(w Worker, _ string) { r.note("unlisten", w) }

// said returns what the router was told, without the named kinds.
func (r *router) said(but ...string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []string
	for _, l := range r.log {
		if kind, _, _ := strings.Cut(l, " "); !slices.Contains(but, kind) {
			out = append(out, l)
		}
	}
	return out
}

func (r *router) has(line string) bool { return slices.Contains(r.said(), line) }

// bench is a supervisor under test.
type bench struct {
	t   *testing.T
	sup *Supervisor
	r   *router
	dir string
	id  string
	met *metrics.InmemSink
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, dir: t.TempDir(), r: &router{poke: make(chan struct{}, 1), ws: make(map[string]Worker)},
		id: fmt.Sprintf("t%d-%s", os.Getpid(), strings.ToLower(t.Name()))}
	c := metrics.DefaultConfig("")
	c.EnableHostname, c.EnableRuntimeMetrics = false, false
	b.met = metrics.NewInmemSink(time.Hour, time.Hour)
	m, err := metrics.New(c, b.met)
	if err != nil {
		t.Fatal(err)
	}
	preload, err := nodeipc.WritePreload(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	client, run, stop, err := keeper.Local(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	var thread sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the test
		run()
	})
	b.sup = New(Options{Dir: b.dir, Node: "n1", NodeID: b.id, Preload: preload, Keeper: client, Router: b.r, Logger: hclog.NewNullLogger(), Metrics: m})
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel() // all tests have seen what they wanted to see
		b.sup.Close(ctx)
		stop()
		client.Close()
		thread.Wait()
		if left := marked([]byte(runVariable+"="+b.id+"/"), nil); len(left) > 0 {
			t.Errorf("processes left behind: %v", left)
		}
	})
	return b
}

// spec is a worker in mode port that plays a role, and says by itself when it is ready.
func (b *bench) spec(release uint64, role string) Spec {
	var script []string
	for word := range strings.FieldsSeq(role) {
		script = append(script, roles[word])
	}
	return b.sh(release, strings.Join(script, "\n"))
}

// sh is a worker in mode port that runs a shell script.
func (b *bench) sh(release uint64, script string) Spec {
	return Spec{App: "app", Release: release, Command: []string{"sh", "-c", script}, Dir: b.dir, Env: []string{"HELPER=/proc/" + itoa(os.Getpid()) + "/exe"},
		Mode: ModePort, WaitReady: true, Times: Times{Listen: limit, Drain: limit, Kill: limit},
		Restart: Restart{MinUptime: time.Second, Max: 16, Backoff: 100 * time.Millisecond}}
}

// node is a worker in mode cluster that runs a Node script.
func (b *bench) node(release uint64, script string) Spec {
	b.t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		b.t.Skip("there is no node in PATH: Node workers are not tried")
	}
	path := b.dir + "/app" + strconv.Itoa(int(release)) + ".js"
	if err := os.WriteFile(path, []byte(script), 0o600); err != nil {
		b.t.Fatal(err)
	}
	s := b.spec(release, "")
	s.Command, s.Mode, s.WaitReady = []string{"node", path}, ModeCluster, false
	return s
}

func (b *bench) start(s Spec, o Order) { b.sup.Start(0, s, o) }

// eventually waits until cond holds; it is asked again whenever the supervisor or the router has news.
func (b *bench) eventually(what string, cond func() bool) {
	b.t.Helper()
	t := time.NewTimer(limit)
	defer t.Stop()
	for !cond() {
		select {
		case <-b.sup.Changed():
		case <-b.r.poke:
		case <-t.C:
			b.t.Fatalf("%s: not within %s; status %+v; router %v", what, limit, b.sup.Status(), b.r.said())
		}
	}
}

// until waits for a status of slot 0, and returns it.
func (b *bench) until(what string, ok func(Status) bool) (st Status) {
	b.t.Helper()
	b.eventually(what, func() bool {
		all := b.sup.Status()
		if len(all) > 0 {
			st = all[0]
		}
		return len(all) > 0 && ok(st)
	})
	return st
}

func (b *bench) ready(release uint64) Status {
	b.t.Helper()
	return b.until(fmt.Sprintf("release %d ready", release), func(s Status) bool { return s.State == StateReady && s.Release == release })
}

// stopped waits until no slot is left.
func (b *bench) stopped() {
	b.t.Helper()
	b.eventually("all slots empty", func() bool { return len(b.sup.Status()) == 0 })
}

// lines returns what the app wrote so far.
func (b *bench) lines() string {
	b.t.Helper()
	ls, err := b.sup.LastLines("app", "", 1000)
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, l := range ls {
		out = append(out, l.Text)
	}
	return strings.Join(out, "\n")
}

// line waits for a line that begins with prefix, and returns the rest of it.
func line(t *testing.T, f *Follower, prefix string) string {
	t.Helper()
	after := time.After(limit)
	for {
		select {
		case l := <-f.Lines():
			if rest, ok := strings.CutPrefix(l.Text, prefix); ok {
				return strings.TrimSpace(rest)
			}
		case <-after:
			t.Fatalf("no line %q within %s", prefix, limit)
		}
	}
}

func pidLine(t *testing.T, f *Follower) int {
	t.Helper()
	pid, err := strconv.Atoi(line(t, f, "pid "))
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// counted returns a counter of the supervisor.
func (b *bench) counted(name string) int {
	for _, i := range b.met.Data() {
		i.RLock()
		c, ok := i.Counters["supervisor."+name]
		i.RUnlock()
		if ok {
			return int(c.Sum)
		}
	}
	return 0
}

// alive reports whether a process runs; a zombie that nobody has reaped does not.
func alive(pid int) bool {
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
