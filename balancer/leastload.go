package balancer

import "time"

// longWeight is the cost of one long-lived connection per worker, in median service times. Long-lived connections are
// placed by count, and a worker that is held by one is a worse choice than an idle one on a peer.
const longWeight = 2

// Load is how busy the workers of one app on one node are.
type Load struct {
	Workers float64       // Workers that are ready, by weight and slow start (count)
	Open    float64       // Open short connections (count, estimated for peers)
	Long    float64       // Long-lived connections (count)
	Service time.Duration // Service is the smoothed service time, 0 = not known
}

// cost is the time a new connection is expected to wait and be served on a node with load l, whose workers serve so many at once.
func cost(l Load, concurrency int, median, hop time.Duration) time.Duration {
	service, places := float64(smoothService(l.Service, median)), l.places(concurrency)
	wait := max(0, l.Open+1-places) / places * service
	return time.Duration(wait+service) + held(l, concurrency, median, hop)
}

// held is what of the cost is for long-lived connections.
func held(l Load, concurrency int, median, hop time.Duration) time.Duration {
	return time.Duration(l.Long / l.places(concurrency) * (longWeight*float64(median) + 2*float64(hop)))
}

// places is how many connections are served at once; a node that has no worker counts as if it had one.
func (l Load) places(concurrency int) float64 {
	workers := l.Workers
	if workers <= 0 {
		workers = 1
	}
	return workers * float64(concurrency)
}

// doubtShare is the part of a node's long-lived connections by which a peer must have fewer. Of a crowd that comes to all nodes and stays, each knows
// at once what came to itself, and a report later what came to others: taken to the last connection, all others are always better off, and nearly
// everything crosses, which costs two nodes as long as it lives. (Of 10,000 that came to two nodes 8,000 crossed; a sixteenth leaves 2,300, an eighth 1,300.)
const doubtShare = 1.0 / 8

func (v *view) doubt() time.Duration {
	return time.Duration(doubtShare * float64(held(v.self, v.set.concurrency(), v.median, v.hop)))
}

func (v *view) cost(l Load) time.Duration { return cost(l, v.set.concurrency(), v.median, v.hop) }

// leastLoad is the default policy: here while a worker is idle, else the peer that is cheaper by more than the hop and a
// margin, out of a few drawn at random.
// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001.
type leastLoad struct{}

func (leastLoad) peer(v *view) *peerApp {
	if v.serveHere() {
		v.look.Why = WhyIdle
		return nil
	}
	best, least := v.cheapest()
	switch {
	case best == nil:
		v.look.Why = WhyOnlyHere
		return nil
	case v.here == nil:
		v.look.Why = WhyOnlyThere
		return best
	}
	forward := false
	if forward, v.look.Why = v.forwards(best, least); forward {
		return best
	}
	return nil
}

// forwards tells whether a peer that costs so much is better than this node, and why.
func (v *view) forwards(p *peerApp, c time.Duration) (bool, Reason) {
	switch r := v.rankOf(p); {
	case v.rank > r && v.rank == rankHung:
		return true, WhyHungHere
	case v.rank > r, v.rank == r && c+v.hop+v.times(v.set.Margin)+v.doubt() < v.cost(v.self):
		return true, WhyCheaperThere
	case r == rankHung && v.rank < r:
		return false, WhyHungThere
	case v.rank < r:
		return false, WhySoft
	}
	return false, WhyCheaperHere
}

func (leastLoad) stays(v *view) bool {
	if v.serveHere() {
		return true
	}
	for p := range v.others {
		c := v.cost(v.load(p))
		if v.links.facts().far(p.node) {
			c += v.times(v.set.ZoneMargin)
		}
		if forward, _ := v.forwards(p, c); forward {
			return false
		}
	}
	return true
}

func (leastLoad) before(v *view, a, b *workerState) bool {
	if v.set.SlowStart > 0 {
		x := float64(a.load()+1) / v.set.ramp(a.since, v.info.Now)
		if y := float64(b.load()+1) / v.set.ramp(b.since, v.info.Now); x != y {
			return x < y
		}
	}
	if a.load() != b.load() {
		return a.load() < b.load()
	}
	return a.unused(b)
}

func (leastLoad) chosen(*view, *peerApp) {}

// serveHere tells that no peer can do better: a local worker is idle, and this node no slower than most.
func (v *view) serveHere() bool {
	return v.here != nil && v.here.load() == 0 && v.rank == 0 && v.whole && smoothService(v.self.Service, v.median) <= v.median
}

// cheapest draws peers and returns the one with the least cost, crossing zones included; nil when nobody can be asked.
func (v *view) cheapest() (best *peerApp, least time.Duration) {
	lowest := rank(0)
	try := func(p *peerApp, extra time.Duration) {
		c := v.consider(p) + extra
		if r := v.rankOf(p); best == nil || r < lowest || r == lowest && c < least {
			best, least, lowest = p, c, r
		}
	}
	for _, p := range v.draw(v.peers.near) {
		try(p, 0)
	}
	for _, p := range v.draw(v.peers.far) {
		try(p, v.times(v.set.ZoneMargin))
	}
	if best == nil {
		for p := range v.rest {
			try(p, 0)
		}
	}
	return best, least
}

// fastest returns the cheapest of all peers that are no more than the band slower than most; nil when there is none. It is asked for where the
// one that was drawn is slow.
func (v *view) fastest() (best *peerApp) {
	least := time.Duration(0)
	for p := range v.others {
		if smoothService(p.report.Service, v.median) > v.median {
			continue
		}
		if c := v.cost(v.load(p)); best == nil || c < least {
			best, least = p, c
		}
	}
	return best
}
