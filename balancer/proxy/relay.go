package proxy

import (
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
	"meshnode/balancer/proxy/relay"
)

// way is how bytes cross this node.
type way struct {
	engine  *relay.Engine // nil if the kernel gave none
	streams streams
	dials   dials
	// greetings has a token for each stream of a peer whose question is awaited.
	greetings chan struct{}
}

// SetIdle sets after which time without a byte a connection that crosses this node is reset; 0 = never.
func (s *Server) SetIdle(d time.Duration) {
	if s.way.engine != nil {
		s.way.engine.SetIdle(d)
	}
}

// party is one side of a relay: a bare socket, or a connection.
type party struct {
	conn net.Conn
	fd   int // if conn is nil
}

// detachable is a connection whose socket can be taken away, and that is a layer over it then.
type detachable interface {
	relay.Layer
	// Detach gives the socket away. On an error the connection stays as it was.
	Detach() (fd int, err error)
}

// CutPeer resets the connections that go to a peer or came from it: nothing reaches it, or nothing that it says arrives, and their clients
// would wait for answers that cannot come. Those of its connections that a worker has itself end when the kernel finds the peer gone.
func (s *Server) CutPeer(peer string) {
	if s.way.engine != nil {
		s.way.engine.CutPeer(peer)
	}
}

// carry relays c between two parties until both directions have ended, and closes them. b is what serves it, which r has claimed. It does not block.
func (s *Server) carry(c *conn, r balancer.PickResult, a, b party) {
	over := func() { c.finished(r, false) }
	if s.way.engine == nil || !a.socket() || !b.socket() {
		if !s.start(func() { s.copyBoth(a, b); over() }) {
			a.cut()
			b.cut()
			over()
		}
		return
	}
	sa, erra := a.side()
	sb, errb := b.side()
	if erra == nil && errb == nil {
		p := relay.Pair{A: sa, B: sb, Said: func() { r.Ended(time.Now()) }, Over: func(relay.Cause) { over() }}
		switch {
		case r.Target.Kind == balancer.KindPeer:
			p.Peer = r.Target.ID
		case c.stream != nil && s.o.PeerOf != nil:
			p.Peer = s.o.PeerOf(c.stream)
		}
		if s.way.engine.Carry(p) != nil {
			over()
		}
		return
	}
	s.log.Warn("a connection was lost", "err", fmt.Errorf("take a socket for the relay: %w, %w", erra, errb))
	party{fd: sa.FD}.cutAfter(erra, a)
	party{fd: sb.FD}.cutAfter(errb, b)
	over()
}

// cutAfter ends a detached socket, or the party it could not be taken from.
func (p party) cutAfter(err error, from party) {
	if err != nil {
		p = from
	}
	p.cut()
}

// socket reports whether the party has a socket that the engine can relay.
func (p party) socket() bool {
	switch p.conn.(type) {
	case nil, detachable, syscall.Conn:
		return true
	}
	return false
}

// side takes the party's socket out of Go's poller. On an error the party is as it was.
func (p party) side() (relay.Side, error) {
	if p.conn == nil {
		return relay.Side{FD: p.fd}, nil
	}
	if d, ok := p.conn.(detachable); ok {
		fd, err := d.Detach()
		return relay.Side{FD: fd, Layer: d}, err
	}
	fd, err := duplicateOf(p.conn.(syscall.Conn))
	if err == nil {
		p.conn.Close() // the socket lives on in its duplicate
	}
	return relay.Side{FD: fd}, err
}

// duplicateOf returns a second descriptor of a connection's socket, which does not block.
func duplicateOf(c syscall.Conn) (fd int, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	if cerr := raw.Control(func(old uintptr) { fd, err = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return -1, cerr
	}
	return fd, err
}

// cut ends the party, as a reset where its kind has one.
func (p party) cut() {
	if p.conn == nil {
		reset(p.fd)
		return
	}
	abort(p.conn)
	p.conn.Close()
}

// abort closes the TCP connection below c so that the other side sees a reset. A TLS connection would say goodbye first, and the other
// side would take the failure for an orderly end.
func abort(c net.Conn) {
	for {
		n, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = n.NetConn()
	}
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok && t.SetLinger(0) == nil {
		c.Close()
	}
}

// tune sets up a client's socket for relaying: no delay, and keep-alive, which finds a client that is gone without a word.
func tune(fd int) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(keepAlive.Seconds()))
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(keepAlive.Seconds()))
}
