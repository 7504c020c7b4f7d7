package mux

import (
	"fmt"
	"net"

	"golang.org/x/sys/unix"
)

// unacked is how much of what was written to a TCP connection the other side's kernel has not confirmed (bytes, or segments once it was
// sent: only zero has a meaning of its own).
func unacked(c *net.TCPConn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var info *unix.TCPInfo
	if cerr := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); cerr != nil {
		return 0, cerr
	}
	if err != nil {
		return 0, fmt.Errorf("ask the kernel about a connection: %w", err)
	}
	return int(info.Unacked + info.Notsent_bytes), nil
}

// Unacked tells whether all that was written has arrived at the other side's kernel: then it is 0. It says so of a process that is
// stopped as well, for its kernel goes on.
func (c *secureConn) Unacked() (int, error) { return unacked(c.wire.TCPConn) }

// Unacked is that of a stream without TLS.
func (c *plainConn) Unacked() (int, error) { return unacked(c.TCPConn) }
