package nodeipc

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// Pair makes the two ends of a channel: ours, and the one to be inherited by the worker as the given descriptor.
func Pair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make the worker's IPC channel: %w", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "ipc")
	ours, err = unixConn(os.NewFile(uintptr(fds[0]), "ipc"))
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make the worker's IPC channel: %w", err)
	}
	return ours, theirs, nil
}

// unixConn makes a connection of f, which it closes.
func unixConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close() // FileConn duplicates
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("it is no Unix socket")
	}
	return u, nil
}

// Variables that the preload reads. It removes the first, which is about the one process that inherits the channel.
const (
	channelVariable    = "MESHNODE_CHANNEL"
	rendezvousVariable = "MESHNODE_IPC"
)

// Environ is what makes Node take descriptor fd for its IPC channel and itself for cluster worker id. Node and the preload remove it at start.
func Environ(fd, id int) []string {
	return []string{
		"NODE_CHANNEL_FD=" + strconv.Itoa(fd),
		"NODE_CHANNEL_SERIALIZATION_MODE=json",
		"NODE_UNIQUE_ID=" + strconv.Itoa(id),
		channelVariable + "=1",
	}
}
