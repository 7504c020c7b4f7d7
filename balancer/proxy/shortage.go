package proxy

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Resource is something of this server that connections may use up.
type Resource uint8

// The resources.
const (
	Descriptors Resource = iota // Descriptors of this process: RLIMIT_NOFILE
	Ports                       // Ports to dial from: net.ipv4.ip_local_port_range
	Relays                      // Relays is room among the connections whose bytes may cross this node.
	resources
)

// shortageMemory is how long after its last sign a shortage counts as one that goes on.
const shortageMemory = time.Minute

// Bounds of the descriptors that no client gets (count): the control socket, peers and files need some. The limit may be changed at any time; one
// that is low enough to be asked for is asked for each time.
const (
	unsuspicious = 64
	leastSpared  = 32
	mostSpared   = 512
)

// errDescriptors is why a connection is refused that would take one of those.
var errDescriptors = errors.New("this process has no descriptors left for connections: raise its limit (LimitNOFILE)")

// Shortage tells how often there was too little of something, each time once for every connection that had to do without.
type Shortage struct {
	Times uint64 // Times since the shortage began that goes on (count); 0 = there is none
	Total uint64 // Total since the start (count)
	Last  time.Time
}

// shortages notes what there was too little of, and keeps the last descriptors from clients.
type shortages struct {
	owed atomic.Int64 // relays that are about to take their second descriptor

	mu    sync.Mutex // guards all below
	spare int        // is given up to refuse a connection when there is no other; -1 = there is none
	seen  [resources]Shortage
}

// init takes the spare descriptor.
func (h *shortages) init() { h.spare = takeSpare() }

// close gives it back.
func (h *shortages) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.spare >= 0 {
		unix.Close(h.spare)
		h.spare = -1
	}
}

func takeSpare() int {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return -1
	}
	return fd
}

// last reports whether a client's descriptor is one of the last. The kernel gives the lowest that is free: all below are in use.
func (h *shortages) last(fd int) bool {
	if fd < unsuspicious {
		return false
	}
	var r unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
		return false
	}
	most := int64(min(r.Cur, 1<<30))
	return int64(fd)+h.owed.Load() >= most-min(max(most/8, leastSpared), mostSpared)
}

// note counts a connection that had to do without.
func (h *shortages) note(r Resource) {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	s := &h.seen[r]
	if now.Sub(s.Last) > shortageMemory {
		s.Times = 0
	}
	s.Times++
	s.Total++
	s.Last = now
}

// Shortage tells of what there is too little, or was within the last minute.
func (s *Server) Shortage(r Resource) Shortage {
	h := &s.shortages
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.seen[r]
	if time.Since(out.Last) > shortageMemory {
		out.Times = 0
	}
	return out
}

// turnAway refuses the first connection of a listener's backlog with the spare descriptor, so that its client knows; false means that this
// could not be done.
func (l *listener) turnAway() bool {
	h := &l.s.shortages
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.spare >= 0 {
		unix.Close(h.spare)
	}
	fd := -1
	_ = l.raw.Control(func(lfd uintptr) { fd, _, _ = syscall.Accept4(int(lfd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC) })
	if fd >= 0 {
		reset(fd)
	}
	h.spare = takeSpare()
	return fd >= 0
}

func outOfDescriptors(err error) bool {
	return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

// wants notes an error of this server's own, of which a connection is to tell if nobody takes it.
func (c *conn) wants(err error) {
	var of Resource
	before := c.lacks
	switch {
	case outOfDescriptors(err):
		of, c.lacks = Descriptors, errDescriptors
	case errors.Is(err, unix.EADDRNOTAVAIL):
		of, c.lacks = Ports, errPorts
	default:
		return
	}
	if before == nil { // it tries again and again
		c.s.shortages.note(of)
	}
	c.s.grumble.warn(c.s.log, "this server lacks something for a connection", "app", c.app, "reason", c.lacks)
}

// errPorts is why a connection is refused that could not be passed on.
var errPorts = errors.New("this server has no port left to dial from: widen net.ipv4.ip_local_port_range")
