package proxy

import (
	"errors"
	"os"
	"time"

	"meshnode/balancer/reuseport"
)

// Accepts is what a worker says of the listening sockets of its own.
type Accepts struct {
	Taken map[string]uint64 // Taken is how many connections it ever accepted, by listener key (count).
	Held  bool              // Held: the app has set a limit of its own, so that the worker may have to refuse.
}

// Share opens a listening socket for a worker, beside the one that the node accepts from; it is the caller's. From the worker's first report
// (Heard) on, the kernel gives it the connections that would be served here anyway, without the node's doing. It returns nil where the
// worker is to be given its connections one by one.
func (s *Server) Share(app, key, worker string) *os.File {
	l := s.listener(app, key)
	if l == nil || !s.direct.Load() {
		return nil
	}
	f, err := l.group.open(worker)
	if err != nil {
		s.notShared(app, worker, err)
		return nil
	}
	return f
}

// notShared says why a worker does not accept by itself, once where it is the same for all.
func (s *Server) notShared(app, worker string, err error) {
	switch {
	case !errors.Is(err, reuseport.ErrKernel):
		s.grumble.warn(s.log, "a worker is given its connections one by one", "app", app, "worker", worker, "err", err)
	case s.direct.CompareAndSwap(true, false):
		s.log.Info("workers are given their connections one by one", "reason", err)
	}
}

// Rejoin goes on with the listening socket that a worker has from a former run of the node. False means that the worker has one, and must not
// accept from it any more.
func (s *Server) Rejoin(app, key, worker string) bool {
	l := s.listener(app, key)
	if l == nil {
		return true
	}
	if !s.direct.Load() {
		return !l.group.forgo(worker)
	}
	had, err := l.group.rejoin(worker)
	if err != nil {
		s.notShared(app, worker, err)
	}
	return !had || err == nil
}

// Unshare says that a worker has closed its listening socket: what waits in it comes to the node.
func (s *Server) Unshare(app, key, worker string) {
	if l := s.listener(app, key); l != nil {
		l.group.remove(worker)
	}
}

// UnshareAll is Unshare for all sockets of a worker.
func (s *Server) UnshareAll(app, worker string) {
	for _, l := range s.listenersOf(app) {
		l.group.remove(worker)
	}
}

// Shares reports whether a worker has a listening socket of its own.
func (s *Server) Shares(app, worker string) bool {
	for _, l := range s.listenersOf(app) {
		if l.group.has(worker) {
			return true
		}
	}
	return false
}

// Heard takes in a worker's report. What is open on it is told to the balancer before.
func (s *Server) Heard(app, worker string, a Accepts) {
	now := time.Now()
	for _, l := range s.listenersOf(app) {
		if n, ok := a.Taken[l.key]; ok {
			l.group.hear(worker, n, a.Held, now)
			if p := s.o.Balancer.Lookup(app); p != nil {
				l.group.credit(p)
			}
		}
	}
	s.Steer(app)
}

// Steer has the kernel follow the balancer: the app's workers accept by themselves as many connections as would be served here anyway; the
// node accepts those beyond, and places each; all of them where the app's gate has to see each. From its return on, a worker that is not ready is given nothing.
func (s *Server) Steer(app string) {
	p := s.o.Balancer.Lookup(app)
	if p == nil {
		return
	}
	all, set := p.Room(time.Now()), s.gates.of(app).set.Load()
	for _, l := range s.listenersOf(app) {
		room := all
		if set.guards(l.key) {
			room = 0
		}
		if err := l.group.steer(room, p.Ready, p.Open); err != nil {
			s.grumble.warn(s.log, "the kernel's choice of workers is out of date", "app", app, "err", err)
		}
	}
}

func (s *Server) listener(app, key string) *listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listeners[listenerID{app, key}]
}

// listenersOf lists an app's listeners; of all apps with "".
func (s *Server) listenersOf(app string) []*listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*listener
	for id, l := range s.listeners {
		if app == "" || id.app == app {
			out = append(out, l)
		}
	}
	return out
}

// dropSockets closes what the node has of a dead worker's sockets.
func (s *Server) dropSockets(worker string) {
	for _, l := range s.listenersOf("") {
		l.group.remove(worker)
	}
}
