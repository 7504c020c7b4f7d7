package balancer

import (
	"cmp"
	"slices"
)

// Explanation is how the next connection would be placed, and how the last ones were.
type Explanation struct {
	Settings Settings
	Next     Decision
	Last     []Decision // Last ones, the newest first
	Direct   int        // Direct is how many open connections workers accepted by themselves, about which nothing was decided (count).
}

// Explain places a connection without claiming anything, and looks at all nodes that it knows; and returns the last n decisions. Which peers would be
// drawn follows from info.Rand.
func (p *Picker) Explain(info PickInfo, n int) Explanation {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.begin(info.Now)
	p.ledger.age(info.Now)
	look := &Decision{Considered: make([]Candidate, 0, 1+len(p.peers.byName))}
	w, peer, err := p.decide(info, look)
	switch {
	case err != nil:
	case peer != nil:
		look.Target = Target{KindPeer, peer.name}
	default:
		look.Target = Target{KindWorker, w.ID}
	}
	p.view.complete(look)
	return Explanation{Settings: p.set, Next: *look, Last: p.record.last(n), Direct: p.ledger.direct.short + p.ledger.direct.long}
}

// complete adds the peers that were not compared.
func (v *view) complete(look *Decision) {
	compared := len(look.Considered)
	for _, p := range v.peers.byName {
		if slices.ContainsFunc(look.Considered[1:compared], func(c Candidate) bool { return c.Node == p.name }) {
			continue
		}
		c := Candidate{Node: p.name, State: StateIdle, Far: v.links.facts().far(p.node), Free: -1, Age: v.info.Now.Sub(p.receivedAt)}
		if p.report.Ready > 0 {
			l := v.load(p)
			c = v.figures(p, l, v.cost(l), v.state(p, false))
			if !p.heard && c.State == StateFree {
				c.State = StateSilent
			}
		}
		look.add(c)
	}
	rest := look.Considered[compared:]
	slices.SortFunc(rest, func(a, b Candidate) int { return cmp.Compare(a.Node, b.Node) })
	for _, e := range v.links.out(v.info.Now) {
		for i := range look.Considered {
			if c := &look.Considered[i]; c.Node == e.Peer {
				c.Ejected = e.Until.Sub(v.info.Now)
			}
		}
	}
}
