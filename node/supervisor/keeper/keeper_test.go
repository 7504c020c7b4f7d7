package keeper

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// patience bounds every wait of these tests.
const patience = 20 * time.Second

// local runs a keeper in this process for the test.
func local(t *testing.T) *Client {
	t.Helper()
	c, run, stop, err := Local(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	var thread sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the test
		run()
	})
	t.Cleanup(func() {
		stop()
		c.Close()
		thread.Wait()
	})
	return c
}

// pipe returns both ends of a pipe, which the test closes.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close(); w.Close() })
	return r, w
}

// shell starts a shell script as a worker, whose output is returned.
func shell(t *testing.T, c *Client, s Start, script string, kept ...int) (int, *os.File) {
	t.Helper()
	r, w := pipe(t)
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	defer w.Close()
	s.Path, s.Argv, s.Dir, s.Inherit = "/bin/sh", []string{"sh", "-c", script}, "/", 3
	pid, err := c.Start(s, append([]int{int(null.Fd()), int(w.Fd()), int(w.Fd())}, kept...))
	if err != nil {
		t.Fatal(err)
	}
	return pid, r
}

func ended(t *testing.T, c *Client, pid int) {
	t.Helper()
	select {
	case <-c.Ended(pid):
	case <-time.After(patience):
		t.Fatalf("process %d has not ended within %s", pid, patience)
	}
}

func reaped(t *testing.T, c *Client, pid int) unix.WaitStatus {
	t.Helper()
	ended(t, c, pid)
	status, err := c.Reap(pid)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

// openFiles is the number of descriptors of this process.
func openFiles(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}

func TestWorkerWithALargeEnvironment(t *testing.T) {
	c := local(t)
	env := []string{"PATH=" + os.Getenv("PATH")}
	want := 0
	for i := range 40 { // far more than one packet holds
		env = append(env, "V"+strconv.Itoa(i)+"="+strings.Repeat("<", 8<<10))
		want += 8 << 10
	}
	pid, out := shell(t, c, Start{Name: "w", Env: env, Meta: json.RawMessage(`{"a":1}`)}, "env | tr -cd '<' | wc -c")
	b, err := io.ReadAll(out)
	if err != nil || strings.TrimSpace(string(b)) != strconv.Itoa(want) {
		t.Errorf("the worker saw %q of %d bytes, %v", b, want, err)
	}
	if status := reaped(t, c, pid); status.ExitStatus() != 0 {
		t.Errorf("status %v", status)
	}
}

func TestExitStatusAndSignal(t *testing.T) {
	c := local(t)
	pid, _ := shell(t, c, Start{Name: "a"}, "exit 7")
	if status := reaped(t, c, pid); status.ExitStatus() != 7 {
		t.Errorf("exit %d", status.ExitStatus())
	}
	if _, err := c.Reap(pid); err == nil {
		t.Error("reaped twice")
	}
	pid, _ = shell(t, c, Start{Name: "b"}, "kill -9 $$")
	if status := reaped(t, c, pid); !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Errorf("status %v", status)
	}
	if _, err := c.Start(Start{Name: "c", Path: "/no/such/program", Argv: []string{"x"}, Dir: "/"}, nil); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("a program that is not there: %v", err)
	}
	if has, err := c.Holds("c"); has || err != nil {
		t.Errorf("kept all the same: %v %v", has, err)
	}
}

// What is kept comes back with descriptors that work, oldest first, whatever became of those that were handed in.
func TestKeptDescriptorsWork(t *testing.T) {
	c := local(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Hold("listener", json.RawMessage(`"one"`), int(f.Fd())); err != nil {
		t.Fatal(err)
	}
	f.Close()
	l.Close()
	r, w := pipe(t)
	large := json.RawMessage(`"` + strings.Repeat("x", 200<<10) + `"`)
	if err := c.Hold("pipe", nil, int(w.Fd()), int(r.Fd())); err != nil {
		t.Fatal(err)
	}
	if err := c.Update("pipe", large); err != nil {
		t.Fatal(err)
	}
	w.Close()
	conn, err := net.Dial("tcp4", l.Addr().String()) // the keeper's duplicate still listens
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	kept, err := c.Kept()
	if err != nil || len(kept) != 2 || kept[0].Name != "listener" || len(kept[0].FDs) != 1 || len(kept[1].FDs) != 2 || !bytes.Equal(kept[1].Meta, large) {
		t.Fatalf("%d kept, %v", len(kept), err)
	}
	fd, _, err := unix.Accept(kept[0].FDs[0])
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	if _, err := unix.Write(kept[1].FDs[0], []byte("hello")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 5)
	if n, err := unix.Read(kept[1].FDs[1], b); err != nil || string(b[:n]) != "hello" {
		t.Errorf("read %q %v", b, err)
	}
	closeAll(append(kept[0].FDs, kept[1].FDs...))
	if err := c.Drop("listener"); err != nil {
		t.Fatal(err)
	}
	if again, err := net.Dial("tcp4", l.Addr().String()); err == nil {
		again.Close()
		t.Error("what was dropped still listens")
	}
	if has, err := c.Holds("pipe"); !has || err != nil {
		t.Errorf("%v %v", has, err)
	}
}

// Whatever is asked for, and whether it succeeds or not, no descriptor stays behind.
func TestNoDescriptorIsLost(t *testing.T) {
	c := local(t)
	r, _ := pipe(t)
	fd := int(r.Fd())
	many := make([]int, maxFiles)
	for i := range many {
		many[i] = fd
	}
	round := func() {
		large := json.RawMessage(`"` + strings.Repeat("x", 100<<10) + `"`)
		for _, err := range []error{c.Hold("x", large, fd), c.Hold("x", nil, fd), c.Update("x", large)} {
			if err != nil {
				t.Fatal(err)
			}
		}
		kept, err := c.Kept()
		if err != nil || len(kept) != 1 {
			t.Fatal(err)
		}
		closeAll(kept[0].FDs)
		for _, p := range []packet{{Kind: kindHold}, {Kind: kindUpdate, Name: "y"}, {Kind: kindReap, PID: 1}, {Kind: kindStart, Body: json.RawMessage(`{"inherit":-1}`)},
			{Kind: kindStart, Body: json.RawMessage(`{"inherit":9}`)}, {Kind: kindStart, Body: json.RawMessage(`[]`)}, {Kind: "nonsense"},
			{Kind: kindStart, Body: json.RawMessage(`{"name":"z","path":"/none","inherit":1}`)}, {Kind: kindStart, Body: json.RawMessage(`{"inherit":1,"path":"/bin/true"}`)}} {
			if _, err := c.ask(p, []int{fd, fd}); err == nil {
				t.Errorf("%s %s succeeded", p.Kind, p.Body)
			}
		}
		if c.Hold("many", nil, many...) == nil || c.Hold("many", nil, append(many, fd)...) == nil {
			t.Error("more descriptors are kept than can be listed")
		}
		if c.Hold("big", json.RawMessage(`"`+strings.Repeat("x", maxMeta)+`"`), fd) == nil {
			t.Error("more is kept than can be listed")
		}
		if err := c.Drop("x"); err != nil {
			t.Fatal(err)
		}
	}
	round()
	before := openFiles(t)
	for range 5 {
		round()
	}
	if now := openFiles(t); now != before {
		t.Errorf("%d descriptors before, %d after", before, now)
	}
}

// A worker that ends while no node listens is listed as one that has ended, with its status to be had.
func TestEndedWhileNobodyListens(t *testing.T) {
	k := newKeeper(hclog.NewNullLogger())
	first, turn := join(t, k), make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	threads(t)(func() {
		k.run(ctx, false)
		turn <- struct{}{}
		<-turn
		k.run(t.Context(), false)
		if k.current != nil { // it has not seen yet that the node has gone
			k.current.conn.Close()
		}
		go func() { // the last words of both
			k.readers.Wait()
			close(k.inbox)
		}()
		for r := range k.inbox {
			closeAll(r.fds)
		}
	})
	r, w := pipe(t)
	null, _ := pipe(t)
	pid, err := first.Start(Start{Name: "w", Path: "/bin/sh", Argv: []string{"sh", "-c", "read x; exit 5"}, Dir: "/", Inherit: 1}, []int{int(r.Fd()), int(null.Fd())})
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	<-turn
	first.Close()
	w.Close() // only now it ends
	waitUntil(t, "the worker has ended", func() bool { return hasEnded(pid) })
	second := join(t, k)
	turn <- struct{}{}
	kept, err := second.Kept()
	if err != nil || len(kept) != 1 || kept[0].PID != pid || len(kept[0].FDs) != 1 || !kept[0].Ended {
		t.Fatalf("kept %+v %v", kept, err)
	}
	closeAll(kept[0].FDs)
	if status := reaped(t, second, pid); status.ExitStatus() != 5 {
		t.Errorf("status %v", status)
	}
}

func TestGroupOfAWorker(t *testing.T) {
	c := local(t)
	adopt(true)
	defer adopt(false)
	pid, out := shell(t, c, Start{Name: "w"}, "sleep 60 & echo $!")
	b := make([]byte, 16)
	n, err := out.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(b[:n])))
	if err != nil {
		t.Fatal(err)
	}
	reaped(t, c, pid)
	if !c.GroupLives(pid) {
		t.Error("its child lives, its group is said to have ended")
	}
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, "the group has ended", func() bool { return !c.GroupLives(pid) })
	if _, err := os.Stat(filepath.Join("/proc", strconv.Itoa(child))); err == nil {
		t.Error("its child was not reaped")
	}
	for _, odd := range []int{-1, 0, 1} {
		if c.GroupLives(odd) {
			t.Errorf("group %d", odd)
		}
	}
}

// Several ask at once, of which none waits for another's answer; when the keeper goes, all are told.
func TestManyAtOnceAndAKeeperThatGoes(t *testing.T) {
	c, run, stop, err := Local(hclog.NewNullLogger())
	if err != nil {
		t.Fatal(err)
	}
	var thread, asking sync.WaitGroup
	thread.Go(func() {
		runtime.LockOSThread()
		run()
	})
	large := json.RawMessage(`"` + strings.Repeat("x", 40<<10) + `"`)
	for i := range 32 {
		asking.Go(func() {
			for n := 0; ; n++ {
				err := c.Hold(strconv.Itoa(i), large)
				if n == 10 && i == 0 {
					stop()
				}
				if err != nil {
					return // the keeper has gone
				}
			}
		})
	}
	asking.Wait()
	if _, err := c.Kept(); !errors.Is(err, ErrGone) && !errors.Is(err, unix.EPIPE) {
		t.Errorf("asked one that has gone: %v", err)
	}
	c.Close()
	thread.Wait()
}

func TestWorkersGoFirstWhenMemoryRunsOut(t *testing.T) {
	c := local(t)
	pid, out := shell(t, c, Start{Name: "w"}, "echo up; exec sleep 60")
	if _, err := out.Read(make([]byte, 3)); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.TrimSpace(string(raw)); got != strconv.Itoa(workerScore) {
		t.Errorf("oom_score_adj is %s", got)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ended(t, c, pid)
}
