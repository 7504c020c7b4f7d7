package proxy

import (
	"errors"
	"maps"
	"net/netip"
	"sync"
	"sync/atomic"
)

// maxClients bounds the client addresses that are counted for one app (count). Clients from further ones are let in uncounted.
const maxClients = 1 << 17

// AllListeners stands for every listener of an app in Gate.Proxied.
const AllListeners = "*"

// Reasons why a connection is refused at the gate.
var (
	errConnections = errors.New("the app has all the connections that it may have on this server")
	errPerClient   = errors.New("the client has all the connections that it may have on this server")
)

// Gate says who may come in by an app's listeners, and how. It holds from the next connection on.
type Gate struct {
	Connections int             // Connections of the app that may be open at once (count); 0 = no limit.
	PerClient   int             // PerClient is the same for one client address: an IPv4 address, or an IPv6 network of 64 bits (count).
	Proxied     map[string]bool // Proxied are the keys of listeners on which a connection begins with a PROXY protocol header.
	Trusted     []netip.Prefix  // Trusted are the networks that such a header is believed from; empty = all.
	Named       bool            // Named: workers are told of each connection by which address it came in.
}

// proxied reports whether a connection by that listener begins with a header.
func (g *Gate) proxied(key string) bool { return g.Proxied[key] || g.Proxied[AllListeners] }

// Steered reports whether the node has to see each connection itself.
func (g *Gate) steered() bool { return g.Connections > 0 || g.PerClient > 0 || len(g.Proxied) > 0 }

// guards reports whether each connection by that listener has to be seen before a worker has it.
func (g *Gate) guards(key string) bool { return g.Connections > 0 || g.PerClient > 0 || g.proxied(key) }

// GateStats is what an app's gate has seen (counts).
type GateStats struct {
	Open          int    // Open connections that came in by this node, whoever serves them
	Clients       int    // Clients is the number of client addresses that are counted now.
	OverLimit     uint64 // OverLimit connections were refused because of Gate.Connections.
	OverPerClient uint64 // OverPerClient connections were refused because of Gate.PerClient.
	BadHeader     uint64 // BadHeader connections were refused because they did not begin with a valid PROXY protocol header in time.
	Untrusted     uint64 // Untrusted connections were refused because they did not come from Gate.Trusted.
	Uncounted     uint64 // Uncounted connections were let in when no further client address could be counted.
}

// add sums up.
func (s *GateStats) add(o GateStats) {
	s.Open += o.Open
	s.Clients += o.Clients
	s.OverLimit += o.OverLimit
	s.OverPerClient += o.OverPerClient
	s.BadHeader += o.BadHeader
	s.Untrusted += o.Untrusted
	s.Uncounted += o.Uncounted
}

// gates are the gates of all apps.
type gates struct {
	mu   sync.Mutex // guards all below
	all  map[string]*gate
	gone GateStats // of gates that are no more
}

// gate is an app's.
type gate struct {
	set atomic.Pointer[Gate]

	mu      sync.Mutex // guards all below
	clients map[netip.Addr]int
	stats   GateStats
}

// InitGate sets the gate of an app that has none yet.
func (s *Server) InitGate(app string, g Gate) { s.gates.init(app, g) }

// of returns an app's gate, which is made if there is none.
func (g *gates) of(app string) *gate { return g.init(app, Gate{}) }

// init returns an app's gate, which is made as given if there is none.
func (g *gates) init(app string, first Gate) *gate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.all == nil {
		g.all = make(map[string]*gate)
	}
	out := g.all[app]
	if out == nil {
		out = &gate{clients: make(map[netip.Addr]int)}
		set := first // so that only here one is made
		out.set.Store(&set)
		g.all[app] = out
	}
	return out
}

// SetGates sets the gates of all apps; apps that are not among them have none any more.
func (s *Server) SetGates(want map[string]Gate) {
	for app, g := range want {
		s.gates.of(app).set.Store(&g)
		s.Steer(app)
	}
	s.gates.mu.Lock()
	defer s.gates.mu.Unlock()
	maps.DeleteFunc(s.gates.all, func(app string, g *gate) bool {
		if _, ok := want[app]; ok {
			return false
		}
		g.set.Store(&Gate{})
		st := g.read()
		if st.Open > 0 {
			return false
		}
		s.gates.gone.add(st)
		return true
	})
}

// GateStats tells what an app's gate has seen; "" stands for all apps, those that are gone included.
func (s *Server) GateStats(app string) GateStats {
	s.gates.mu.Lock()
	defer s.gates.mu.Unlock()
	if app != "" {
		if g := s.gates.all[app]; g != nil {
			return g.read()
		}
		return GateStats{}
	}
	out := s.gates.gone
	for _, g := range s.gates.all {
		out.add(g.read())
	}
	return out
}

func (g *gate) read() GateStats {
	g.mu.Lock()
	defer g.mu.Unlock()
	st := g.stats
	st.Clients = len(g.clients)
	return st
}

// enter counts a connection that came in, unless the app has all that it may have.
func (g *gate) enter() error {
	limit := g.set.Load().Connections
	g.mu.Lock()
	defer g.mu.Unlock()
	if limit > 0 && g.stats.Open >= limit {
		g.stats.OverLimit++
		return errConnections
	}
	g.stats.Open++
	return nil
}

// count counts a connection of a client, unless it has all that it may have. counted is what leave is to be told.
func (g *gate) count(client netip.Addr) (counted netip.Addr, err error) {
	limit := g.set.Load().PerClient
	if limit == 0 {
		return netip.Addr{}, nil
	}
	client = clientOf(client)
	g.mu.Lock()
	defer g.mu.Unlock()
	n, known := g.clients[client]
	switch {
	case n >= limit:
		g.stats.OverPerClient++
		return netip.Addr{}, errPerClient
	case !known && len(g.clients) >= maxClients:
		g.stats.Uncounted++
		return netip.Addr{}, nil
	}
	g.clients[client] = n + 1
	return client, nil
}

// leave gives back what enter and count have counted.
func (g *gate) leave(counted netip.Addr) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Open--
	if !counted.IsValid() {
		return
	}
	if g.clients[counted]--; g.clients[counted] <= 0 {
		delete(g.clients, counted)
	}
}

// clientOf is what stands for a client: who has one IPv6 address has a network of them.
func clientOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64) // in range
		return p.Addr()
	}
	return a
}
