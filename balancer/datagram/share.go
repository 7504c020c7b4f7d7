package datagram

import (
	"errors"
	"os"

	"meshnode/balancer/reuseport"
)

// Keep is somebody who outlives this process and keeps sockets open meanwhile.
type Keep interface {
	// Take returns the socket that was kept under an app and key, if there is one. The descriptor is the caller's.
	Take(app, key string) (fd int, ok bool)
	// Hold keeps a duplicate of a socket.
	Hold(app, key string, fd int)
	// Drop closes the duplicate.
	Drop(app, key string)
}

// Share opens a socket for a worker, beside the one that Serve was given, on the same address; it is the caller's. From Steer on the kernel gives it the
// datagrams of some of the clients, each client's to one worker. It returns nil where workers have a socket in common.
func (s *Server) Share(app, key, worker string) *os.File {
	k := s.socket(app, key)
	if k == nil || !s.direct.Load() {
		return nil
	}
	f, err := k.group.open(worker)
	if err != nil {
		s.notShared(app, worker, err)
		return nil
	}
	return f
}

// notShared says why a worker has no socket of its own, once where it is the same for all.
func (s *Server) notShared(app, worker string, err error) {
	switch {
	case !errors.Is(err, reuseport.ErrKernel):
		s.log.Warn("a worker gets datagrams from a socket that it has in common with others", "app", app, "worker", worker, "err", err)
	case s.direct.CompareAndSwap(true, false):
		s.log.Info("workers get datagrams from a socket that they have in common", "reason", err)
	}
}

// Rejoin goes on with the socket that a worker has from a former run of the node, if it has one of its own.
func (s *Server) Rejoin(app, key, worker string) bool {
	k := s.socket(app, key)
	if k == nil {
		return false
	}
	had, err := k.group.rejoin(worker)
	if err != nil {
		s.notShared(app, worker, err)
	}
	return had && err == nil
}

// Unshare says that a worker has closed its socket: what waits in it goes to others.
func (s *Server) Unshare(app, key, worker string) {
	if k := s.socket(app, key); k != nil {
		k.group.remove(worker)
	}
}

// UnshareAll is Unshare for all sockets of a worker.
func (s *Server) UnshareAll(worker string) {
	for _, k := range s.all("") {
		k.group.remove(worker)
	}
}

// Steer has the kernel follow which of an app's workers are ready: their sockets get the clients' datagrams. name tells whether a worker is, and what it is
// called, which is the same for the one that takes its place. From its return on, one that is not ready gets nothing.
func (s *Server) Steer(app string, name func(worker string) (string, bool)) {
	for _, k := range s.all(app) {
		if err := k.group.steer(name); err != nil && s.mayWarn() {
			s.log.Warn("the kernel's choice of workers is out of date", "app", app, "err", err)
		}
	}
}

func (s *Server) socket(app, key string) *socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sockets[socketID{app, key}]
}

// all lists an app's sockets; of all apps with "".
func (s *Server) all(app string) []*socket {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []*socket
	for id, k := range s.sockets {
		if app == "" || id.app == app {
			out = append(out, k)
		}
	}
	return out
}

// handsOver reports whether the server is closing: what the keeper has is a successor's.
func (s *Server) handsOver() bool {
	select {
	case <-s.closing:
		return true
	default:
		return false
	}
}
