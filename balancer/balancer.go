package balancer

import (
	"sync"
	"time"
)

// Bounds of the back-off after a peer could not be reached, and of the measured hop.
const (
	ejectFirst = time.Second
	ejectMax   = 30 * time.Second
	hopSeed    = time.Millisecond
	hopMin     = 200 * time.Microsecond
	hopMax     = 20 * time.Millisecond
	hopAlpha   = 1.0 / 16
)

// Balancer holds one Picker for each app, and what all of them share: which peers can be reached.
type Balancer struct {
	policy Policy
	links  *links

	mu      sync.Mutex
	pickers map[string]*Picker
}

// New returns a Balancer that decides by policy.
func New(policy Policy) *Balancer {
	return &Balancer{policy: policy, links: &links{peers: make(map[string]*link), hopTime: hopSeed}, pickers: make(map[string]*Picker)}
}

// Picker returns the app's picker, made at the first call.
func (b *Balancer) Picker(app string) *Picker {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := b.pickers[app]
	if p == nil {
		p = newPicker(b.policy, b.links)
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

// Drop forgets an app that is gone from this node. Claims still open on it are given back as usual.
func (b *Balancer) Drop(app string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.pickers, app)
}

// SetLink says whether a peer is heard at this moment. A link that comes back ends the peer's ejection.
func (b *Balancer) SetLink(peer string, up bool) {
	b.links.set(peer, up)
	if up {
		return
	}
	for _, p := range b.all() {
		p.mu.Lock()
		p.notify()
		p.mu.Unlock()
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

// Counts returns the totals over all apps.
func (b *Balancer) Counts() Counts {
	var sum Counts
	for _, p := range b.all() {
		c := p.Counts()
		sum.Taken += c.Taken
		sum.Returned += c.Returned
		sum.Forwarded += c.Forwarded
	}
	return sum
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

// link is what is known about the way to one peer.
type link struct {
	up           bool
	ejectedUntil time.Time
	ejections    int
}

// links is shared by the pickers of all apps: a peer that cannot be reached for one cannot be reached for any.
type links struct {
	mu      sync.Mutex
	peers   map[string]*link
	hopTime time.Duration
}

func (l *links) set(peer string, up bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	if k == nil {
		k = &link{}
		l.peers[peer] = k
	}
	if up && !k.up {
		k.ejectedUntil, k.ejections = time.Time{}, 0
	}
	k.up = up
}

func (l *links) usable(peer string, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	return k != nil && k.up && !now.Before(k.ejectedUntil)
}

// eject keeps a peer out for a time that doubles with each failure in a row.
func (l *links) eject(peer string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	if k == nil || now.Before(k.ejectedUntil) {
		return
	}
	d := min(ejectFirst<<min(k.ejections, 10), ejectMax)
	k.ejections++
	k.ejectedUntil = now.Add(d)
}

func (l *links) forget(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, peer)
}

func (l *links) observe(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d = min(max(d, hopMin), hopMax)
	l.hopTime += time.Duration(hopAlpha * float64(d-l.hopTime))
}

func (l *links) hop() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hopTime
}
