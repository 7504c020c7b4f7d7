package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"meshnode/e2e/bench/front"
	"meshnode/e2e/bench/load"
)

const (
	skewSlots  = 4
	skewMean   = 2 * time.Millisecond
	skewRate   = 1497 // a second: 70 % of what the four can do
	skewTime   = 12 * time.Second
	skewFactor = 10

	cellMean  = 10 * time.Millisecond
	cellTime  = 20 * time.Second
	cellEqual = "four equal nodes of two workers, 70 % load"
	cellSlow  = "one of four nodes four times slower, 70 % load"
)

// runSkew has four servers, of which the last takes ten times as long. One request in ten takes twenty times as long as the others.
func runSkew(ctx context.Context, j job, f front.Front, r *result) error {
	cmd, err := j.server(sleepKind)
	if err != nil {
		return err
	}
	s := front.Service{Servers: 4, Command: cmd, Nodes: 4, Slots: skewSlots,
		Env: map[string]string{"SLOTS": strconv.Itoa(skewSlots), "SLOW": "s4", "FACTOR": strconv.Itoa(skewFactor)}}
	if err := f.Open(ctx, s); err != nil {
		return err
	}
	settled()
	o := load.Options{Addr: f.Doors()[0], Rate: skewRate, Seed: uint64(j.Count) + 1, Duration: skewTime, Timeout: 30 * time.Second, Late: time.Second,
		Work: load.Work{Mean: skewMean, Heavy: 0.1, Times: 20}}
	if j.Mode == keepAlive {
		o.Keep, o.Clients = true, 1500
	}
	return r.run(o)
}

// runCell is a cell of the policy study on real nodes: workers serve one request at a time, which takes an exponential time, and clients use every door.
func runCell(ctx context.Context, j job, f front.Front, r *result) error {
	cmd, err := j.server(sleepKind)
	if err != nil {
		return err
	}
	s := front.Service{Servers: 8, Command: cmd, Nodes: 4, Env: map[string]string{"SLOTS": "1", "SLOW": "none", "FACTOR": "1"}}
	rate := 0.7 * 8
	if j.Name == cellSlow {
		s.Env["SLOW"], s.Env["FACTOR"] = "s4", "4"
		rate = 0.7 * (6 + 2.0/4)
	}
	if err := f.Open(ctx, s); err != nil {
		return err
	}
	settled()
	doors := f.Doors()
	return r.run(load.Options{Addr: doors[0], More: doors[1:], Rate: int(rate * float64(time.Second/cellMean)), Seed: uint64(j.Count) + 1, Duration: cellTime,
		Timeout: 30 * time.Second, Late: time.Second, Work: load.Work{Mean: cellMean}})
}

// run sends the load and keeps its report.
func (r *result) run(o load.Options) error {
	rep, err := load.Run(o)
	if err != nil {
		return err
	}
	rep.By = nil
	r.Load = &rep
	return nil
}

// policyOf is how tables name a contender's policy.
func policyOf(name string) string {
	what, policy, ok := strings.Cut(name, "/")
	if !ok {
		return what
	}
	return fmt.Sprintf("%s, %s", what, policy)
}
