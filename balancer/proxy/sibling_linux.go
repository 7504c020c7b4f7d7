package proxy

import (
	"errors"
	"fmt"
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// sibling opens another listening socket on the listener's address.
func (l *listener) sibling() (fd int, err error) {
	own := l.number()
	sa, err := unix.Getsockname(own)
	if err != nil {
		return -1, fmt.Errorf("open a socket beside the listener: %w", err)
	}
	family := unix.AF_INET
	if _, six := sa.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_TCP)
	if err != nil {
		return -1, fmt.Errorf("open a socket beside the listener: %w", err)
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1), unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	if family == unix.AF_INET6 {
		only, oerr := unix.GetsockoptInt(own, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		err = errors.Join(err, oerr, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only))
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err == nil {
		err = unix.Listen(fd, math.MaxInt32) // the kernel has its own limit
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("open a socket beside the listener: %w", err)
	}
	return fd, nil
}

// backlog is the number of connections that wait in a listening socket.
func backlog(fd int) uint32 {
	info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return info.Unacked // for a listening socket: the length of its accept queue
}

// dupFile returns another descriptor of a socket, as a file that the poller can wait on.
func dupFile(fd int) (*os.File, error) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(dup, true); err != nil {
		unix.Close(dup)
		return nil, err
	}
	return os.NewFile(uintptr(dup), "listener"), nil
}
