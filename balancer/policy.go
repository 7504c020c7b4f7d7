package balancer

import (
	"math"
	"math/bits"
)

// policy is a way to choose. Implementations keep no state of their own; what they need is in the view and what it points to.
type policy interface {
	// peer returns where the connection goes: nil = to this node, which it returns only if there is a worker here (v.here). It may also be
	// nil where nobody can take it at all.
	peer(v *view) *peerApp
	// before tells that local worker a is to be chosen rather than b.
	before(v *view, a, b *workerState) bool
	// stays tells that a connection is served here whichever peers are drawn and whoever the client is, on any worker.
	stays(v *view) bool
	// chosen notes that a connection went to a peer, or to this node (nil).
	chosen(v *view, p *peerApp)
}

// policyOf returns the policy of that name.
func policyOf(name string) policy {
	switch name {
	case PolicyRoundRobin:
		return roundRobin{}
	case PolicyLeastConnections:
		return leastConnections{}
	case PolicyRandom:
		return chance{}
	case PolicyHash:
		return byAddress{}
	}
	return leastLoad{}
}

// least returns the node with the least score: of those with the lowest rank. nil = this node, or nobody at all.
func least(v *view, why Reason, score func(p *peerApp, workers float64) float64) *peerApp {
	var best *peerApp
	least, found, lowest := math.Inf(1), false, rank(0)
	try := func(p *peerApp, workers float64, r rank) float64 {
		c := score(p, workers)
		if !found || r < lowest || r == lowest && c < least {
			best, least, found, lowest = p, c, true, r
		}
		return c
	}
	if v.here != nil {
		v.look.Considered[0].Score = try(nil, v.self.Workers, v.rank)
	}
	for p := range v.others {
		l := v.load(p)
		v.weigh(p, l, try(p, l.Workers, v.rankOf(p)))
	}
	v.look.Why = why
	if best != nil {
		v.include(best, least)
	}
	return best
}

// roundRobin goes round all workers of the cluster: next is the node whose turn comes first when its turns are spaced by one over its
// number of workers (earliest deadline first, as in Envoy), and on it the worker that is unused for longest.
type roundRobin struct{}

func (roundRobin) peer(v *view) *peerApp {
	return least(v, WhyTurn, func(p *peerApp, _ float64) float64 { return v.turn(p) - v.turns.now })
}

func (roundRobin) before(_ *view, a, b *workerState) bool { return a.unused(b) }

func (roundRobin) stays(*view) bool { return false }

func (roundRobin) chosen(v *view, p *peerApp) {
	if v.info.LocalOnly { // it had its turn where it came in
		return
	}
	workers, turn := v.self.Workers, &v.turns.self
	if p != nil {
		workers, turn = v.load(p).Workers, &p.turn
	}
	v.turns.now = v.turn(p)
	*turn = v.turns.now + 1/workers
}

// turns is the state of roundRobin: the present turn, and this node's next.
type turns struct{ now, self float64 }

// leastConnections compares how many connections per worker this node has open on each node, as a proxy does that knows only its own.
type leastConnections struct{}

func (leastConnections) peer(v *view) *peerApp {
	return least(v, WhyFewest, func(p *peerApp, workers float64) float64 {
		open := v.door
		if p != nil {
			open = p.flow.open
		}
		return float64(open+1) / workers * (1 + tie*v.unit())
	})
}

// tie is so little that it decides among equals only.
const tie = 1e-9

func (leastConnections) before(_ *view, a, b *workerState) bool {
	if a.load() != b.load() {
		return a.load() < b.load()
	}
	return a.unused(b)
}

func (leastConnections) stays(v *view) bool { return v.alone() }

func (leastConnections) chosen(*view, *peerApp) {}

// chance chooses any worker.
type chance struct{}

func (chance) peer(v *view) *peerApp {
	return least(v, WhyChance, func(_ *peerApp, workers float64) float64 { return -math.Log(v.unit()) / workers })
}

func (chance) before(v *view, a, b *workerState) bool {
	x, y := mix(v.info.Rand^a.hash), mix(v.info.Rand^b.hash)
	return x < y || x == y && a.ID < b.ID
}

func (chance) stays(v *view) bool { return v.alone() }

func (chance) chosen(*view, *peerApp) {}

// byAddress chooses by the client's address: every node chooses the same, and a node or worker that comes or goes moves no clients but its own.
// Source: weighted rendezvous hashing, Schindelhauer and Schomaker, SPAA 2005.
type byAddress struct{}

func (byAddress) peer(v *view) *peerApp {
	client := v.client()
	return least(v, WhyAddress, func(p *peerApp, workers float64) float64 {
		name := v.selfHash
		if p != nil {
			name = p.hash
		}
		return -math.Log(unit(mix(client^name))) / workers
	})
}

func (byAddress) before(v *view, a, b *workerState) bool {
	x, y := mix(v.client()^a.hash), mix(v.client()^b.hash)
	return x < y || x == y && a.ID < b.ID
}

func (byAddress) stays(*view) bool { return false }

func (byAddress) chosen(*view, *peerApp) {}

// hashName is FNV-1a.
func hashName(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// unit maps x to (0,1).
func unit(x uint64) float64 { return (float64(x>>11) + 0.5) / (1 << 53) }

// below maps x to [0,n) without a bias that matters.
func below(x uint64, n int) int {
	hi, _ := bits.Mul64(x, uint64(n))
	return int(hi)
}
