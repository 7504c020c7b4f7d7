package balancer

import (
	"slices"
	"time"
)

// view is all that a decision looks at: this node's workers, the peers that could take the connection, and what is known of all of them. A
// picker has one, so that a pick makes none.
type view struct {
	info   PickInfo
	set    *Settings
	links  *links
	peers  *peerSet
	self   Load         // this node's own load, exact
	here   *workerState // the worker that would have it here, nil = none
	rank   rank         // that one's
	whole  bool         // this node is past its slow start
	full   bool         // somebody was passed over who has all he may have
	median time.Duration
	hop    time.Duration
	door   int // open connections that came in here and are served here
	look   *Decision
	scratch
}

// scratch is what policies keep from one pick to the next, and what makes drawing cheap.
type scratch struct {
	selfHash uint64
	rand     uint64
	turns    *turns
	drawn    []*peerApp
}

// times is a multiple of the median service time.
func (v *view) times(f float64) time.Duration { return time.Duration(f * float64(v.median)) }

// next is the next number of a SplitMix64 sequence that begins with the pick's entropy.
func (v *view) next() uint64 {
	v.rand += 0x9e3779b97f4a7c15
	return mix(v.rand)
}

// unit is the next number in (0,1).
func (v *view) unit() float64 { return unit(v.next()) }

// client is a hash of the client's address, of which clients behind different ports have the same.
func (v *view) client() uint64 {
	a := v.info.Client.Unmap().As16()
	h := uint64(0)
	for _, b := range a {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return mix(h)
}

// load is what is believed of the peer's load now.
func (v *view) load(p *peerApp) Load {
	workers := float64(p.report.Ready) * p.node.weight() * v.set.ramp(p.since, v.info.Now)
	return Load{Workers: workers, Open: p.estimate(v.info.Now, v.median), Long: float64(p.report.Long), Service: p.report.Service}
}

// rankOf is the rank that all of the peer's workers have at least.
func (v *view) rankOf(p *peerApp) rank {
	limit := v.set.SoftLimit
	switch {
	case p.report.Hung:
		return rankHung
	case limit > 0 && p.estimate(v.info.Now, v.median)+float64(p.report.Long) >= float64(limit*p.report.Ready):
		return rankSoft
	}
	return 0
}

// state tells whether the peer may be asked now, or why not.
func (v *view) state(p *peerApp, last bool) State {
	switch {
	case v.set.MaxConnections > 0 && p.free(v.set.MaxConnections, v.info.Now, v.median) == 0:
		return StateFull // also where it refused this connection: that is why
	case slices.Contains(v.info.Tried, p.name):
		return StateTried
	case !v.links.usable(p.name, v.info.Now, last):
		return StateEjected
	}
	return StateFree
}

func (v *view) usable(p *peerApp) bool {
	s := v.state(p, false)
	v.full = v.full || s == StateFull
	return s == StateFree
}

// few peers are all compared: so few nodes cannot herd, and a draw that is wasted on a slow or full one costs most there.
const few = 3

// draw returns Settings.Draws usable peers of the list, or fewer where there are not as many, all equally likely, and all where there are but
// few. The result holds until the next draw.
func (v *view) draw(list []*peerApp) []*peerApp {
	d := max(v.set.Draws, 1)
	if len(list) <= few {
		d = few
	}
	out := v.drawn[:0]
	if len(list) > 4*d { // most are usable, so that a few attempts find enough
		for range 4 * d {
			if p := list[below(v.next(), len(list))]; v.usable(p) && !slices.Contains(out, p) {
				if out = append(out, p); len(out) == d {
					v.drawn = out
					return out
				}
			}
		}
		out = out[:0]
	}
	for _, p := range list {
		if v.usable(p) {
			out = append(out, p)
		}
	}
	for i := range min(d, len(out)) { // a partial Fisher-Yates shuffle: each draw is uniform over the rest
		j := i + below(v.next(), len(out)-i)
		out[i], out[j] = out[j], out[i]
	}
	v.drawn = out
	return out[:min(d, len(out))]
}

// others yields all usable peers; when there is none and nobody here either, those that are the last resort.
func (v *view) others(yield func(*peerApp) bool) {
	found := false
	for _, list := range [][]*peerApp{v.peers.near, v.peers.far} {
		for _, p := range list {
			if !v.usable(p) {
				continue
			}
			if found = true; !yield(p) {
				return
			}
		}
	}
	if !found {
		v.rest(yield)
	}
}

// rest yields the peers that are asked where no other is usable and there is nobody here: those that are not heard at this moment, since it
// is more likely that this node was held up than that every peer died within the same moment; else those that are ejected. Their answer
// tells.
func (v *view) rest(yield func(*peerApp) bool) {
	if v.here != nil && len(v.peers.near)+len(v.peers.far) > 0 {
		return
	}
	for _, p := range v.peers.mute {
		if v.usable(p) && !yield(p) {
			return
		}
	}
	if v.here != nil || v.full {
		return
	}
	for _, list := range [][]*peerApp{v.peers.near, v.peers.far} {
		for _, p := range list {
			if v.state(p, true) == StateFree && !yield(p) {
				return
			}
		}
	}
}

// turn is a node's next turn, nil = this node's. One that had nothing for a while does not catch up.
func (v *view) turn(p *peerApp) float64 {
	if p == nil {
		return max(v.turns.self, v.turns.now)
	}
	return max(p.turn, v.turns.now)
}

// consider notes that the peer was compared, with its figures, and returns its cost.
func (v *view) consider(p *peerApp) time.Duration {
	l := v.load(p)
	c := v.cost(l)
	f := v.figures(p, l, c, StateFree)
	f.Drawn = true
	v.look.add(f)
	return c
}

// weigh notes that the peer was compared by a policy's score.
func (v *view) weigh(p *peerApp, l Load, score float64) {
	if len(v.look.Considered) == cap(v.look.Considered) {
		return
	}
	f := v.figures(p, l, v.cost(l), StateFree)
	f.Drawn, f.Score = true, score
	v.look.add(f)
}

// include has the peer among those that were compared, in the place of the last where there was no room for it.
func (v *view) include(p *peerApp, score float64) {
	seen := v.look.Considered
	if slices.ContainsFunc(seen[1:], func(c Candidate) bool { return c.Node == p.name }) {
		return
	}
	v.look.Considered = seen[:len(seen)-1]
	v.weigh(p, v.load(p), score)
}

// alone tells that there is no peer that could serve.
func (v *view) alone() bool { return len(v.peers.near)+len(v.peers.far) == 0 }

// settle takes in what there is here.
func (v *view) settle(here local) { v.here, v.rank, v.full = here.best, here.rank, here.limited }
