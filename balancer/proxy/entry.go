package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// origin is where a connection came from, and what was counted of it at the gate.
type origin struct {
	client netip.AddrPort
	local  netip.AddrPort // the address that the client has connected to; only known where somebody is told
	turn   int            // of a forwarded one: how many were refused on its stream before it
	told   bool           // client is what a header says, and not the socket's own peer
	gate   *gate          // nil for one that came from a peer, which has counted it
	count  netip.Addr     // see gate.count
}

// remote is the address that an app is to see where the socket's own peer is not the client.
func (o *origin) remote() netip.AddrPort {
	if o.told {
		return o.client
	}
	return noRemote
}

const (
	headerLimit = 5 * time.Second // how long a client may take to send its PROXY protocol header
	// headersAwaited bounds the connections of one node whose header is awaited, and those that came late and have no target yet
	// (count). Further ones wait in the backlog.
	headersAwaited = 1024
)

// errUntrusted is why a connection is refused that did not come from a trusted network.
var errUntrusted = errors.New("a PROXY protocol header is not believed from this address")

// enter takes a connection through its app's gate; false means that it was refused or that a goroutine goes on with it.
func (l *listener) enter(c *conn) bool {
	g := l.s.gates.of(l.app)
	if err := g.enter(); err != nil {
		c.refuse(err)
		return false
	}
	c.gate = g
	set := g.set.Load()
	if !set.proxied(l.key) {
		return c.admit(set)
	}
	if !trusted(set.Trusted, c.client.Addr()) {
		g.untrusted()
		c.refuse(errUntrusted)
		return false
	}
	h, err := takeHeader(c.fd)
	if errors.Is(err, errIncomplete) {
		l.await(c, set)
		return false
	}
	return c.introduced(h, err, set)
}

// introduced takes in what a header says; false means that c was refused.
func (c *conn) introduced(h header, err error, set *Gate) bool {
	if err != nil {
		c.gate.badHeader()
		c.refuse(err)
		return false
	}
	if h.client.IsValid() {
		c.client, c.local, c.told = h.client, h.local, true
	}
	return c.admit(set)
}

// admit counts the connection's client; false means that c was refused.
func (c *conn) admit(set *Gate) bool {
	counted, err := c.gate.count(c.client.Addr())
	if err != nil {
		c.refuse(err)
		return false
	}
	c.count = counted
	if set.Named && !c.local.IsValid() {
		c.local = localOf(c.fd)
	}
	return true
}

// await goes on with a connection whose header is not all there, in a goroutine of its own. Where too many are awaited it waits, which stops the
// listener.
func (l *listener) await(c *conn, set *Gate) {
	s := l.s
	select {
	case s.awaited <- struct{}{}:
	case <-s.closing:
		c.refuse(ErrClosed)
		return
	}
	if !s.start(func() {
		defer func() { <-s.awaited }()
		h, err := s.awaitHeader(c)
		if c.detached = true; c.introduced(h, err, set) {
			c.until = time.Now().Add(patience)
			s.place(c)
		}
	}) {
		<-s.awaited
		c.refuse(ErrClosed)
	}
}

// awaitHeader waits for c's header. The socket is in Go's poller meanwhile, as another descriptor.
func (s *Server) awaitHeader(c *conn) (header, error) {
	f := os.NewFile(uintptr(c.fd), "client")
	nc, err := net.FileConn(f) // duplicates
	c.fd = -1
	if err != nil {
		f.Close()
		return header{}, err
	}
	f.Close()
	if !s.hold(nc, false) {
		return header{}, ErrClosed
	}
	defer s.release(nc)
	_ = nc.SetReadDeadline(time.Now().Add(headerLimit))
	raw, err := nc.(*net.TCPConn).SyscallConn()
	if err != nil {
		return header{}, err
	}
	var h header
	var herr error
	err = raw.Read(func(fd uintptr) bool {
		h, herr = takeHeader(int(fd))
		return !errors.Is(herr, errIncomplete)
	})
	if err != nil {
		herr = fmt.Errorf("%w: %w", errHeader, err)
	}
	// Also on an error: the socket is closed by whoever refuses it, as a reset.
	var derr error
	if err := raw.Control(func(fd uintptr) { c.fd, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil || derr != nil {
		c.fd = -1
		return header{}, errors.Join(herr, err, derr)
	}
	return h, herr
}

func (g *gate) untrusted() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.Untrusted++
}

func (g *gate) badHeader() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stats.BadHeader++
}

// trusted reports whether a header is believed from an address.
func trusted(from []netip.Prefix, a netip.Addr) bool {
	for _, p := range from {
		if p.Contains(a) {
			return true
		}
	}
	return len(from) == 0
}

// localOf is the address that the client has connected to.
func localOf(fd int) netip.AddrPort {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	return addrPort(sa)
}
