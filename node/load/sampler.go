package load

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// Every is the time between two samples.
	Every = time.Second
	// halfLife is how long a change of the node's load takes to show by half.
	halfLife = 3 * time.Second
	// ticksPerSecond is the kernel's USER_HZ, 100 on every Linux that Go runs on.
	ticksPerSecond = 100
)

// Usage is what one process uses.
type Usage struct {
	CPU    float64 // CPU is the share of one core used over the last sample, in percent.
	Memory uint64  // Memory is the resident size, in bytes.
}

// Sampler keeps the last figures.
type Sampler struct {
	root string // "/proc" outside tests
	pids func() []int

	mu    sync.Mutex
	busy  float64
	total cpuTime
	at    time.Time // of total
	procs map[int]process
}

type cpuTime struct{ busy, all uint64 }

type process struct {
	start uint64 // tells a process from a later one with its number
	ticks uint64
	at    time.Time
	usage Usage
}

// NewSampler returns a Sampler for the node and for the processes that pids names at each sample. root is "/proc".
func NewSampler(root string, pids func() []int) *Sampler {
	return &Sampler{root: root, pids: pids, procs: make(map[int]process)}
}

// Run samples until the context ends.
func (s *Sampler) Run(ctx context.Context) {
	t := time.NewTicker(Every)
	defer t.Stop()
	for {
		s.sample(time.Now())
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// Busy is the share of this server's cores in use, smoothed; in [0,1].
func (s *Sampler) Busy() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.busy
}

// Process is what the process pid used at the last sample.
func (s *Sampler) Process(pid int) Usage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.procs[pid].usage
}

func (s *Sampler) sample(now time.Time) {
	pids := s.pids()
	total := s.cpu()
	s.mu.Lock()
	defer s.mu.Unlock()
	// The kernel's idle counts may step back a little, and then so may the sum.
	if s.total.all > 0 && total.all > s.total.all && total.busy >= s.total.busy {
		share := min(1, float64(total.busy-s.total.busy)/float64(total.all-s.total.all))
		s.busy += (share - s.busy) * (1 - math.Exp2(-float64(now.Sub(s.at))/float64(halfLife)))
	}
	s.total, s.at = total, now
	next := make(map[int]process, len(pids))
	for _, pid := range pids {
		if pid > 0 {
			next[pid] = s.process(pid, s.procs[pid], now)
		}
	}
	s.procs = next
}

// cpu reads the first line of /proc/stat: jiffies by kind, of which idle and iowait are not busy.
func (s *Sampler) cpu() (c cpuTime) {
	raw, err := os.ReadFile(filepath.Join(s.root, "stat"))
	if err != nil {
		return c
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	for i, f := range strings.Fields(line) {
		n, err := strconv.ParseUint(f, 10, 64)
		if err != nil || i > 8 { // guest time is in user time already
			continue
		}
		c.all += n
		if i != 4 && i != 5 {
			c.busy += n
		}
	}
	return c
}

func (s *Sampler) process(pid int, last process, now time.Time) process {
	raw, err := os.ReadFile(filepath.Join(s.root, strconv.Itoa(pid), "stat"))
	if err != nil {
		return process{}
	}
	// The name, in brackets, may hold anything; the fields are counted after it.
	f := bytes.Fields(raw[bytes.LastIndexByte(raw, ')')+1:])
	if len(f) < 22 {
		return process{}
	}
	p := process{at: now, ticks: number(f[11]) + number(f[12]), start: number(f[19])}
	p.usage.Memory = number(f[21]) * uint64(os.Getpagesize())
	if !last.at.IsZero() && p.start == last.start && p.ticks >= last.ticks {
		if dt := now.Sub(last.at).Seconds(); dt > 0 {
			p.usage.CPU = float64(p.ticks-last.ticks) / ticksPerSecond / dt * 100
		}
	}
	return p
}

func number(b []byte) uint64 {
	n, err := strconv.ParseUint(string(b), 10, 64)
	if err != nil {
		return 0
	}
	return n
}
