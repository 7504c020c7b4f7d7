package meshtest

import (
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Options says how a Network behaves at first.
type Options struct {
	// Seed makes loss and jitter repeatable.
	Seed uint64
	// Loss is the share of packets that are lost, in [0,1]. Streams lose nothing.
	Loss float64
	// Delay is how long packets and stream chunks take one way.
	Delay time.Duration
	// Jitter is added to Delay, evenly spread over [0,Jitter). Packets may overtake each other, streams stay in order.
	Jitter time.Duration
}

// Network is a set of hosts. Make one with New; it needs Close.
type Network struct {
	done chan struct{}
	wait sync.WaitGroup // the relays of streams

	mu      sync.Mutex
	random  *rand.Rand
	options Options
	hosts   map[string]*Host
	cut     map[[2]string]bool // from, to
	changed chan struct{}      // closed and replaced when reachability changes
	closed  bool
}

// New returns an empty network.
func New(o Options) *Network {
	return &Network{
		done:    make(chan struct{}),
		random:  rand.New(rand.NewPCG(o.Seed, o.Seed+1)),
		options: o,
		hosts:   make(map[string]*Host),
		cut:     make(map[[2]string]bool),
		changed: make(chan struct{}),
	}
}

// Host is one machine of a Network, with one address "ip:port".
type Host struct {
	net  *Network
	addr netip.AddrPort

	// Guarded by the network's mutex.
	stopped   bool
	packets   *packetConn
	listeners map[string]*listener
	streams   map[*stream]struct{}
}

// Host returns the host with that address, such as "10.0.0.1:7946", making it when it is new. It panics if addr is not "ip:port".
func (n *Network) Host(addr string) *Host {
	ap := netip.MustParseAddrPort(addr)
	n.mu.Lock()
	defer n.mu.Unlock()
	h := n.hosts[ap.String()]
	if h == nil {
		h = &Host{net: n, addr: ap, listeners: make(map[string]*listener), streams: make(map[*stream]struct{})}
		n.hosts[ap.String()] = h
	}
	return h
}

// Addr returns the host's address, "ip:port".
func (h *Host) Addr() string { return h.addr.String() }

// Set changes loss, delay and jitter from now on; the seed is ignored.
func (n *Network) Set(o Options) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.options = o
}

// Cut stops everything from one host to another, in that direction only: packets are lost, streams stall, dials wait.
func (n *Network) Cut(from, to *Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[[2]string{from.Addr(), to.Addr()}] = true
	n.reach()
}

// Partition cuts every host of side from every other host of the network, in both directions.
func (n *Network) Partition(side ...*Host) {
	n.mu.Lock()
	defer n.mu.Unlock()
	inside := make(map[string]bool)
	for _, h := range side {
		inside[h.Addr()] = true
	}
	for a := range n.hosts {
		for b := range n.hosts {
			if inside[a] != inside[b] {
				n.cut[[2]string{a, b}] = true
			}
		}
	}
	n.reach()
}

// Heal ends all cuts.
func (n *Network) Heal() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.cut)
	n.reach()
}

// Stop makes a host silent in both directions, as SIGSTOP or a pulled cable does: its streams stall and stay open.
func (h *Host) Stop() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.stopped = true
	h.net.reach()
}

// Resume ends Stop.
func (h *Host) Resume() {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	h.stopped = false
	h.net.reach()
}

// Kill closes everything on the host, as the end of its process does: peers see their streams end and their dials refused. The host may be
// used again afterwards.
func (h *Host) Kill() {
	h.net.mu.Lock()
	packets := h.packets
	listeners := make([]*listener, 0, len(h.listeners))
	for _, l := range h.listeners {
		listeners = append(listeners, l)
	}
	streams := make([]*stream, 0, len(h.streams))
	for s := range h.streams {
		streams = append(streams, s)
	}
	h.net.mu.Unlock()
	if packets != nil {
		_ = packets.Close()
	}
	for _, l := range listeners {
		_ = l.Close()
	}
	for _, s := range streams {
		s.close()
	}
}

// Close kills every host and waits for the network's goroutines.
func (n *Network) Close() {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return
	}
	n.closed = true
	hosts := make([]*Host, 0, len(n.hosts))
	for _, h := range n.hosts {
		hosts = append(hosts, h)
	}
	n.mu.Unlock()
	close(n.done)
	for _, h := range hosts {
		h.Kill()
	}
	n.wait.Wait()
}

// reach wakes everybody who waits for a way; the mutex is held.
func (n *Network) reach() {
	close(n.changed)
	n.changed = make(chan struct{})
}

// way says whether bytes can pass from one host to another now, and otherwise returns a channel that closes when that may have changed.
func (n *Network) way(from, to *Host) (open bool, changed <-chan struct{}) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.wayLocked(from, to), n.changed
}

func (n *Network) wayLocked(from, to *Host) bool {
	return !from.stopped && !to.stopped && !n.cut[[2]string{from.Addr(), to.Addr()}]
}

// latency draws a delay; the mutex is held.
func (n *Network) latency() time.Duration {
	d := n.options.Delay
	if n.options.Jitter > 0 {
		d += time.Duration(n.random.Int64N(int64(n.options.Jitter)))
	}
	return d
}

// tcpAddr returns an address as net reports it.
func tcpAddr(a netip.AddrPort) net.Addr { return net.TCPAddrFromAddrPort(a) }
