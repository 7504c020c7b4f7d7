package sim

import (
	"time"

	"meshnode/balancer"
)

// Bound is a cell, and what must hold in it. What is 0 does not matter.
type Bound struct {
	Cell
	P99                   float64       // P99 is the largest p99, in that of the oracle.
	Forwarded             float64       // Forwarded is the largest share of connections that go to a peer.
	RoundRobin, LeastConn float64       // RoundRobin and LeastConn are the least p99 of these policies, in that of ours.
	Fano                  float64       // Fano is the largest dispersion.
	Most99, Most999       time.Duration // Most99 and Most999 are the largest p99 and p99.9.
}

// Reports is the time between two reports unless a cell says otherwise.
const Reports = 50 * time.Millisecond

// fanoMost is the largest dispersion: 1 is by chance, and nodes that herd have more than 10. Work of very different length comes to 2.
const fanoMost, fanoBimodal = 1.3, 2.2

// slack is how far the p99 of the other policies may be from the study's.
const slack = 0.9

// Study are the cells of the policy study with its bounds.
func Study(arrivals int) []Bound {
	cell := func(n string, nodes, workers int, load float64, change ...func(*Cell)) Cell {
		c := Cell{Name: n, Size: Size{Nodes: nodes, Workers: workers, Pool: true}, Load: load, Age: Reports, Aperture: true, Arrivals: arrivals}
		for _, f := range change {
			f(&c)
		}
		return c
	}
	hot := func(nodes int) func(*Cell) { return func(c *Cell) { c.Hot, c.HotShare = nodes, 0.7 } }
	bimodal := func(c *Cell) { c.Base, c.Heavy, c.Times = 10*Work/29, 0.1, 20 }
	slow := func(c *Cell) { c.Slow, c.Factor = 1, 4 }
	second := func(c *Cell) { c.Age = time.Second }
	shared := func(c *Cell) { c.Share = true }
	all := []Bound{
		{Cell: cell("A: 4 nodes of 2, 70 %", 4, 2, 0.7), P99: 1.10, Forwarded: 0.45, RoundRobin: 1.20, LeastConn: 1.02},
		{Cell: cell("C: 10 nodes of 4, 70 %", 10, 4, 0.7), P99: 1.05, Forwarded: 0.28, RoundRobin: 1.05, LeastConn: 1.02},
		{Cell: cell("D: 10 nodes of 4, 90 %", 10, 4, 0.9), P99: 1.12, Forwarded: 0.42, RoundRobin: 1.48, LeastConn: 1.00},
		{Cell: cell("E: C, bimodal", 10, 4, 0.7, bimodal), P99: 1.08, RoundRobin: 1.35, LeastConn: 1.02, Fano: fanoBimodal},
		{Cell: cell("F: D, bimodal", 10, 4, 0.9, bimodal), P99: 1.25, Forwarded: 0.45, RoundRobin: 2.49, LeastConn: 0.98, Fano: fanoBimodal},
		{Cell: cell("G: C, 70 % at one node", 10, 4, 0.7, hot(1)), P99: 1.06, Forwarded: 0.65, RoundRobin: 1.05, LeastConn: 1.00},
		{Cell: cell("H: D, 70 % at 3 nodes, reports of 1 s", 10, 4, 0.9, hot(3), second), P99: 1.20, Forwarded: 0.60, RoundRobin: 1.42, LeastConn: 0.96},
		{Cell: cell("I: C, one node 4 times slower", 10, 4, 0.7, slow), P99: 1.08, Forwarded: 0.40, RoundRobin: 10, LeastConn: 1.86},
		{Cell: cell("J: 100 nodes of 8, 90 %", 100, 8, 0.9), P99: 1.07, Forwarded: 0.30, RoundRobin: 1.17, LeastConn: 1.14},
		{Cell: cell("K: 100 nodes of 8, 70 %, 70 % at one", 100, 8, 0.7, hot(1)), P99: 1.04, Forwarded: 0.72, RoundRobin: 1.01, LeastConn: 1.00},
		{Cell: cell("D with processor sharing", 10, 4, 0.9, shared), P99: 1.30, Forwarded: 0.42, RoundRobin: 1.98, LeastConn: 1.02},
	}
	for i := range all {
		if all[i].Fano == 0 {
			all[i].Fano = fanoMost
		}
	}
	return all
}

// Faulty are the cells in which something goes wrong: a node falls silent, and comes back cold.
func Faulty(arrivals int) []Bound {
	c := Cell{Size: Size{Nodes: 10, Workers: 4, Pool: true}, Load: 0.7, Age: Reports, Arrivals: arrivals}
	half := time.Duration(float64(arrivals) / c.rate() / 2)
	crash, late, restart := c, c, c
	crash.Name, crash.Faults = "C, one node falls silent, noticed after 150 ms", Faults{Crash: half, Noticed: 150 * time.Millisecond}
	late.Name, late.Faults = "the same, noticed by gossip after 3 s", Faults{Crash: half, Noticed: 3 * time.Second}
	restart.Name = "the same, and it comes back 5 times slower for 10 s"
	restart.Faults = Faults{Crash: half / 2, Noticed: 150 * time.Millisecond, Restart: half, Cold: 5, Warm: 10 * time.Second}
	most := 150 * time.Millisecond
	return []Bound{{Cell: crash, Most999: most}, {Cell: late, Most999: most}, {Cell: restart, Most99: 60 * time.Millisecond, Most999: most}}
}

// Large are cells beyond the study's.
func Large(arrivals int) []Bound {
	c := Cell{Size: Size{Nodes: 1000, Workers: 8, Pool: true}, Age: Reports, Aperture: true, Arrivals: arrivals}
	busy, hot := c, c
	busy.Name, busy.Load = "1,000 nodes of 8, 90 %", 0.9
	hot.Name, hot.Load, hot.Hot, hot.HotShare = "1,000 nodes of 8, 70 %, half of it at 50", 0.7, 50, 0.5
	return []Bound{{Cell: busy, P99: 1.10, Forwarded: 0.35, Fano: fanoMost}, {Cell: hot, P99: 1.06, Forwarded: 0.60, Fano: fanoMost}}
}

// Real are cells as real workers have them that take one connection at a time from a line of their own: nothing is bound to whichever is free first.
func Real(arrivals int) []Bound {
	a := Cell{Name: "A, each worker with its own line", Size: Size{Nodes: 4, Workers: 2}, Load: 0.7, Age: Reports, Arrivals: arrivals}
	i, one := a, a
	i.Name, i.Slow, i.Factor = "4 nodes of 2, one 4 times slower, own lines", 1, 4
	one.Name, one.Set = "A, own lines, max_connections 1", balancer.DefaultSettings()
	one.Set.MaxConnections = 1
	return []Bound{{Cell: a, P99: 1.15, RoundRobin: 1 / 0.9, Fano: fanoMost}, {Cell: i, P99: 1.15, LeastConn: 1 / 0.6, Fano: fanoMost}, {Cell: one, Fano: fanoMost}}
}

// Skewed are cells with one of four servers ten times slower, of four slots each, and one request in ten that costs twenty times as much.
func Skewed(arrivals int) []Bound {
	c := Cell{Size: Size{Nodes: 4, Workers: 1, Slots: 4}, Load: 0.7, Doors: Doors{Hot: 1, HotShare: 1}, Speeds: Speeds{Slow: 1, Factor: 10},
		Effort: Effort{Base: 2 * time.Millisecond, Heavy: 0.1, Times: 20}, Age: Reports, Arrivals: arrivals, Hop: 200 * time.Microsecond, Set: balancer.DefaultSettings()}
	limited := c
	limited.Set.MaxConnections = 4
	plain, slow, every, both := c, limited, c, limited
	limited.Name, plain.Name = "skew, one door, max_connections 4", "skew, one door"
	slow.Name, slow.SlowFirst = "skew, the slow one is the door, max_connections 4", true
	every.Name, every.Hot = "skew, all doors", 0
	both.Name, both.Hot = "skew, all doors, max_connections 4", 0
	p99, p999 := 45*time.Millisecond, 60*time.Millisecond
	return []Bound{{Cell: limited, Most99: p99, Most999: p999}, {Cell: slow, Most99: p99, Most999: p999}, {Cell: plain, Most99: p99}, {Cell: every, Most99: p99}, {Cell: both}}
}
