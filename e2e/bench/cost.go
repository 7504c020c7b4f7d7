package main

import (
	"context"
	"fmt"
	"time"

	"meshnode/e2e/bench/contender"
	"meshnode/e2e/bench/load"
)

const (
	saturated = 4 * time.Second
	clients   = 32
	idleTime  = 30 * time.Second
	idleCount = 8 // workers
)

func costJobs() []job {
	out := pair(job{Kind: "cost", Name: "processor time", Workers: 2})
	return append(out, pair(job{Kind: "idle", Name: "idle", Workers: idleCount})...)
}

// runCost measures the processor time of a request on a kept connection, and of one on a new connection, with both cores busy.
func runCost(ctx context.Context, j job, c contender.Contender, r *result) error {
	a, err := j.app(j.Workers, map[string]string{"MS": "0"})
	if err != nil {
		return err
	}
	if err := start(ctx, c, a); err != nil {
		return err
	}
	for _, mode := range []string{keepAlive, newConns} {
		if _, _, err := load.Saturate(ctx, appAddr, clients, mode == keepAlive, time.Second); err != nil { // compiled, warm
			return err
		}
		p, err := c.Processes()
		if err != nil {
			return err
		}
		own, workers := contender.CPU(p.Own), contender.CPU(p.Workers)
		answered, failed, err := load.Saturate(ctx, appAddr, clients, mode == keepAlive, saturated)
		if err != nil {
			return err
		}
		if answered == 0 {
			return fmt.Errorf("no answer at all (%s)", mode)
		}
		own, workers = contender.CPU(p.Own)-own, contender.CPU(p.Workers)-workers
		key := pick(mode == keepAlive, "keep", "new")
		r.Figures[key+"_own_us"] = float64(own.Microseconds()) / float64(answered)
		r.Figures[key+"_workers_us"] = float64(workers.Microseconds()) / float64(answered)
		r.Figures[key+"_per_s"] = float64(answered) / saturated.Seconds()
		r.Figures[key+"_failed"] = float64(failed)
	}
	return nil
}

// runIdle measures what a contender needs while its workers have nothing to do.
func runIdle(ctx context.Context, j job, c contender.Contender, r *result) error {
	a, err := j.app(j.Workers, nil)
	if err != nil {
		return err
	}
	if err := start(ctx, c, a); err != nil {
		return err
	}
	time.Sleep(5 * time.Second) // the start is over
	p, err := c.Processes()
	if err != nil {
		return err
	}
	before := contender.CPU(p.Own)
	time.Sleep(idleTime)
	r.Figures["idle_percent"] = 100 * (contender.CPU(p.Own) - before).Seconds() / idleTime.Seconds()
	r.Figures["rss_mb"] = float64(contender.RSS(p.Own)) / (1 << 20)
	return nil
}

func pick[T any](cond bool, yes, no T) T {
	if cond {
		return yes
	}
	return no
}
