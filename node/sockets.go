package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"meshnode/balancer/proxy"
	"meshnode/node/supervisor/nodeipc"
)

// maxShared bounds the sockets that the workers of one app have in common (count), as its ports are.
const maxShared = 16

// sharedSockets are those that all workers of an app have in common, and the kernel chooses who is woken: datagram sockets, which stay while
// the app runs, so that what arrives between two workers waits; and listeners on paths, which go with the last worker that has them.
type sharedSockets struct {
	keep proxy.Keep // outlives this process

	mu   sync.Mutex
	open map[listenKey]*sharedSocket
}

type sharedSocket struct {
	file  *os.File
	path  string      // "" for datagrams
	made  os.FileInfo // what was made at path
	users map[string]bool
}

func newSharedSockets(keep proxy.Keep) *sharedSockets {
	return &sharedSockets{keep: keep, open: make(map[listenKey]*sharedSocket)}
}

// take returns a duplicate of the app's socket for a worker, which is the caller's, and opens the socket if it is the first. It does not block.
func (s *sharedSockets) take(k listenKey, worker string, q nodeipc.Query) (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.open[k]
	if e == nil {
		if !s.room(k.app) {
			return nil, fmt.Errorf("listen on %s for %s: %w", k.key, k.app, syscall.ENOBUFS)
		}
		var err error
		if e, err = s.bind(k, q); err != nil {
			return nil, fmt.Errorf("listen on %s for %s: %w", k.key, k.app, err)
		}
		s.open[k] = e
	}
	f, err := e.duplicate()
	if err != nil {
		return nil, fmt.Errorf("listen on %s for %s: %w", k.key, k.app, err)
	}
	e.users[worker] = true
	return f, nil
}

// room makes room for one more socket of an app, by closing those that no worker has any more. The lock is held.
func (s *sharedSockets) room(app string) bool {
	n := 0
	for k, e := range s.open {
		switch {
		case k.app != app:
		case len(e.users) == 0:
			s.drop(k)
		default:
			n++
		}
	}
	return n < maxShared
}

// release says that a worker closed its duplicate.
func (s *sharedSockets) release(k listenKey, worker string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.open[k]; e != nil {
		delete(e.users, worker)
		if e.path != "" && len(e.users) == 0 {
			s.drop(k)
		}
	}
}

// ended says that a worker is gone.
func (s *sharedSockets) ended(worker string) {
	s.mu.Lock()
	var has []listenKey
	for k, e := range s.open {
		if e.users[worker] {
			has = append(has, k)
		}
	}
	s.mu.Unlock()
	for _, k := range has {
		s.release(k, worker)
	}
}

// close closes all sockets of an app that is gone or stopped; workers that still end keep their duplicates.
func (s *sharedSockets) close(app string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k := range s.open {
		if k.app == app {
			s.drop(k)
		}
	}
}

// closeAll closes all sockets, when no worker is left.
func (s *sharedSockets) closeAll() error {
	for _, app := range s.apps() {
		s.close(app)
	}
	return nil
}

// apps lists whose sockets are open.
func (s *sharedSockets) apps() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for k := range s.open {
		out = append(out, k.app)
	}
	return out
}

// drop closes a socket, and takes its name away unless it is another's by now. The lock is held.
func (s *sharedSockets) drop(k listenKey) {
	e := s.open[k]
	delete(s.open, k)
	s.keep.Drop(k.app, k.key)
	if e.path != "" && e.made != nil {
		if now, err := os.Lstat(e.path); err == nil && os.SameFile(now, e.made) {
			_ = os.Remove(e.path)
		}
	}
	e.file.Close()
}

func (e *sharedSocket) duplicate() (*os.File, error) {
	raw, err := e.file.SyscallConn()
	if err != nil {
		return nil, err
	}
	dup, derr := -1, error(nil)
	err = raw.Control(func(fd uintptr) { dup, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) })
	if err := errors.Join(err, derr); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(dup), "shared"), nil
}

// bind takes over what a former run of the node has left, or opens what a worker asks for.
func (s *sharedSockets) bind(k listenKey, q nodeipc.Query) (*sharedSocket, error) {
	if fd, ok := s.keep.Take(k.app, k.key); ok {
		e := &sharedSocket{file: os.NewFile(uintptr(fd), "shared"), users: make(map[string]bool)}
		if !q.UDP() {
			e.path = q.Address
			e.made, _ = os.Lstat(e.path) // gone: then there is nothing to take away
		}
		return e, nil
	}
	e, err := bind(q)
	if err == nil {
		s.keep.Hold(k.app, k.key, e.number())
	}
	return e, err
}

// number is the socket's descriptor.
func (e *sharedSocket) number() int {
	out := -1
	if raw, err := e.file.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { out = int(fd) })
	}
	return out
}

// bind opens what a worker asks for.
func bind(q nodeipc.Query) (*sharedSocket, error) {
	if q.UDP() {
		return bindUDP(q)
	}
	return bindPath(q.Address)
}

func bindUDP(q nodeipc.Query) (*sharedSocket, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	if q.Reuse {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var err error
			cerr := raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
			return errors.Join(cerr, err)
		}
	}
	network := q.Family
	if network == "udp6" && !q.IPv6Only {
		network = "udp" // both families, on the address for all
	}
	c, err := lc.ListenPacket(context.Background(), network, net.JoinHostPort(q.Address, strconv.Itoa(q.Port)))
	if err != nil {
		return nil, err
	}
	defer c.Close() // the socket lives on in its duplicate
	f, err := c.(*net.UDPConn).File()
	if err != nil {
		return nil, err
	}
	return &sharedSocket{file: f, users: make(map[string]bool)}, nil
}

// bindPath listens on a path. A name that a dead owner left is replaced; one whose owner lives is in use.
func bindPath(path string) (*sharedSocket, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		if err = os.Remove(path); err == nil {
			err = unix.Bind(fd, &unix.SockaddrUnix{Name: path})
		}
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	made, serr := os.Lstat(path)
	if err := errors.Join(err, serr); err != nil {
		f.Close()
		return nil, err
	}
	return &sharedSocket{file: f, path: path, made: made, users: make(map[string]bool)}, nil
}

// abandoned reports whether nobody listens on the socket at path any more. It does not wait for an owner that is slow.
func abandoned(path string) bool {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if fi, err := os.Lstat(path); err != nil || fi.Mode()&os.ModeSocket == 0 {
		return false
	}
	return errors.Is(unix.Connect(fd, &unix.SockaddrUnix{Name: path}), syscall.ECONNREFUSED)
}
