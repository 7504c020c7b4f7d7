package balancer

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the back-off after a peer could not be reached, and of the measured hop.
const (
	ejectFirst = time.Second
	ejectMax   = 30 * time.Second
	// ejectShare is the largest part of the peers that are heard that may be ejected at a time; of one, it is that one.
	ejectShare = 0.5
	// trialEvery is the least time between two connections sent to a peer that is ejected, or was and has not answered since.
	trialEvery = 500 * time.Millisecond
	hopSeed    = time.Millisecond
	hopMin     = time.Millisecond
	hopMax     = 20 * time.Millisecond
	// A forward is measured with the peer's wait in it, but the hop is to be the price of the way alone (the wait is in the peer's load): the
	// average falls fast and rises slowly, so it stays near the low end. It also forgets a stall that kept all from forwarding.
	hopFall = 1.0 / 8
	hopRise = 1.0 / 64
)

// link is what is known about the way to one peer.
type link struct {
	up        bool
	shutUntil time.Time // nothing is sent there before
	tried     time.Time // when the last connection was sent there that it did not answer
	failures  int       // in a row, each of which led to an ejection
	trial     bool      // one connection is on its way to see whether the peer answers again
}

// shut tells that the peer is ejected at now.
func (k *link) shut(now time.Time) bool { return k.failures > 0 && now.Before(k.shutUntil) }

// links is shared by the pickers of all apps: a peer that cannot be reached for one cannot be reached for any. Its lock is the innermost.
type links struct {
	hopTime          atomic.Int64 // nanoseconds
	ejections, spare atomic.Uint64

	mu    sync.Mutex
	peers map[string]*link
	nodes map[string]Node
	self  Node
}

func newLinks() *links {
	l := &links{peers: make(map[string]*link), nodes: make(map[string]Node)}
	l.hopTime.Store(int64(hopSeed))
	return l
}

// set reports whether that is new, and whether the peer has come back.
func (l *links) set(peer string, up bool) (changed, back bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	if k == nil {
		if !up {
			return false, false
		}
		k = &link{}
		l.peers[peer] = k
	}
	if back = up && !k.up; back {
		*k = link{}
	}
	changed = k.up != up || back
	k.up = up
	return changed, back
}

// setNode notes the facts of a peer, or of this node where peer is empty; false means that they are known already.
func (l *links) setNode(peer string, n Node) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if peer == "" {
		changed := l.self != n
		l.self = n
		return changed
	}
	old, known := l.nodes[peer]
	l.nodes[peer] = n
	return !known || old != n
}

// facts returns this node's facts.
func (l *links) facts() Node {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.self
}

// of returns the facts of a peer, and whether it is heard: the last word of a dead peer must not steer.
func (l *links) of(peer string) (n Node, heard bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	return l.nodes[peer], k != nil && k.up
}

// usable tells whether connections may be sent to the peer now. Where there is nobody else (last), an ejected one is asked too, one
// connection at a time: it may have come back.
func (l *links) usable(peer string, now time.Time, last bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	switch {
	case k == nil:
		return false
	case k.failures == 0:
		return true
	case last:
		return now.Sub(k.tried) >= trialEvery
	}
	return !now.Before(k.shutUntil)
}

// sent notes a connection on its way to the peer. After an ejection one at a time goes, until the peer has answered one.
func (l *links) sent(peer string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	if k == nil || k.failures == 0 {
		return
	}
	k.tried = now
	if !now.Before(k.shutUntil) {
		k.trial, k.shutUntil = true, now.Add(trialEvery)
	}
}

// answered notes that the peer answered, be it with a refusal.
func (l *links) answered(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.peers[peer]; k != nil {
		*k = link{up: k.up}
	}
}

// eject keeps a peer out for a time that doubles with each failure in a row. Failures of connections that were sent before the
// ejection belong to the same one. When as many are out as may be, this one stays: it is likelier that this node fails.
func (l *links) eject(peer string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	if k == nil || now.Before(k.shutUntil) && !k.trial {
		return
	}
	heard, out := 0, 0
	for name, o := range l.peers {
		if o.up {
			heard++
			if name != peer && o.failures > 0 {
				out++
			}
		}
	}
	if k.failures == 0 && k.up && out > 0 && float64(out+1) > ejectShare*float64(heard) {
		l.spare.Add(1)
		return
	}
	d := min(ejectFirst<<min(k.failures, 10), ejectMax)
	k.failures++
	k.trial, k.tried, k.shutUntil = false, now, now.Add(d)
	l.ejections.Add(1)
}

func (l *links) forget(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, peer)
	delete(l.nodes, peer)
}

// Ejection is a peer that gets no connections because it did not answer.
type Ejection struct {
	Peer     string
	Until    time.Time // Until is when one connection tries it again.
	Failures int       // Failures in a row (count)
}

// out lists who is ejected at now, by name.
func (l *links) out(now time.Time) []Ejection {
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []Ejection
	for name, k := range l.peers {
		if k.up && k.shut(now) {
			all = append(all, Ejection{Peer: name, Until: k.shutUntil, Failures: k.failures})
		}
	}
	slices.SortFunc(all, func(a, b Ejection) int { return cmp.Compare(a.Peer, b.Peer) })
	return all
}

// observe takes one measured hop into the average. Two at the same time may lose one of them, which is no loss.
func (l *links) observe(d time.Duration) {
	old := l.hop()
	diff := min(max(d, hopMin), hopMax) - old
	alpha := hopRise
	if diff < 0 {
		alpha = hopFall
	}
	l.hopTime.Store(int64(old + time.Duration(alpha*float64(diff))))
}

func (l *links) hop() time.Duration { return time.Duration(l.hopTime.Load()) }
