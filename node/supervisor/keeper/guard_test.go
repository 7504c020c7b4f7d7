package keeper

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// stage names the folder in which nodes of these tests leave marks.
const stage = "KEEPER_TEST_STAGE"

// TestMain has this program play a node, of the kind that its file is named after.
func TestMain(m *testing.M) {
	if !IsNode(os.Environ()) {
		os.Exit(m.Run())
	}
	exe, _ := os.Readlink("/proc/self/exe")
	os.Exit(play(filepath.Base(exe)))
}

// play is the life of a node.
func play(part string) int {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	mark := func(what string) {
		_ = os.WriteFile(filepath.Join(os.Getenv(stage), part+"-"+what), []byte(strconv.Itoa(os.Getpid())), 0o600)
	}
	switch part {
	case "dies":
		return 3
	case "hangs":
		<-stop
		return 0
	}
	c, err := Connect(os.Environ())
	if err != nil {
		return 4
	}
	defer c.Close()
	switch part {
	case "fails":
		return 1
	case "mute":
		<-stop
		return 0
	}
	kept, err := c.Kept()
	if err != nil {
		return 5
	}
	if len(kept) == 0 {
		if err := worker(c, part); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 6
		}
	}
	if part == "late" { // it would have been ready, if it had lived
		return 7
	}
	if c.Ready() != nil {
		return 8
	}
	mark("ready")
	if part == "babbles" {
		_, _ = c.conn.Write([]byte("{"))
	}
	if path := os.Getenv("UPGRADE"); path != "" && part != filepath.Base(path) {
		if err := c.Upgrade(path); err != nil {
			mark("refused")
		}
	}
	select {
	case <-stop:
		mark("stopped")
		return 0
	case <-c.Yield():
	}
	mark("yield")
	if part == "clings" {
		<-make(chan int)
	}
	if c.Yielded() != nil {
		return 9
	}
	<-stop // it carries what crosses it
	mark("over")
	return 0
}

// worker starts a worker that lives until it is told to end.
func worker(c *Client, part string) error {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return err
	}
	defer null.Close()
	pid, err := c.Start(Start{Name: "worker/1", Path: "/bin/sh", Argv: []string{"sh", "-c", "trap 'echo $$ > $" + stage + "/worker-told; exit 0' TERM; while :; do sleep 0.05; done"},
		Env: os.Environ(), Dir: "/", Inherit: 1}, []int{int(null.Fd()), int(null.Fd())})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(os.Getenv(stage), "worker"), []byte(strconv.Itoa(pid)), 0o600)
}

// theatre is a keeper with nodes that play parts.
type theatre struct {
	t      *testing.T
	dir    string
	k      *Keeper
	cancel context.CancelFunc
	done   chan int

	mu   sync.Mutex
	said []string // to systemd
}

// part makes a program that plays it.
func part(t *testing.T, dir, name string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	in, err := os.Open("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
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

// open starts a keeper whose node plays first, and which asks for an upgrade to next, unless that is empty.
func open(t *testing.T, first, next string, short limits) *theatre {
	t.Helper()
	th := &theatre{t: t, dir: t.TempDir(), done: make(chan int, 1)}
	env := append(os.Environ(), stage+"="+th.dir, "WATCHDOG_USEC=300000")
	if next != "" {
		env = append(env, "UPGRADE="+part(t, th.dir, next))
	}
	exe, err := openProgram(part(t, th.dir, first))
	if err != nil {
		t.Fatal(err)
	}
	k := newKeeper(hclog.NewNullLogger())
	th.k = k
	g, err := newGuard(k, Options{Args: []string{first}, Env: env, Logger: k.log}, th.say)
	if err != nil {
		t.Fatal(err)
	}
	g.exe.Close()
	g.exe, g.limits = exe, short
	var ctx context.Context
	ctx, th.cancel = context.WithCancel(t.Context())
	threads(t)(func() {
		g.begin()
		k.run(ctx, false)
		th.done <- g.end.code
		for k.children.living() > 0 { // those that were killed at the end
			k.children.look(false)
		}
		for pid := range k.children.alive {
			_, _ = k.children.reap(pid)
		}
	})
	t.Cleanup(th.cancel)
	return th
}

func (th *theatre) say(state string) {
	th.mu.Lock()
	defer th.mu.Unlock()
	th.said = append(th.said, state)
}

func (th *theatre) told(state string) (n int) {
	th.mu.Lock()
	defer th.mu.Unlock()
	for _, s := range th.said {
		if s == state {
			n++
		}
	}
	return n
}

// mark waits for a mark and returns the number in it.
func (th *theatre) mark(name string) (pid int) {
	th.t.Helper()
	waitUntil(th.t, name, func() bool {
		b, err := os.ReadFile(filepath.Join(th.dir, name))
		if err == nil {
			pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		}
		return err == nil
	})
	return pid
}

func (th *theatre) has(name string) bool {
	_, err := os.Stat(filepath.Join(th.dir, name))
	return err == nil
}

func (th *theatre) forget(name string) { _ = os.Remove(filepath.Join(th.dir, name)) }

// outcome waits for what came out of the upgrade.
func (th *theatre) outcome() (o Outcome) {
	th.t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		th.t.Fatal(err)
	}
	conn, err := connOf(theirs)
	if err != nil {
		th.t.Fatal(err)
	}
	th.k.attach(ours, 0)
	c := newClient(conn)
	defer c.Close()
	waitUntil(th.t, "the upgrade is over", func() bool {
		if o, err = c.Outcome(); err != nil {
			th.t.Fatal(err)
		}
		return o.Path != "" && !o.Running
	})
	return o
}

// end waits for the end, and returns the exit code.
func (th *theatre) end() int {
	th.t.Helper()
	select {
	case code := <-th.done:
		return code
	case <-time.After(patience):
		th.t.Fatalf("not over within %s", patience)
	}
	return -1
}

// lives fails the test if the worker does not run any more.
func (th *theatre) lives() {
	th.t.Helper()
	if pid := th.mark("worker"); syscall.Kill(pid, 0) != nil {
		th.t.Errorf("the worker %d has ended", pid)
	}
}

// threads returns what runs a function on a thread of its own, and waits for it at the test's end.
func threads(t *testing.T) func(func()) {
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	return func(f func()) {
		wg.Go(func() {
			runtime.LockOSThread() // never unlocked: the thread ends with the function
			f()
		})
	}
}

// join connects a node to a keeper in this process that does not run at the moment.
func join(t *testing.T, k *Keeper) *Client {
	t.Helper()
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connOf(theirs)
	if err != nil {
		t.Fatal(err)
	}
	k.current = k.attach(ours, 0)
	c := newClient(conn)
	t.Cleanup(c.Close)
	return c
}

func waitUntil(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for late := time.After(patience); !cond(); {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%s: not within %s", what, patience)
		}
	}
}
