package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Keep is somebody who outlives this process and keeps listening sockets open meanwhile: what comes in waits in their backlog.
type Keep interface {
	// Take returns the socket that was kept for a listener, if there is one. The descriptor is the caller's.
	Take(app, key string) (fd int, ok bool)
	// Hold keeps a duplicate of a listener's socket.
	Hold(app, key string, fd int)
	// Drop closes the duplicate.
	Drop(app, key string)
}

// drainBacklog is how many connections are taken from the backlog of a listener that stops (count): all that the kernel keeps by
// default. Without a bound a busy listener would never end.
const drainBacklog = 4096

// listener accepts the connections of one address of one app.
type listener struct {
	s      *Server
	app    string
	key    string
	file   *os.File // the listening socket; Go's own listeners do not let others wait on their descriptor
	raw    syscall.RawConn
	bound  netip.AddrPort
	ending atomic.Bool
	left   atomic.Bool   // a successor serves the backlog
	done   chan struct{} // closed when accept has ended
	once   sync.Once
	group  *group    // of the sockets on its address; nil for one that accepts in a worker's place
	dry    time.Time // since when connections were refused for want of a target, zero after one that was not; accept's
}

func openListener(s *Server, id listenerID, network, addr string) (*listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	// Go listens with MPTCP where the kernel has it; such sockets are of no use to workers and cannot be steered.
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(context.Background(), network, addr)
	if err != nil {
		return nil, err
	}
	defer ln.Close() // the socket lives on in its duplicate
	file, err := duplicate(ln.(*net.TCPListener))
	if err != nil {
		return nil, err
	}
	return newOwn(s, id, file, ln.Addr().(*net.TCPAddr).AddrPort())
}

// newOwn is a listener with the node's own socket.
func newOwn(s *Server, id listenerID, file *os.File, bound netip.AddrPort) (*listener, error) {
	l, err := newListener(s, id, file, bound)
	if err == nil {
		l.group = &group{l: l, members: make(map[string]*member)}
	}
	return l, err
}

func newListener(s *Server, id listenerID, file *os.File, bound netip.AddrPort) (*listener, error) {
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &listener{s: s, app: id.app, key: id.key, file: file, raw: raw, bound: bound, done: make(chan struct{})}, nil
}

// inheritListener goes on with a listening socket of a former run, whose descriptor it consumes.
func inheritListener(s *Server, id listenerID, fd int) (*listener, error) {
	sa, err := unix.Getsockname(fd)
	if err == nil {
		err = unix.SetNonblock(fd, true)
	}
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return newOwn(s, id, os.NewFile(uintptr(fd), "listener"), addrPort(sa))
}

// number is the listener's descriptor.
func (l *listener) number() (out int) {
	_ = l.raw.Control(func(fd uintptr) { out = int(fd) })
	return out
}

// duplicate returns the listening socket as a file that the poller can wait on.
func duplicate(ln *net.TCPListener) (*os.File, error) {
	raw, err := ln.SyscallConn()
	if err != nil {
		return nil, err
	}
	var file *os.File
	var derr error
	if err := raw.Control(func(fd uintptr) { file, derr = dupFile(int(fd)) }); err != nil {
		return nil, err
	}
	return file, derr
}

// accept serves until stop. Connections are taken as bare descriptors, without Go's poller: most are passed on to a worker at once.
func (l *listener) accept() {
	defer close(l.done)
	defer l.closeAll()
	for left := drainBacklog; left > 0; {
		if l.left.Load() {
			return
		}
		fd, client, err := l.accept4()
		if l.ending.Load() {
			left--
		}
		switch {
		case err == nil && l.s.shortages.last(fd):
			reset(fd)
			l.scarce()
		case err == nil:
			l.s.stats.accepted.Add(1)
			l.serve(fd, client)
		case transient(err):
		case l.ending.Load() || errors.Is(err, os.ErrClosed):
			return
		case outOfDescriptors(err) && l.turnAway():
			l.scarce()
		default:
			// The backlog holds the clients; those that are being served go on.
			l.s.grumble.warn(l.s.log, "accept failed", "app", l.app, "addr", l.bound, "err", err)
			l.pause()
		}
	}
}

// scarce notes a client that was refused because descriptors are.
func (l *listener) scarce() {
	l.s.shortages.note(Descriptors)
	l.s.grumble.warn(l.s.log, "connection refused", "app", l.app, "reason", errDescriptors)
}

func (l *listener) closeAll() {
	l.file.Close()
	if l.group != nil {
		l.group.end()
	}
}

// serve places a connection. What waits for a target is bounded for all of a listener's connections together: those behind one that
// was refused do not wait as long again, one after the other, but are refused at once until there is a target.
func (l *listener) serve(fd int, client netip.AddrPort) {
	now := time.Now()
	c := &conn{s: l.s, app: l.app, key: l.key, picker: l.s.o.Balancer.Picker(l.app), fd: fd, until: now.Add(patience), origin: origin{client: client}}
	if !l.enter(c) {
		return
	}
	if l.group != nil {
		l.group.credit(c.picker)
	}
	if !l.dry.IsZero() {
		c.until = l.dry.Add(patience)
	}
	switch {
	case l.s.place(c):
		l.dry = time.Time{}
	case l.dry.IsZero():
		l.dry = now
	}
}

func (l *listener) pause() {
	t := time.NewTimer(acceptPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.s.closing:
	}
}

// transient errors belong to one connection that is gone already.
func transient(err error) bool {
	return errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EINTR) || errors.Is(err, unix.EPROTO)
}

// accept4 waits for a connection. After stop it takes what the backlog holds and then returns a deadline error.
func (l *listener) accept4() (fd int, client netip.AddrPort, err error) {
	var sa syscall.Sockaddr
	var aerr error
	try := func(lfd uintptr) bool {
		// Not unix.Accept4, which asks the kernel for the protocol of each socket.
		fd, sa, aerr = syscall.Accept4(int(lfd), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		return aerr != unix.EAGAIN
	}
	if err = l.raw.Read(try); err != nil {
		if !l.ending.Load() || l.left.Load() {
			return -1, client, err
		}
		if cerr := l.raw.Control(func(lfd uintptr) { try(lfd) }); cerr != nil {
			return -1, client, cerr
		}
	}
	if aerr != nil {
		return -1, client, aerr
	}
	return fd, peerOf(sa), nil
}

// stop ends accepting: first what waits in the backlog is served, then the socket is closed.
func (l *listener) stop() {
	l.once.Do(func() {
		l.ending.Store(true)
		_ = l.file.SetReadDeadline(time.Unix(1, 0))
	})
}

// leave ends accepting at once: somebody else serves what waits.
func (l *listener) leave() {
	l.left.Store(true)
	l.stop()
}

func peerOf(sa syscall.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// relayLimit is the number of relays that the limit on descriptors allows: two for each, with a quarter left for all else.
func relayLimit() int {
	var r unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &r) != nil {
		return 1024
	}
	return int(min(max(r.Cur*3/8, 64), 1<<20))
}
