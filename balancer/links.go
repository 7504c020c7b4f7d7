package balancer

import (
	"sync"
	"time"
)

// Bounds of the back-off after a peer could not be reached, and of the measured hop.
const (
	ejectFirst = time.Second
	ejectMax   = 30 * time.Second
	// trialEvery is the least time between two connections sent to a peer whose ejection is over and that has not answered since.
	trialEvery = 500 * time.Millisecond
	hopSeed    = time.Millisecond
	hopMin     = 200 * time.Microsecond
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
	failures  int       // in a row, each of which led to an ejection
	trial     bool      // one connection is on its way to see whether the peer answers again
}

// links is shared by the pickers of all apps: a peer that cannot be reached for one cannot be reached for any. Its lock is the innermost.
type links struct {
	mu      sync.Mutex
	peers   map[string]*link
	hopTime time.Duration
}

func newLinks() *links { return &links{peers: make(map[string]*link), hopTime: hopSeed} }

// set reports whether the peer has come back.
func (l *links) set(peer string, up bool) (back bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	if k == nil {
		if !up {
			return false
		}
		k = &link{}
		l.peers[peer] = k
	}
	if back = up && !k.up; back {
		*k = link{}
	}
	k.up = up
	return back
}

// usable tells whether connections may be sent to the peer now. silent includes a peer that is not heard at this moment.
func (l *links) usable(peer string, now time.Time, silent bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	return k != nil && (k.up || silent) && !now.Before(k.shutUntil)
}

// heard tells whether the peer's link is up: the last word of a dead peer must not steer.
func (l *links) heard(peer string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	return k != nil && k.up
}

// sent notes a connection on its way to the peer. After an ejection one at a time goes, until the peer has answered one.
func (l *links) sent(peer string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.peers[peer]; k != nil && k.failures > 0 {
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
// ejection belong to the same one.
func (l *links) eject(peer string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.peers[peer]
	if k == nil || now.Before(k.shutUntil) && !k.trial {
		return
	}
	d := min(ejectFirst<<min(k.failures, 10), ejectMax)
	k.failures++
	k.trial, k.shutUntil = false, now.Add(d)
}

func (l *links) forget(peer string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.peers, peer)
}

func (l *links) observe(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	diff := min(max(d, hopMin), hopMax) - l.hopTime
	alpha := hopRise
	if diff < 0 {
		alpha = hopFall
	}
	l.hopTime += time.Duration(alpha * float64(diff))
}

func (l *links) hop() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.hopTime
}
