package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"meshnode/e2e/bench/contender"
	"meshnode/e2e/bench/load"
)

// unproven marks the runs in which meshnode, as PM2, gives a new worker connections as soon as it is ready. Otherwise it has to stay up
// for a second first.
const unproven = " (watch time off)"

func timingJobs() []job {
	var out []job
	for _, n := range []int{2, 4, 8} {
		for _, how := range []string{unproven, ""} {
			out = append(out, pair(job{Kind: "timing", Name: fmt.Sprintf("start and reload of %d workers%s", n, how), Workers: n})...)
		}
	}
	return out
}

// seen waits until n workers that skip does not name have answered.
func seen(ctx context.Context, n int, skip map[int]bool) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return load.Seen(ctx, appAddr, n, skip)
}

// runTiming measures from the command until n workers have answered: of a start, then of a reload.
func runTiming(ctx context.Context, j job, c contender.Contender, r *result) error {
	a, err := j.app(j.Workers, nil)
	if err != nil {
		return err
	}
	if strings.HasSuffix(j.Name, unproven) {
		a.Extra = append(a.Extra, "-watch-time", "0")
	}
	for _, v := range []contender.Verb{contender.Start, contender.Reload} {
		old := make(map[int]bool)
		for _, pid := range contender.Running(a.Script) {
			old[pid] = true
		}
		type end struct {
			o   contender.Outcome
			err error
		}
		done := make(chan end, 1)
		go func() {
			o, err := c.Do(ctx, contender.Action{Verb: v, App: a})
			done <- end{o, err}
		}()
		took, err := seen(ctx, j.Workers, old)
		e := <-done
		if err != nil {
			return err
		}
		if e.err != nil {
			return e.err
		}
		if err := e.o.Err(string(v)); err != nil {
			return err
		}
		r.Figures[string(v)+"_answering_s"], r.Figures[string(v)+"_command_s"] = took.Seconds(), e.o.Took.Seconds()
		time.Sleep(3 * time.Second) // what a start leaves to do is done
	}
	return nil
}
