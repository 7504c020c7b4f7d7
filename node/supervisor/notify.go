package supervisor

import (
	"fmt"
	"net"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifier is one worker's NOTIFY_SOCKET: systemd's protocol, of which READY=1 counts here. It is an abstract socket, so its path has
// no length limit and leaves nothing behind; the kernel's word on the sender's process is what makes it the worker's own.
type notifier struct {
	conn *net.UnixConn
	addr string
}

func newNotifier(run string) (*notifier, error) {
	addr := "@meshnode/" + run
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("open the worker's notify socket: %w", err)
	}
	raw, err := c.SyscallConn()
	if err == nil {
		err = raw.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1) })
	}
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("open the worker's notify socket: %w", err)
	}
	return &notifier{conn: c, addr: addr}, nil
}

// wait calls ready at every READY=1 from a process of group pgid, until the socket is closed.
func (n *notifier) wait(pgid int, ready func()) {
	b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		k, ok, _, _, err := n.conn.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		if sender(oob[:ok]) != pgid {
			continue
		}
		for _, l := range strings.Split(string(b[:k]), "\n") {
			if l == "READY=1" {
				ready()
			}
		}
	}
}

// sender returns the process group of a message's sender, 0 if unknown.
func sender(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return 0
	}
	cred, err := unix.ParseUnixCredentials(&msgs[0])
	if err != nil {
		return 0
	}
	pgid, err := unix.Getpgid(int(cred.Pid))
	if err != nil {
		return 0
	}
	return pgid
}

// Times of the check whether a worker in mode port listens, or lives, already.
const (
	probeEvery = 50 * time.Millisecond
	aliveAfter = time.Second // a worker that serves nobody counts as ready when it has lived this long
)

// probe calls ready once the worker accepts connections on addr, or once it has lived for aliveAfter if it has no address. It ends
// with done.
func probe(addr string, done <-chan struct{}, ready func()) {
	if addr == "" {
		t := time.NewTimer(aliveAfter)
		defer t.Stop()
		select {
		case <-t.C:
			ready()
		case <-done:
		}
		return
	}
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for {
		if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
			c.Close()
			ready()
			return
		}
		select {
		case <-t.C:
		case <-done:
			return
		}
	}
}

// freeLoopback finds a free private port. It is free at the moment of asking; a worker that finds it taken fails its start and gets
// another one at the next.
func freeLoopback() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a private port for the worker: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
