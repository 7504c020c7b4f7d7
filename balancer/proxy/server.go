package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"meshnode/balancer"
	"meshnode/balancer/proxy/relay"
)

// Times of the data path.
const (
	patience     = 5 * time.Second        // how long a connection waits for a target before it is refused
	answerLimit  = 250 * time.Millisecond // how long a peer may take to accept or refuse a forward, dial included
	dialLimit    = time.Second            // how long a local worker may take to accept
	keepAlive    = 15 * time.Second       // TCP keep-alive of relayed connections
	acceptPause  = 50 * time.Millisecond  // pause of accepting after an error such as no free descriptor
	ingressLimit = 5 * time.Second        // how long writing an answer to a peer may take
	lookAgain    = 100 * time.Millisecond // how often a waiting connection asks anew: an ejection that ends makes no event
	// ingressPatience is how long a forwarded connection waits for a worker with room before the peer is refused, and queuedAfter how long
	// one that was offered waits until the peer is told so. Together they stay below answerLimit: a busy node says that it is busy, and is
	// not mistaken for a dead one.
	ingressPatience = 150 * time.Millisecond
	queuedAfter     = 50 * time.Millisecond
)

// relayLoops is the number of event loops that relay (count). One is enough for what a few cores can ask of it, and has more to do at each turn.
func relayLoops() int { return max(1, runtime.GOMAXPROCS(0)/4) }

// Outcome is what a worker made of a connection that was offered to it.
type Outcome uint8

// The outcomes.
const (
	Accepted Outcome = iota + 1 // Accepted: it is the worker's.
	Refused                     // Refused: the worker does not want it; nothing of it was read.
	Lost                        // Lost: the worker died without having read of it.
)

// Worker is a local worker as the data path needs it.
type Worker interface {
	// Passes reports whether the worker takes sockets (Offer); otherwise it is dialed (Dial).
	Passes() bool
	// Offer passes a socket for the listener key. The descriptor stays the caller's, and need not outlive the call. outcome is called exactly
	// once unless an error is returned; it does not block. remote, if valid, is the client's address where the socket's own peer is not
	// the client.
	Offer(key string, fd int, remote netip.AddrPort, outcome func(Outcome)) error
	// Dial connects to the worker.
	Dial(ctx context.Context) (net.Conn, error)
	// Header is the PROXY protocol header that a worker wants before each connection that it is dialed for; 0 = none.
	Header() HeaderVersion
}

// Speaker is a worker that can say something on a socket before its app has it.
type Speaker interface {
	Worker
	// Speaks reports whether it can, on the connections of a listener.
	Speaks(key string) bool
	// OfferSaying is like Offer. The worker writes say to the socket at the moment when its server takes it, and not if it does not.
	OfferSaying(key string, fd int, from Origin, outcome func(Outcome)) error
}

// Origin is what a worker is told of a connection that a peer forwarded.
type Origin struct {
	Client netip.AddrPort // Client is the client's address.
	Say    []byte         // Say is what the worker writes first.
}

// Options are what a Server needs.
type Options struct {
	Balancer *balancer.Balancer
	// DialPeer opens a stream to the node with that name.
	DialPeer func(ctx context.Context, node string) (net.Conn, error)
	// PeerOf names the node that a stream came from, "" if that is not known; nil = it never is.
	PeerOf func(stream net.Conn) string
	Logger hclog.Logger
	// Keep keeps listening sockets open while no node runs; nil = nobody does.
	Keep Keep
	// Direct lets workers accept by themselves, where the kernel can choose among them.
	Direct bool
	// PeerPort is the port on which the streams of peers come in. 0 = workers have none of them.
	PeerPort uint16
	// Relays bounds the connections whose bytes cross this node (count); 0 = by the limit on descriptors.
	Relays int
}

// Server is the data path of one node.
type Server struct {
	o   Options
	log hclog.Logger
	local
	door
	way     way
	wg      sync.WaitGroup
	closing chan struct{}
	stats   counters
	grumble grumble

	opening sync.Mutex // held while a listener is opened

	mu        sync.Mutex // guards all below
	workers   map[string]Worker
	listeners map[listenerID]*listener
	conns     map[net.Conn]bool // to be cut at Close: streams of peers whose question is awaited (true), and what is copied
	closed    bool
}

// local is what the data path has to do with the node's own workers.
type local struct {
	tracker *tracker
	lookout *lookout
	direct  atomic.Bool // workers may accept by themselves
}

// door is what bounds connections.
type door struct {
	gates   gates
	relays  chan struct{} // one token for each relay
	awaited chan struct{} // one token for each connection whose header is awaited

	shortages shortages
}

type listenerID struct{ app, key string }

// New returns a Server with no listeners. Where the kernel cannot tell when a socket has ended (see track_linux.go), a connection
// that was handed off counts as over once the worker took it, and the log says so once.
func New(o Options) *Server {
	s := &Server{o: o, log: o.Logger.Named("proxy"), closing: make(chan struct{}), workers: make(map[string]Worker),
		listeners: make(map[listenerID]*listener), conns: make(map[net.Conn]bool)}
	if o.Relays == 0 {
		o.Relays = relayLimit()
	}
	s.relays = make(chan struct{}, o.Relays)
	s.shortages.init()
	s.awaited = make(chan struct{}, headersAwaited)
	s.way.greetings = make(chan struct{}, greetings)
	s.lookout = newLookout(s)
	s.way.streams = streams{s: s, shelves: make(map[string]*shelf)}
	if e, err := relay.Open(relayLoops()); err != nil {
		s.log.Warn("connections are copied by a pair of goroutines each, which takes more memory", "err", err)
	} else {
		s.way.engine = e
	}
	t, err := newTracker(s.log)
	if err != nil {
		s.log.Warn("cannot see when handed-off connections end; balancing counts only connections not yet taken", "err", err)
	}
	s.tracker = t
	s.direct.Store(o.Direct)
	return s
}

// SetWorker makes a worker known; the balancer decides from when on it is chosen.
func (s *Server) SetWorker(id string, w Worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.workers[id] = w
}

// RemoveWorker forgets a worker whose process is gone, and gives back the claims of the connections that died with it.
func (s *Server) RemoveWorker(id string) {
	s.mu.Lock()
	delete(s.workers, id)
	s.mu.Unlock()
	s.dropSockets(id)
	s.lookout.forget(id)
	s.tracker.dropOwner(id)
}

func (s *Server) worker(id string) Worker {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers[id]
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the data path is closed")

// Listen opens addr ("host:port", or ":port" for every address; network "tcp", or "tcp6" for IPv6 alone) for an app, and returns the address
// that was bound. key names the listener to the app's workers and on every node. A second call with the same app and key returns the first call's address.
// Errors: syscall.EADDRINUSE and the like, wrapped.
func (s *Server) Listen(app, key, network, addr string) (netip.AddrPort, error) {
	// One at a time, without the lock of the data path: a name may have to be resolved.
	s.opening.Lock()
	defer s.opening.Unlock()
	id := listenerID{app, key}
	s.mu.Lock()
	l := s.listeners[id]
	s.mu.Unlock()
	if l != nil {
		return l.bound, nil
	}
	l, err := s.open(id, network, addr)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("listen on %s for %s: %w", addr, app, err)
	}
	if !s.start(l.accept) {
		l.file.Close()
		return netip.AddrPort{}, ErrClosed
	}
	if s.o.Keep != nil {
		s.o.Keep.Hold(app, key, l.number())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listeners[id] = l
	if s.closed {
		l.stop()
	}
	return l.bound, nil
}

// open takes over the listener's socket from a former run of the node, or opens a new one.
func (s *Server) open(id listenerID, network, addr string) (*listener, error) {
	if s.o.Keep != nil {
		if fd, ok := s.o.Keep.Take(id.app, id.key); ok {
			l, err := inheritListener(s, id, fd)
			if err == nil {
				return l, nil
			}
			s.log.Warn("a listening socket of a former run cannot be used", "app", id.app, "addr", addr, "err", err)
		}
	}
	return openListener(s, id, network, addr)
}

// start runs f in a goroutine that Close waits for; false means that the server is closed, and f does not run.
func (s *Server) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// Unlisten closes an app's listener after what waits in its backlog was served; "" closes all of the app's.
func (s *Server) Unlisten(app, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range s.listeners {
		if id.app == app && (key == "" || id.key == key) {
			s.stopListener(id, l)
		}
	}
}

// stopListener ends a listener for good. The lock is held.
func (s *Server) stopListener(id listenerID, l *listener) {
	s.forgetListener(id)
	l.stop()
}

func (s *Server) forgetListener(id listenerID) {
	if s.o.Keep != nil {
		s.o.Keep.Drop(id.app, id.key) // before its backlog is served: what came in after that would never be
	}
	delete(s.listeners, id)
}

// LetGo ends accepting at once, for a successor of this process that has the same sockets: nothing is taken from their backlogs any more.
// Open connections go on.
func (s *Server) LetGo() {
	s.mu.Lock()
	all := s.listeners
	s.listeners = make(map[listenerID]*listener)
	for c, waits := range s.conns {
		if waits { // the peers' next questions are the successor's
			c.Close()
		}
	}
	s.mu.Unlock()
	s.DropStreams("")
	s.lookout.leave()
	for _, l := range all {
		l.leave()
	}
	for _, l := range all {
		<-l.done
	}
}

// Listener describes an open listener.
type Listener struct {
	App, Key string
	Addr     netip.AddrPort
}

// Listeners lists what is open.
func (s *Server) Listeners() []Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Listener, 0, len(s.listeners))
	for id, l := range s.listeners {
		out = append(out, Listener{App: id.app, Key: id.key, Addr: l.bound})
	}
	return out
}

// StopAccepting closes all listeners, within fadeTime; open connections go on. It does not block. Workers must accept nothing by themselves any more.
func (s *Server) StopAccepting() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, l := range s.listeners {
		s.forgetListener(id)
		l.fade()
	}
}

// drainLook is how often a draining server looks whether all is done.
const drainLook = 20 * time.Millisecond

// Drained blocks until no connection is open, those that peers serve for us included, or the context ends (then it returns the
// context's error). Call it after StopAccepting.
func (s *Server) Drained(ctx context.Context) error {
	t := time.NewTicker(drainLook)
	defer t.Stop()
	for s.Stats().Open > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Carried blocks until no connection's bytes cross this node any more, or the context ends (then it returns the context's error). Call it
// after LetGo.
func (s *Server) Carried(ctx context.Context) error {
	t := time.NewTicker(drainLook)
	defer t.Stop()
	for s.Crossing() > 0 {
		select {
		case <-t.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// Crossing is the number of connections whose bytes cross this node now, and of those whose first bytes are awaited (count).
func (s *Server) Crossing() int { return len(s.relays) + len(s.awaited) }

// Close stops accepting, cuts every connection whose bytes cross this node, and waits until their claims are given back. Sockets that were
// handed off go on, uncounted. An offer that its worker has not answered ends with the worker: end the workers first.
func (s *Server) Close() error {
	s.StopAccepting()
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.closing)
	for c := range s.conns {
		abort(c) // an orderly end would pass for a whole answer
		c.Close()
	}
	s.mu.Unlock()
	if s.way.engine != nil {
		_ = s.way.engine.Close()
	}
	s.wg.Wait()
	s.tracker.close()
	s.lookout.close()
	s.shortages.close()
	return nil
}

// hold registers a connection to be cut at Close, or at LetGo if it is a peer's stream that waits; false means that the server is closed already, and that c was closed.
func (s *Server) hold(c net.Conn, waits bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		c.Close()
		return false
	}
	s.conns[c] = waits
	return true
}

func (s *Server) release(c net.Conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	c.Close()
}
