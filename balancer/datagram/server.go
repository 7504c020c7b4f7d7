package datagram

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"meshnode/balancer"
)

// Bounds.
const (
	maxSessions = 8192             // sessions of one node, those that came from peers included (count)
	idleAfter   = 60 * time.Second // how long nothing moves before a session ends
	lingerFor   = 5 * time.Second  // how long answers of a worker that leaves are still passed on
	sweepEvery  = time.Second
	avoidFor    = 5 * time.Second // how long a peer whose stream has failed is asked last
	errorPause  = 50 * time.Millisecond
	maxPayload  = 65507 // bytes: the largest datagram
)

// Options are what a Server needs.
type Options struct {
	// Picker is where it is asked where an app's sessions go.
	Picker func(app string) *balancer.Picker
	// Worker is where a local worker takes datagrams that came for the listener key.
	Worker func(worker, key string) (netip.AddrPort, bool)
	// DialPeer opens a stream to the node with that name.
	DialPeer func(ctx context.Context, node string) (net.Conn, error)
	Logger   hclog.Logger
	// Keep keeps the sockets of workers open while no node runs; nil = nobody does.
	Keep Keep
	// Direct lets each worker have a socket of its own, where the kernel can choose among them.
	Direct bool
	// Passed are sessions of a former process, which go on as soon as their socket is served. Their descriptors are the server's.
	Passed []Passed
	// Sessions bounds the sessions (count), Idle how long they live unused; 0 = the defaults.
	Sessions int
	Idle     time.Duration
}

// Server is the data path of datagrams on one node. Make one with New; it needs Close.
type Server struct {
	o       Options
	log     hclog.Logger
	stats   counters
	closing chan struct{}
	wg      sync.WaitGroup
	moments
	heirs
	buffers sync.Pool

	mu      sync.Mutex // guards all below
	sockets map[socketID]*socket
	links   map[string]*link
	streams map[net.Conn]*table // of peers, whose sessions are here
	past    map[*session]time.Time
	failed  map[string]time.Time // peers whose stream has failed, and when
	closed  bool
}

// moments tells when things were by what has passed since the beginning, in nanoseconds: the wall clock may be set.
type moments struct {
	begun  time.Time
	warned atomic.Int64 // when an error was logged last
}

func (m *moments) elapsed() int64 { return int64(time.Since(m.begun)) }

// heirs is what a process shares with its workers and takes over from another.
type heirs struct {
	direct atomic.Bool           // workers may have sockets of their own
	passed map[socketID][]Passed // sessions of a former process that nobody goes on with yet; guarded by the server's lock
}

type socketID struct{ app, key string }

type counters struct {
	open                                atomic.Int64
	in, answered, forwarded, fromPeers  atomic.Uint64
	noTarget, noRoom, noSession, failed atomic.Uint64
}

// Stats are totals since the start (counts).
type Stats struct {
	Open      int    // Open sessions
	In        uint64 // In is the number of clients' datagrams that were read here.
	Answered  uint64 // Answered is the number that were sent back to clients from here.
	Forwarded uint64 // Forwarded is the number that were given to peers.
	FromPeers uint64 // FromPeers is the number that peers gave.
	NoTarget  uint64 // NoTarget is the number that were dropped because no worker was ready anywhere.
	NoRoom    uint64 // NoRoom is the number that were dropped because a stream or a socket took no more.
	NoSession uint64 // NoSession is the number that were dropped because there may be no more sessions.
	Failed    uint64 // Failed is the number of sessions that ended because their worker or peer did not take or answer them.
}

// New returns a Server with no sockets.
func New(o Options) *Server {
	if o.Sessions == 0 {
		o.Sessions = maxSessions
	}
	if o.Idle == 0 {
		o.Idle = idleAfter
	}
	s := &Server{o: o, log: o.Logger.Named("datagram"), moments: moments{begun: time.Now()}, closing: make(chan struct{}), sockets: make(map[socketID]*socket),
		links: make(map[string]*link), streams: make(map[net.Conn]*table), past: make(map[*session]time.Time), failed: make(map[string]time.Time)}
	s.buffers.New = func() any { return new([maxPayload]byte) }
	s.direct.Store(o.Direct)
	s.passed = make(map[socketID][]Passed)
	for _, p := range o.Passed {
		id := socketID{p.App, p.Key}
		s.passed[id] = append(s.passed[id], p)
	}
	s.wg.Go(s.sweep)
	return s
}

// Stats returns the totals.
func (s *Server) Stats() Stats {
	c := &s.stats
	return Stats{Open: int(c.open.Load()), In: c.in.Load(), Answered: c.answered.Load(), Forwarded: c.forwarded.Load(), FromPeers: c.fromPeers.Load(),
		NoTarget: c.noTarget.Load(), NoRoom: c.noRoom.Load(), NoSession: c.noSession.Load(), Failed: c.failed.Load()}
}

// ErrClosed is returned after Close.
var ErrClosed = errors.New("the data path of datagrams is closed")

// Serve reads an app's bound socket, of which it keeps a duplicate. shared says that workers read it as well: then it is read only while none of them is
// ready here and a peer has one. A second call with the same app and key does nothing.
func (s *Server) Serve(app, key string, f *os.File, shared bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := socketID{app, key}
	switch {
	case s.closed:
		return ErrClosed
	case s.sockets[id] != nil:
		return nil
	}
	k, err := newSocket(s, id, f, shared)
	if err != nil {
		return fmt.Errorf("read the datagrams of %s: %w", app, err)
	}
	s.sockets[id] = k
	s.resume(k)
	s.wg.Go(k.read)
	if shared {
		s.wg.Go(k.watch)
	}
	return nil
}

// Stop ends reading an app's sockets, and its sessions.
func (s *Server) Stop(app string) {
	s.mu.Lock()
	var gone []*socket
	for id, k := range s.sockets {
		if id.app == app {
			gone = append(gone, k)
			delete(s.sockets, id)
		}
	}
	s.mu.Unlock()
	for _, k := range gone {
		k.close()
	}
}

// Socket describes one that is open for clients.
type Socket struct{ App, Addr string }

// Sockets lists what is open.
func (s *Server) Sockets() []Socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]Socket, 0, len(s.sockets))
	for id, k := range s.sockets {
		out = append(out, Socket{App: id.app, Addr: k.conn.LocalAddr().String()})
	}
	return out
}

// Leave has the sessions of a worker go elsewhere from their next datagram on. Answers of the worker are passed on for a while.
func (s *Server) Leave(worker string) {
	now := time.Now()
	for _, t := range s.tables() {
		for _, gone := range t.take(func(x *session) bool {
			return x.claim.Target == (balancer.Target{Kind: balancer.KindWorker, ID: worker})
		}) {
			gone.done(balancer.DoneInfo{Now: now})
			s.linger(gone, now)
		}
	}
}

// linger keeps a session that has no place in a table any more for the answers on their way.
func (s *Server) linger(x *session, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		x.end()
		return
	}
	s.past[x] = now
}

// tables are all there are.
func (s *Server) tables() []*table {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*table, 0, len(s.sockets)+len(s.streams))
	for _, k := range s.sockets {
		out = append(out, k.table)
	}
	for _, t := range s.streams {
		out = append(out, t)
	}
	return out
}

// sweep ends what is idle.
func (s *Server) sweep() {
	t := time.NewTicker(min(sweepEvery, s.o.Idle))
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-s.closing:
			return
		}
		now := time.Now()
		for _, t := range s.tables() {
			for _, x := range t.take(func(x *session) bool { return x.unused() >= s.o.Idle }) {
				x.done(balancer.DoneInfo{Now: now})
				x.end()
			}
		}
		s.mu.Lock()
		for x, since := range s.past {
			if now.Sub(since) >= lingerFor {
				delete(s.past, x)
				x.end()
			}
		}
		for peer, at := range s.failed {
			if now.Sub(at) >= avoidFor {
				delete(s.failed, peer)
			}
		}
		s.mu.Unlock()
	}
}

// silent are the peers that are asked last: their streams have failed not long ago.
func (s *Server) silent(now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for peer, at := range s.failed {
		if now.Sub(at) < avoidFor {
			out = append(out, peer)
		}
	}
	return out
}

// mayWarn allows a log line a second.
func (s *Server) mayWarn() bool {
	now := s.elapsed()
	last := s.warned.Load()
	return (last == 0 || now-last >= int64(time.Second)) && s.warned.CompareAndSwap(last, now)
}

// Close ends everything.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	close(s.closing)
	sockets, links, past := s.sockets, s.links, s.past
	s.sockets, s.links, s.past, s.failed = nil, nil, nil, nil
	for c := range s.streams {
		c.Close()
	}
	s.mu.Unlock()
	s.Forgo()
	for _, k := range sockets {
		k.close()
	}
	for _, l := range links {
		l.fail(nil)
	}
	for x := range past {
		x.end()
	}
	s.wg.Wait()
	return nil
}
