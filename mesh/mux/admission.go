package mux

import (
	"net/netip"
	"slices"
	"sync"
)

// Bounds on handshakes under way. The second keeps one host that opens streams and says nothing from taking all places.
const (
	maxHandshakes        = 256
	maxHandshakesPerHost = 64
)

// admission knows the handshakes under way, in all and by remote host.
type admission struct {
	limit, perHost int
	spare          spare

	mu     sync.Mutex
	total  int
	order  uint64
	byHost map[netip.Addr][]*place // oldest first
}

// place is what a handshake takes.
type place struct {
	host  netip.Addr
	order uint64 // when it was taken, beside others
	end   func() // ends the handshake
}

func newAdmission(limit, perHost int) *admission {
	return &admission{limit: limit, perHost: perHost, byHost: make(map[netip.Addr][]*place)}
}

// enter takes a place for a handshake with host, which end ends; nil means that there is none. Where all are taken, the oldest handshake of the host
// that has most is ended for it, if that has more than twice as many as this one: many hosts that say nothing keep nobody else out, and hosts
// that are in a hurry together do not end each other's. Every place must be given to leave once.
func (a *admission) enter(host netip.Addr, end func()) *place {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.byHost[host]) >= a.perHost {
		return nil
	}
	if a.total >= a.limit {
		oldest := a.crowd()
		if len(a.byHost[oldest.host]) <= 2*len(a.byHost[host]) {
			return nil
		}
		a.remove(oldest)
		oldest.end()
	}
	a.order++
	p := &place{host: host, order: a.order, end: end}
	a.total++
	a.byHost[host] = append(a.byHost[host], p)
	return p
}

// crowd is the oldest place of the host that has most; of several hosts that have as many, of the one whose is the oldest.
func (a *admission) crowd() *place {
	var out *place
	most := 0
	for _, of := range a.byHost {
		if len(of) > most || len(of) == most && of[0].order < out.order {
			out, most = of[0], len(of)
		}
	}
	return out
}

// leave gives a place back, unless somebody else has it already.
func (a *admission) leave(p *place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.remove(p)
}

func (a *admission) remove(p *place) {
	of := a.byHost[p.host]
	i := slices.Index(of, p)
	if i < 0 {
		return
	}
	a.total--
	if len(of) == 1 {
		delete(a.byHost, p.host)
		return
	}
	a.byHost[p.host] = slices.Delete(of, i, i+1)
}

// inFlight returns the number of places taken.
func (a *admission) inFlight() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
}
