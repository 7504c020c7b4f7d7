package mux

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
)

// Protocol names what is spoken on a stream.
type Protocol string

// The protocols of the peer port.
const (
	Gossip  Protocol = "gossip"  // memberlist's streams
	Raft    Protocol = "raft"    // raft's transport
	Forward Protocol = "forward" // one client connection each
	API     Protocol = "api"     // HTTP between nodes
	Load    Protocol = "load"    // load records, pushed by the accepting side
	// Datagram carries clients' datagrams, all sessions of one node on one stream.
	Datagram Protocol = "datagram"
)

// protocols returns all protocols, in a fixed order.
func protocols() []Protocol { return []Protocol{Gossip, Raft, Forward, API, Load, Datagram} }

// Time limits.
const (
	// handshakeLimit bounds the handshake on both sides, from the first byte to the last.
	handshakeLimit = 5 * time.Second
	// refuseLimit bounds how long a refused stream is kept so that the other side can read why.
	refuseLimit = time.Second
)

// Errors of Dial that callers branch on.
var (
	// ErrWrongKey says that the other side holds another cluster key.
	ErrWrongKey = errors.New("the other side has another cluster key")
	// ErrPeerInsecure says that this side has a cluster key and the other runs without one.
	ErrPeerInsecure = errors.New("the other side runs with -insecure, this side has a cluster key: start both the same way")
	// ErrPeerSecure says that this side runs without a cluster key and the other has one.
	ErrPeerSecure = errors.New("the other side has a cluster key, this side runs with -insecure: start both the same way")
	// ErrListening is what Accept of a second listener for the same protocol returns.
	ErrListening = errors.New("this protocol has a listener already")
)

// Options says how a Mux is opened.
type Options struct {
	// Bind is the address to listen on, "host:port"; port 0 takes a free one.
	Bind string
	// Key is the cluster key; nil runs the port in plain text, for trusted networks only.
	Key *Key
	// Also are keys that are taken beside Key, while that is being replaced; see SetKeys.
	Also []Key
	// Self is what this node tells its peers. Required.
	Self Identity
	// Logger may be nil.
	Logger hclog.Logger
	// Metrics may be nil.
	Metrics *metrics.Metrics
}

// Mux is the TCP side of the peer port. Make one with Open; it needs Close.
type Mux struct {
	self      Identity
	tcp       *net.TCPListener
	secure    atomic.Pointer[credentials] // nil in insecure mode
	log       hclog.Logger
	meter     meter
	admission *admission

	ctx    context.Context // ends with Close: every handshake hangs on it
	cancel context.CancelFunc
	wait   sync.WaitGroup // the accept loop and the handshakes

	mu        sync.Mutex
	listeners map[Protocol]*listener
	closed    bool

	accepted atomic.Uint64
	dialed   atomic.Uint64
	refused  atomic.Uint64
}

// Open listens on the peer port and begins to accept. Streams of a protocol are kept once Listen has been called for it; call Listen for all
// protocols before peers are told of this node. A port in use is an error that wraps syscall.EADDRINUSE.
func Open(o Options) (*Mux, error) {
	if err := o.Self.validate(); err != nil {
		return nil, fmt.Errorf("open the peer port: %w", err)
	}
	logger := o.Logger
	if logger == nil {
		logger = hclog.NewNullLogger()
	}
	m := &Mux{
		self:      o.Self,
		log:       logger.Named("mux"),
		meter:     meter{sink: o.Metrics},
		admission: newAdmission(maxHandshakes, maxHandshakesPerHost),
		listeners: make(map[Protocol]*listener),
	}
	if o.Key != nil {
		secure, err := newCredentials(o.Self, *o.Key, o.Also...)
		if err != nil {
			return nil, fmt.Errorf("open the peer port: %w", err)
		}
		m.secure.Store(secure)
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	tcp, err := listenTCP(m.ctx, o.Bind)
	if err != nil {
		m.cancel()
		return nil, fmt.Errorf("open the peer port %s: %w", o.Bind, err)
	}
	m.tcp = tcp
	m.admission.spare.take()
	m.wait.Go(m.accept)
	return m, nil
}

// listenTCP listens with plain TCP: Go would choose MPTCP where the kernel has it, and such sockets cannot be spliced or put in a sockmap.
func listenTCP(ctx context.Context, bind string) (*net.TCPListener, error) {
	lc := net.ListenConfig{KeepAliveConfig: keepAlive()}
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, "tcp", bind)
	if err != nil {
		return nil, err
	}
	return ln.(*net.TCPListener), nil
}

// keepAlive makes the kernel find a dead peer of an idle stream in about 30 s.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
}

// Addr returns the address listened on, with the real port.
func (m *Mux) Addr() netip.AddrPort {
	a := m.tcp.Addr().(*net.TCPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// Listen returns the listener for one protocol; that of Admit gives *Stranger. Each protocol has one listener at a time: the Accept of a second one returns ErrListening.
// Its queue is bounded; streams that find it full are closed and counted. Closing it closes the streams still queued; Close of the Mux
// closes it too.
func (m *Mux) Listen(p Protocol) net.Listener {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := newListener(m, p)
	switch {
	case m.closed:
		l.shut(net.ErrClosed)
	case m.listeners[p] != nil:
		l.shut(ErrListening)
	default:
		m.listeners[p] = l
	}
	return l
}

// forget takes a closed listener out of the table.
func (m *Mux) forget(l *listener) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.listeners[l.protocol] == l {
		delete(m.listeners, l.protocol)
	}
}

// Dial opens a stream to a peer, addr being "host:port"; names are resolved at each call. It blocks until the handshake is done, at most
// until ctx ends or 5 s after the TCP connection stands. The caller owns the connection, which has no deadline set and has CloseWrite.
//
// In secure mode the other side's certificate has been verified when Dial returns; whether the other side accepts ours shows at the first
// read. errors.Is tells ErrWrongKey, ErrPeerInsecure and ErrPeerSecure.
func (m *Mux) Dial(ctx context.Context, p Protocol, addr string) (net.Conn, error) {
	return m.dial(ctx, p, addr, func(ctx context.Context, raw *net.TCPConn) (net.Conn, error) { return m.greet(ctx, raw, p, addr) })
}

// dial opens a TCP connection and has greet run the dialing side of the handshake.
func (m *Mux) dial(ctx context.Context, p Protocol, addr string, greet func(context.Context, *net.TCPConn) (net.Conn, error)) (net.Conn, error) {
	d := net.Dialer{KeepAliveConfig: keepAlive()}
	d.SetMultipathTCP(false)
	raw, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("dial %s of %s: %w", p, addr, err)
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	conn, err := greet(ctx, raw.(*net.TCPConn))
	if err == nil {
		err = mayAnswer(conn)
	}
	if err != nil {
		_ = raw.Close()
		m.meter.count(metricDialFailed, string(p))
		return nil, fmt.Errorf("dial %s of %s: %w", p, addr, err)
	}
	m.dialed.Add(1)
	return conn, nil
}

// greet runs the dialing side of the handshake; the caller closes raw on an error.
func (m *Mux) greet(ctx context.Context, raw *net.TCPConn, p Protocol, addr string) (net.Conn, error) {
	if m.secure.Load() == nil {
		return greetPlain(ctx, raw, p, m.self)
	}
	w := &wire{TCPConn: raw}
	conn := &secureConn{Conn: tls.Client(w, m.secure.Load().client(p, addr)), wire: w}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, explain(err)
	}
	if err := conn.identify(); err != nil {
		return nil, err
	}
	return conn, nil
}

// Close stops accepting, closes all listeners and the streams still queued in them, ends the handshakes under way and waits for them.
// Streams that were given out stay open: they belong to who took them. It may be called more than once.
func (m *Mux) Close() error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		m.wait.Wait()
		return nil
	}
	m.closed = true
	open := make([]*listener, 0, len(m.listeners))
	for _, l := range m.listeners {
		open = append(open, l)
	}
	m.mu.Unlock()

	m.cancel()
	err := m.tcp.Close()
	m.wait.Wait()
	m.admission.spare.give()
	for _, l := range open {
		_ = l.Close()
	}
	if err != nil {
		return fmt.Errorf("close the peer port: %w", err)
	}
	return nil
}
