package load

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// proc is a fake /proc.
type proc struct {
	t    *testing.T
	root string
}

func (p proc) write(path, text string) {
	p.t.Helper()
	path = filepath.Join(p.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// cpu writes the node's jiffies; guest time, the last but one, is part of user time already.
func (p proc) cpu(user, idle, iowait int) {
	p.write("stat", fmt.Sprintf("cpu  %d 0 0 %d %d 0 0 0 %d 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n", user, idle, iowait, user))
}

// process writes what process pid has used since its start, with a name that looks like fields.
func (p proc) process(pid, start, utime, stime, pages int) {
	p.write(strconv.Itoa(pid)+"/stat", fmt.Sprintf("%d (a) R 1 (b) S 1 2 3 4 5 6 7 8 9 10 %d %d 13 14 15 16 17 18 %d 20 %d 22 23\n", pid, utime, stime, start, pages))
}

func near(a, b float64) bool { return math.Abs(a-b) < 1e-9 }

func TestBusy(t *testing.T) {
	p := proc{t, t.TempDir()}
	s := NewSampler(p.root, func() []int { return nil })
	now := time.Unix(0, 0)
	step := func(d time.Duration) float64 {
		now = now.Add(d)
		s.sample(now)
		return s.Busy()
	}
	if b := step(0); b != 0 {
		t.Errorf("without a /proc: %v", b)
	}
	p.cpu(100, 100, 0)
	if b := step(Every); b != 0 {
		t.Errorf("one reading says nothing yet: %v", b)
	}
	p.cpu(200, 100, 0)
	if b := step(halfLife); !near(b, 0.5) {
		t.Errorf("fully busy for one half-life: %v, want 0.5", b)
	}
	p.cpu(200, 150, 50)
	if b := step(halfLife); !near(b, 0.25) {
		t.Errorf("idle and waiting for one half-life: %v, want 0.25", b)
	}
	p.cpu(200, 150, 40) // the kernel's count steps back
	if b := step(Every); !near(b, 0.25) {
		t.Errorf("after a step back: %v", b)
	}
	p.cpu(1200, 150, 30)
	if b := step(1000 * halfLife); b < 0 || b > 1 {
		t.Errorf("out of [0,1]: %v", b)
	}
	p.write("stat", "junk")
	was := s.Busy()
	if b := step(Every); b != was {
		t.Errorf("after junk: %v, want %v", b, was)
	}
}

func TestProcess(t *testing.T) {
	p := proc{t, t.TempDir()}
	pids := []int{0, 7, 8}
	s := NewSampler(p.root, func() []int { return pids })
	now := time.Unix(0, 0)
	step := func() Usage {
		now = now.Add(2 * time.Second)
		s.sample(now)
		return s.Process(7)
	}
	p.process(7, 1000, 500, 500, 10)
	p.write("8/stat", "8 (short) S 1")
	page := uint64(os.Getpagesize())
	if u := step(); u != (Usage{Memory: 10 * page}) {
		t.Errorf("first sample: %+v", u)
	}
	p.process(7, 1000, 550, 550, 20)
	if u := step(); !near(u.CPU, 50) || u.Memory != 20*page {
		t.Errorf("100 ticks in 2 s: %+v", u)
	}
	p.process(7, 2000, 5000, 0, 1)
	if u := step(); u.CPU != 0 {
		t.Errorf("another process with the same number: %+v", u)
	}
	if u := s.Process(8); u != (Usage{}) {
		t.Errorf("a process that cannot be read: %+v", u)
	}
	pids = nil
	if u := step(); u != (Usage{}) || len(s.procs) != 0 {
		t.Errorf("a process that is not asked for any more: %+v", u)
	}
}

func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		s := NewSampler(t.TempDir(), func() []int { n++; return nil })
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		ended.Go(func() { s.Run(ctx) })
		time.Sleep(3*Every + Every/2) // the bubble's clock
		cancel()
		ended.Wait()
		if n != 4 {
			t.Errorf("%d samples in 3.5 s, want 4", n)
		}
	})
}

func TestRealProc(t *testing.T) {
	s := NewSampler("/proc", func() []int { return []int{os.Getpid()} })
	s.sample(time.Now())
	if u := s.Process(os.Getpid()); u.Memory == 0 || s.total.all == 0 {
		t.Errorf("usage %+v, cpu %+v", u, s.total)
	}
}
