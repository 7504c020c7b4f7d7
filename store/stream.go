package store

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// maxStreams bounds the streams that peers have opened to this server. Raft keeps a few per peer.
const maxStreams = 1024

// stream is the streams of raft's transport, over a listener and a dial function. It remembers every connection, because raft's
// transport leaves accepted ones open when it ends.
type stream struct {
	listener net.Listener
	dial     func(ctx context.Context, addr string) (net.Conn, error)
	peerOf   func(net.Conn) string // nil = nobody knows
	addr     string
	meter    meter
	ctx      context.Context
	cancel   context.CancelFunc

	mu       sync.Mutex
	conns    map[*streamConn]struct{}
	accepted int
	closed   bool
}

func newStream(o Options, m meter) *stream {
	ctx, cancel := context.WithCancel(context.Background())
	return &stream{listener: o.Listener, dial: o.Dial, peerOf: o.PeerOf, addr: o.Addr, meter: m,
		ctx: ctx, cancel: cancel, conns: make(map[*streamConn]struct{})}
}

// accept waits for a peer's stream. Streams over the limit are closed and counted.
func (s *stream) accept() (*streamConn, error) {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return nil, err
		}
		if tracked, ok := s.track(c, true); ok {
			return tracked, nil
		}
	}
}

// Dial implements raft.StreamLayer.
func (s *stream) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(s.ctx, timeout)
	defer cancel()
	c, err := s.dial(ctx, string(addr))
	if err != nil {
		return nil, err
	}
	tracked, ok := s.track(c, false)
	if !ok {
		return nil, net.ErrClosed
	}
	return tracked, nil
}

// Close implements net.Listener. It may be called more than once.
func (s *stream) Close() error {
	s.abort()
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// Addr implements net.Listener: raft tells it to the peers.
func (s *stream) Addr() net.Addr { return streamAddr(s.addr) }

// abort ends every dial and every connection, now and from now on.
func (s *stream) abort() {
	s.cancel()
	s.mu.Lock()
	s.closed = true
	conns := s.conns
	s.conns = make(map[*streamConn]struct{})
	s.mu.Unlock()
	for c := range conns {
		// Closing is all that is left to do with it: there is nobody to tell.
		_ = c.Conn.Close()
	}
}

// track remembers c, or closes it when it is one too many or too late.
func (s *stream) track(c net.Conn, accepted bool) (*streamConn, bool) {
	tracked := &streamConn{Conn: c, stream: s, accepted: accepted}
	if accepted && s.peerOf != nil {
		tracked.peer = s.peerOf(c)
	}
	s.mu.Lock()
	refused := accepted && s.accepted >= maxStreams
	if !refused && !s.closed {
		s.conns[tracked] = struct{}{}
		if accepted {
			s.accepted++
		}
		s.mu.Unlock()
		return tracked, true
	}
	s.mu.Unlock()
	if refused {
		s.meter.count(metricStreams)
	}
	_ = c.Close()
	return nil, false
}

// streamConn forgets itself when it is closed.
type streamConn struct {
	net.Conn
	stream   *stream
	accepted bool
	peer     string // identity of the server that has opened an accepted one, "" = not known
}

// Close implements net.Conn. It may be called more than once.
func (c *streamConn) Close() error {
	c.stream.mu.Lock()
	_, known := c.stream.conns[c]
	delete(c.stream.conns, c)
	if known && c.accepted {
		c.stream.accepted--
	}
	c.stream.mu.Unlock()
	if err := c.Conn.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return err
	}
	return nil
}

// streamAddr is an advertised address, as a net.Addr.
type streamAddr string

// Network implements net.Addr.
func (streamAddr) Network() string { return "tcp" }

// String implements net.Addr.
func (a streamAddr) String() string { return string(a) }

// addresses finds a server's address: the one gossip has now, else the one in the configuration.
type addresses struct {
	self    Server
	lookup  func(id string) (string, bool)
	servers func() []Server
}

var errUnknownServer = errors.New("no address is known for this server")

// ServerAddr implements raft.ServerAddressProvider.
func (a addresses) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if string(id) == a.self.ID {
		return raft.ServerAddress(a.self.Addr), nil
	}
	if a.lookup != nil {
		if addr, ok := a.lookup(string(id)); ok && addr != "" {
			return raft.ServerAddress(addr), nil
		}
	}
	for _, s := range a.servers() {
		if s.ID == string(id) {
			return raft.ServerAddress(s.Addr), nil
		}
	}
	return "", errUnknownServer
}
