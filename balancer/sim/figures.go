package sim

import (
	"slices"
	"time"
)

// window is the time in which arrivals at a node are counted for the dispersion.
const window = 20 * time.Millisecond

// Figures are what came out of a run.
type Figures struct {
	P50, P99, P999 time.Duration
	Mean           time.Duration
	Forwarded      float64 // Forwarded is the share of connections that went to a peer.
	Fano           float64 // Fano is the variance of arrivals per node and window over their mean: 1 as by chance, much more when nodes herd.
	Lost           int     // Lost connections: their node died, or they waited too long.
	Refused        int     // Refused is how often a peer had no room after all.
	Claims         bool    // Claims taken and given back are the same number.
}

// figures is a run's figures while it goes on.
type figures struct {
	Figures
	times     []time.Duration
	forwarded int
	placed    int           // forwarded or served where they came in
	warm      time.Duration // what came before is not counted
	slot      int64
	counts    []int
	sum, sq   []float64
	windows   float64
}

func (f *figures) init(c *Cell) {
	f.times = make([]time.Duration, 0, c.Arrivals)
	f.counts, f.sum, f.sq = make([]int, c.Nodes), make([]float64, c.Nodes), make([]float64, c.Nodes)
	f.warm = time.Duration(0.1 * float64(c.Arrivals) / c.rate()) // a tenth of the run
	f.Claims = true
}

func (f *figures) add(came, now time.Duration) {
	if came >= f.warm {
		f.times = append(f.times, now-came)
	}
}

// arrival counts an arrival at a node's workers.
func (f *figures) arrival(node int, now time.Duration) {
	if now < f.warm {
		return
	}
	if slot := int64(now / window); slot != f.slot {
		if f.slot > 0 {
			for i, n := range f.counts {
				f.sum[i] += float64(n)
				f.sq[i] += float64(n) * float64(n)
			}
			empty := float64(slot - f.slot)
			f.windows += empty
		}
		clear(f.counts)
		f.slot = slot
	}
	f.counts[node]++
}

func (f *figures) result() Figures {
	out := f.Figures
	slices.Sort(f.times)
	at := func(p float64) time.Duration { return f.times[int(p*float64(len(f.times)-1))] }
	out.P50, out.P99, out.P999 = at(0.5), at(0.99), at(0.999)
	var sum float64
	for _, t := range f.times {
		sum += float64(t)
	}
	out.Mean = time.Duration(sum / float64(len(f.times)))
	mean, variance := 0.0, 0.0
	for i := range f.sum { // each node around its own mean: a slow one has fewer
		m := f.sum[i] / f.windows
		mean += m
		variance += f.sq[i]/f.windows - m*m
	}
	out.Fano = variance / mean
	out.Forwarded = float64(f.forwarded) / float64(max(f.placed, 1))
	return out
}
