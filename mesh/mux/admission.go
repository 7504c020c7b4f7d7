package mux

import (
	"net/netip"
	"sync"
)

// Bounds on handshakes under way. The second keeps one host that opens streams and says nothing from taking all places.
const (
	maxHandshakes        = 256
	maxHandshakesPerHost = 64
)

// admission counts the handshakes under way, in all and by remote host.
type admission struct {
	limit, perHost int
	spare          spare

	mu     sync.Mutex
	total  int
	byHost map[netip.Addr]int
}

func newAdmission(limit, perHost int) *admission {
	return &admission{limit: limit, perHost: perHost, byHost: make(map[netip.Addr]int)}
}

// enter claims a place for a handshake with host; false means that there is none. Every true must be followed by one leave.
func (a *admission) enter(host netip.Addr) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.total >= a.limit || a.byHost[host] >= a.perHost {
		return false
	}
	a.total++
	a.byHost[host]++
	return true
}

// leave gives the place back.
func (a *admission) leave(host netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.total--
	if a.byHost[host]--; a.byHost[host] == 0 {
		delete(a.byHost, host)
	}
}

// inFlight returns the number of places taken.
func (a *admission) inFlight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}
