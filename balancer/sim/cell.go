package sim

import (
	"math/rand/v2"
	"time"

	"meshnode/balancer"
)

// Hop is what a forward takes, Work what a connection takes on average, unless a cell says otherwise.
const (
	Hop  = 500 * time.Microsecond
	Work = 10 * time.Millisecond
)

// Cell is one cluster and the load on it.
type Cell struct {
	Name string
	Size
	Doors
	Speeds
	Effort
	Faults   Faults
	Load     float64       // Load is the share of what the cluster can do.
	Age      time.Duration // Age: time between two reports
	Aperture bool          // Aperture bounds who hears of whom, as package mesh does; without it everybody hears everybody.
	Arrivals int           // Arrivals in all (count)
	Hop      time.Duration // Hop of this cell, 0 = the constant
	Set      balancer.Settings
}

// Size is what a cluster consists of.
type Size struct {
	Nodes, Workers int  // Nodes, and Workers on each (counts)
	Slots          int  // Slots of a worker: connections that it serves at once, the others wait (count, 0 = 1)
	Pool           bool // Pool: what waits on a node is served by whichever worker is free first, as the policy study has it; else by its own.
	Share          bool // Share: workers serve all connections at once, each the slower (processor sharing)
}

// Doors is where connections come in: HotShare of them at the first Hot nodes; Hot 0 = everywhere alike.
type Doors struct {
	Hot      int
	HotShare float64
}

// Speeds: Slow nodes, the last ones or the first (SlowFirst), take Factor times as long.
type Speeds struct {
	Slow      int
	SlowFirst bool
	Factor    float64
}

// Effort is the work of a connection: Base, and for the share Heavy of them Times as much; Base 0 = exponential with the mean Work.
type Effort struct {
	Base         time.Duration
	Heavy, Times float64
}

// Faults is what goes wrong in a run.
type Faults struct {
	Crash   time.Duration // Crash is when the last node falls silent for good; 0 = never.
	Noticed time.Duration // Noticed is how long after that its link counts as down.
	Restart time.Duration // Restart is when the last node comes back after a crash, cold; 0 = never.
	Cold    float64       // Cold is how many times as long it takes then, at first; it falls to 1 in Warm.
	Warm    time.Duration
}

// work draws what a connection takes on a node of normal speed.
func (c *Cell) work(r *rand.Rand) time.Duration {
	if c.Base == 0 {
		return time.Duration(r.ExpFloat64() * float64(Work))
	}
	if r.Float64() < c.Heavy {
		return time.Duration(c.Times * float64(c.Base))
	}
	return c.Base
}

// mean is the mean of work.
func (c *Cell) mean() float64 {
	if c.Base == 0 {
		return float64(Work)
	}
	return float64(c.Base) * (1 + c.Heavy*(c.Times-1))
}

// rate is the arrivals per nanosecond.
func (c *Cell) rate() float64 {
	nodes := float64(c.Nodes-c.Slow) + float64(c.Slow)/max(c.Factor, 1)
	return c.Load * nodes * float64(c.Workers*max(c.Slots, 1)) / c.mean()
}

// door draws where a connection comes in.
func (c *Cell) door(r *rand.Rand) int {
	if c.Hot > 0 {
		if r.Float64() < c.HotShare {
			return r.IntN(c.Hot)
		}
		return c.Hot + r.IntN(c.Nodes-c.Hot)
	}
	return r.IntN(c.Nodes)
}

func (c *Cell) hop() time.Duration {
	if c.Hop > 0 {
		return c.Hop
	}
	return Hop
}

// pooled is how many workers are one for the simulation.
func (c *Cell) pooled() int {
	if c.Pool {
		return c.Workers
	}
	return 1
}
