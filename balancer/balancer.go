package balancer

import (
	"sync"
	"sync/atomic"
	"time"
)

// Balancer holds one Picker for each app, and what all of them share: which peers can be reached.
type Balancer struct {
	self   string
	links  *links
	totals *totals

	mu      sync.Mutex
	pickers map[string]*Picker
}

// New returns the Balancer of the node with that name.
func New(self string) *Balancer {
	return &Balancer{self: self, links: newLinks(), totals: &totals{}, pickers: make(map[string]*Picker)}
}

// Picker returns the app's picker, made at the first call.
func (b *Balancer) Picker(app string) *Picker {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pickers[app]
	if p == nil {
		p = newPicker(b.self, b.links, b.totals)
		b.pickers[app] = p
	}
	return p
}

// Lookup returns the app's picker, or nil if this node has none.
func (b *Balancer) Lookup(app string) *Picker {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.pickers[app]
}

// Drop forgets an app that is gone from this node, once its listeners are closed and its workers have ended: a picker made for the
// same name later knows nothing of the claims still open on this one. They are given back as usual, and the totals of Counts keep both.
func (b *Balancer) Drop(app string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pickers, app)
}

// SetLink says whether a peer is heard at this moment. A link that comes back ends the peer's ejection and wakes who waits for a target.
func (b *Balancer) SetLink(peer string, up bool) {
	changed, back := b.links.set(peer, up)
	if !changed {
		return
	}
	for _, p := range b.all() {
		p.facts(peer)
		if back {
			p.wake()
		}
	}
}

// SetNode tells the zone and the weight of a peer, or of this node where peer is empty.
func (b *Balancer) SetNode(peer string, n Node) {
	if !b.links.setNode(peer, n) {
		return
	}
	for _, p := range b.all() {
		p.facts(peer)
	}
}

// Ejected lists the peers that get no connections at this moment because they did not answer.
func (b *Balancer) Ejected(now time.Time) []Ejection { return b.links.out(now) }

// Forget drops a peer that has left the cluster.
func (b *Balancer) Forget(peer string) {
	b.links.forget(peer)
	for _, p := range b.all() {
		p.Forget(peer)
	}
}

// Hop returns the smoothed time that a forward takes until the peer's first answer.
func (b *Balancer) Hop() time.Duration { return b.links.hop() }

// ObserveHop takes in how long a forward took until the peer's answer.
func (b *Balancer) ObserveHop(d time.Duration) { b.links.observe(d) }

// Counts returns the totals over all apps since the start, those that were dropped included.
func (b *Balancer) Counts() Counts { return b.totals.load() }

// Direct is how many of the connections open here were accepted by workers themselves, and are no claims (count).
func (b *Balancer) Direct() int {
	n := 0
	for _, p := range b.all() {
		n += p.direct()
	}
	return n
}

func (b *Balancer) all() []*Picker {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]*Picker, 0, len(b.pickers))
	for _, p := range b.pickers {
		out = append(out, p)
	}
	return out
}

// totals are the Counts of all pickers there ever were.
type totals struct {
	taken, returned, forwarded atomic.Uint64
	refused, timedOut          atomic.Uint64
	waiting                    atomic.Int64
}

// load reads returned first, so that it never exceeds taken.
func (t *totals) load() Counts {
	c := Counts{Returned: t.returned.Load(), Forwarded: t.forwarded.Load()}
	c.Taken = t.taken.Load()
	return c
}

// Waits returns the totals over all apps of connections that found no room.
func (b *Balancer) Waits() Waits {
	t := b.totals
	return Waits{Waiting: int(t.waiting.Load()), Refused: t.refused.Load(), TimedOut: t.timedOut.Load()}
}

// Ejections returns how often a peer was ejected, and how often one was not because as many as may be were out already (counts).
func (b *Balancer) Ejections() (done, spared uint64) {
	return b.links.ejections.Load(), b.links.spare.Load()
}
