package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"meshnode/e2e/bench/contender"
)

// workerWord is the first argument of this program where it is a tiny worker.
const workerWord = "worker:"

const (
	crashAfter = 3 * time.Second  // a worker's life, at least; it must be ready and 1 s old to count as started
	crashMore  = 2 * time.Second  // and up to this more
	settle     = 5 * time.Second  // over which the memory is looked at
	stall      = 60 * time.Second // without a single restart
)

func restartJobs(o options) []job {
	return []job{
		{Kind: "restarts", Name: "worker restarts", Contender: meshnode, Workers: o.crowd, Count: pick(o.count > 0, o.count, 10000)},
		{Kind: "reloads", Name: "reloads", Contender: meshnode, Workers: 1, Count: o.reloads},
	}
}

// workerMain is a worker that does nothing. It leaves one byte in the file COUNT at its start, and ends by itself where BRIEF says so.
func workerMain() int {
	l, err := net.Listen("tcp", "127.0.0.1:"+os.Getenv("PORT"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	defer l.Close()
	f, err := os.OpenFile(os.Getenv("COUNT"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	_, _ = f.Write([]byte{'.'}) // a start that is not counted does no harm
	_ = f.Close()
	if os.Getenv("BRIEF") == "1" {
		time.AfterFunc(crashAfter+rand.N(crashMore), func() { os.Exit(1) })
	}
	for {
		c, err := l.Accept()
		if err != nil {
			return 1
		}
		_ = c.Close()
	}
}

// tiny is the app of workerMain.
func (j job) tiny(brief string) (contender.App, string, error) {
	self, err := os.Executable()
	count := filepath.Join(j.Dir, "count")
	return contender.App{Name: "tiny", Script: self, Args: []string{workerWord}, Workers: j.Workers, Limit: 5 * time.Minute,
		Env: map[string]string{"COUNT": count, "BRIEF": brief}, Extra: []string{"-mode", "port", "-port", appPort, "-interpreter", "none"}}, count, err
}

// runRestarts measures the memory of a contender's own processes on the way to many restarts or reloads.
func runRestarts(ctx context.Context, j job, c contender.Contender, r *result) error {
	if j.Kind == "reloads" {
		return runReloads(ctx, j, c, r)
	}
	a, count, err := j.tiny("1")
	if err != nil {
		return err
	}
	a.Extra = append(a.Extra, "-detach") // they are never all ready
	o, err := c.Do(ctx, contender.Action{Verb: contender.Start, App: a})
	if err != nil {
		return err
	}
	if err := o.Err("start"); err != nil {
		return err
	}
	begun := time.Now()
	for _, mark := range marks(j.Count) {
		if err := restarted(count, a.Workers+mark); err != nil {
			return err
		}
		if err := remember(c, r, mark); err != nil {
			return err
		}
	}
	r.Figures["took_s"] = time.Since(begun).Seconds()
	return nil
}

func runReloads(ctx context.Context, j job, c contender.Contender, r *result) error {
	a, _, err := j.tiny("0")
	if err != nil {
		return err
	}
	if o, err := c.Do(ctx, contender.Action{Verb: contender.Start, App: a}); err != nil || o.Code != 0 {
		return fmt.Errorf("start: %w: %s", err, o.Output)
	}
	begun := time.Now()
	want := marks(j.Count)
	for n := 1; n <= j.Count; n++ {
		o, err := c.Do(ctx, contender.Action{Verb: contender.Reload, App: a})
		if err != nil {
			return err
		}
		if err := o.Err("reload " + strconv.Itoa(n)); err != nil {
			return err
		}
		if slices.Contains(want, n) {
			if err := remember(c, r, n); err != nil {
				return err
			}
		}
	}
	r.Figures["took_s"] = time.Since(begun).Seconds()
	return nil
}

// marks are where the memory is looked at: at 100, at some places between, and at the end.
func marks(count int) []int {
	out := []int{min(100, count)}
	for _, m := range []int{count / 4, count / 2, count * 3 / 4, count} {
		if m > out[len(out)-1] {
			out = append(out, m)
		}
	}
	return out
}

// restarted waits until so many workers have been started.
func restarted(count string, starts int) error {
	var seen int64
	for last := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		info, err := os.Stat(count)
		if err == nil && info.Size() > seen {
			seen, last = info.Size(), time.Now()
		}
		if seen >= int64(starts) {
			return nil
		}
		if time.Since(last) > stall {
			return fmt.Errorf("%d of %d starts, and none more within %s", seen, starts, stall)
		}
	}
}

// remember takes the median of the memory over a while.
func remember(c contender.Contender, r *result, mark int) error {
	p, err := c.Processes()
	if err != nil {
		return err
	}
	var all []float64
	for begun := time.Now(); time.Since(begun) < settle; time.Sleep(settle / 20) {
		all = append(all, megabytes(contender.RSS(p.Own)))
	}
	r.Figures[fmt.Sprintf("rss_mb_after_%06d", mark)] = median(all)
	return nil
}
