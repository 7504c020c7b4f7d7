package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"meshnode/e2e/bench/contender"
)

// party are the processes of one side of a measurement.
type party struct {
	key  string
	pids []int
}

// saturation is a run of wrk, as many requests as its connections take.
type saturation struct {
	url     string
	conns   int
	time    time.Duration
	header  string // one more, "" = none
	parties []party
}

// run notes the processor time of each party a request, its ratio to that of the load generator (rel), and what the machine did for none of
// them.
func (w saturation) run(ctx context.Context, r *result, prefix string) error {
	bin, err := exec.LookPath("wrk")
	if err != nil {
		return fmt.Errorf("wrk is not installed: apt-get install wrk: %w", errors.ErrUnsupported)
	}
	args := []string{"-t1", "-c" + strconv.Itoa(w.conns), fmt.Sprintf("-d%ds", int(w.time.Seconds()))}
	if w.header != "" {
		args = append(args, "-H", w.header)
	}
	c := exec.CommandContext(ctx, bin, append(args, w.url)...)
	before := make([]time.Duration, len(w.parties))
	for i, p := range w.parties {
		before[i] = contender.CPU(p.pids)
	}
	busy, begun := machineBusy(), time.Now()
	out, err := c.CombinedOutput()
	wall := time.Since(begun)
	busy = machineBusy() - busy
	if err != nil {
		return fmt.Errorf("wrk: %w: %s", err, contender.Last(string(out), 600))
	}
	n, errs := wrkCounts(string(out))
	if n == 0 {
		return fmt.Errorf("no answer at all: %s", contender.Last(string(out), 600))
	}
	load := c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	known := load
	for i, p := range w.parties {
		used := contender.CPU(p.pids) - before[i]
		known += used
		r.Figures[prefix+p.key+"_us"] = float64(used.Microseconds()) / n
		r.Figures[prefix+p.key+"_rel"] = used.Seconds() / load.Seconds()
	}
	r.Figures[prefix+"per_s"] = n / wall.Seconds()
	r.Figures[prefix+"load_us"] = float64(load.Microseconds()) / n
	r.Figures[prefix+"failed"] = errs
	r.Figures[prefix+"foreign_percent"] = 100 * max(0, (busy-known).Seconds()) / wall.Seconds() / float64(runtime.NumCPU())
	return nil
}

var (
	wrkTotal  = regexp.MustCompile(`(\d+) requests in`)
	wrkErrors = regexp.MustCompile(`(?:connect|read|write|timeout|responses:) (\d+)`)
)

// wrkCounts reads how many requests were answered and how many failed.
func wrkCounts(out string) (answered, failed float64) {
	if m := wrkTotal.FindStringSubmatch(out); m != nil {
		answered, _ = strconv.ParseFloat(m[1], 64)
	}
	for _, m := range wrkErrors.FindAllStringSubmatch(out, -1) {
		k, _ := strconv.ParseFloat(m[1], 64)
		failed += k
	}
	return answered, failed
}

// machineBusy is the processor time that the whole machine has used.
func machineBusy() time.Duration {
	raw, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	var ticks int64
	for i, f := range strings.Fields(line)[1:] {
		if v, err := strconv.ParseInt(f, 10, 64); err == nil && i < 7 && i != 3 && i != 4 { // not idle, not waiting, not stolen
			ticks += v
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
