package balancer

import (
	"sync"
	"sync/atomic"
	"time"
)

// Balancer holds one Picker for each app, and what all of them share: which peers can be reached.
type Balancer struct {
	policy Policy
	links  *links
	totals *totals

	mu      sync.Mutex
	pickers map[string]*Picker
}

// New returns a Balancer that decides by policy.
func New(policy Policy) *Balancer {
	return &Balancer{policy: policy, links: newLinks(), totals: &totals{}, pickers: make(map[string]*Picker)}
}

// Picker returns the app's picker, made at the first call.
func (b *Balancer) Picker(app string) *Picker {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pickers[app]
	if p == nil {
		p = newPicker(b.policy, b.links, b.totals)
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
	if !b.links.set(peer, up) {
		return
	}
	for _, p := range b.all() {
		p.wake()
	}
}

// Forget drops a peer that has left the cluster.
func (b *Balancer) Forget(peer string) {
	b.links.forget(peer)
	for _, p := range b.all() {
		p.Forget(peer)
	}
}

// ObserveHop takes in how long a forward took until the peer's answer.
func (b *Balancer) ObserveHop(d time.Duration) { b.links.observe(d) }

// Counts returns the totals over all apps since the start, those that were dropped included.
func (b *Balancer) Counts() Counts { return b.totals.load() }

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
type totals struct{ taken, returned, forwarded atomic.Uint64 }

// load reads returned first, so that it never exceeds taken.
func (t *totals) load() Counts {
	c := Counts{Returned: t.returned.Load(), Forwarded: t.forwarded.Load()}
	c.Taken = t.taken.Load()
	return c
}
