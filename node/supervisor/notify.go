package supervisor

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// notifier is one worker's NOTIFY_SOCKET: systemd's protocol, of which READY=1 counts here. It is an abstract socket, so its path has
// no folder to be in and leaves nothing behind; the kernel's word on the sender's user keeps other users out.
type notifier struct {
	conn *net.UnixConn
	addr string
	user int // whom the worker runs as
}

func newNotifier(run string, user int) (*notifier, error) {
	sum := sha256.Sum256([]byte(run)) // names of apps and nodes may be longer than an address
	addr := "@meshnode/" + hex.EncodeToString(sum[:16])
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
	return &notifier{conn: c, addr: addr, user: user}, nil
}

// adoptNotifier goes on with the socket of a former run, whose descriptor it consumes.
func adoptNotifier(fd, user int) *notifier {
	f := os.NewFile(uintptr(fd), "notify")
	defer f.Close()
	c, err := net.FilePacketConn(f)
	if u, ok := c.(*net.UnixConn); err == nil && ok {
		return &notifier{conn: u, user: user}
	}
	return &notifier{conn: &net.UnixConn{}} // every use fails, as after its close
}

// wait calls ready at every READY=1 from a process of the worker's user, of the node's or of root, until the socket is closed. The sender may be gone by then,
// as systemd-notify is, so its process says nothing.
func (n *notifier) wait(ready func()) {
	b, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(unix.SizeofUcred))
	for {
		k, ok, _, _, err := n.conn.ReadMsgUnix(b, oob)
		if err != nil {
			return
		}
		if uid := sender(oob[:ok]); uid != 0 && uid != os.Getuid() && uid != n.user {
			continue
		}
		for _, l := range strings.Split(string(b[:k]), "\n") {
			if l == "READY=1" {
				ready()
			}
		}
	}
}

// sender returns the user of a message's sender, -1 if unknown.
func sender(oob []byte) int {
	msgs, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(msgs) == 0 {
		return -1
	}
	cred, err := unix.ParseUnixCredentials(&msgs[0])
	if err != nil {
		return -1
	}
	return int(cred.Uid)
}

// Times of the check whether a worker in mode port listens, or lives, already.
const (
	probeEvery = 50 * time.Millisecond
	aliveAfter = time.Second     // a worker that serves nobody counts as ready when it has lived this long
	quietAfter = 3 * time.Second // and a Node worker of which that is not known
)

// outlive calls ready once the worker has lived for so long. It ends with done.
func outlive(limit time.Duration, done <-chan struct{}, ready func()) {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-t.C:
		ready()
	case <-done:
	}
}

// probe calls ready once the worker accepts connections on addr. Where the worker inherited the socket, which accepts on the kernel's part
// from the beginning, socket is our own descriptor of it, which is consumed: the worker has to take the connection too. It ends with done.
func probe(addr string, socket int, done <-chan struct{}, ready func()) {
	if socket >= 0 {
		defer unix.Close(socket)
	}
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	d := net.Dialer{Timeout: time.Second}
	d.SetMultipathTCP(false)
	var c net.Conn
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for {
		if c == nil {
			c, _ = d.Dial("tcp", addr) // nobody listens yet
		}
		if c != nil && !waits(socket) {
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

// waits reports whether a connection waits in the backlog of a listening socket.
func waits(socket int) bool {
	if socket < 0 {
		return false
	}
	info, err := unix.GetsockoptTCPInfo(socket, unix.IPPROTO_TCP, unix.TCP_INFO)
	return err == nil && info.Unacked > 0 // for a listening socket: the length of its accept queue
}

// listenLoopback opens a socket on a private port, for a worker to inherit.
func listenLoopback() (string, *os.File, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("open a private socket for the worker: %w", err)
	}
	defer l.Close() // it lives on in its duplicate
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return "", nil, fmt.Errorf("open a private socket for the worker: %w", err)
	}
	return l.Addr().String(), f, nil
}

// freeLoopback finds a free private port. It is free at the moment of asking; a worker that finds it taken fails its start and gets
// another one at the next.
func freeLoopback() (string, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	for tries := 0; ; tries++ {
		l, err := lc.Listen(context.Background(), "tcp4", "127.0.0.1:0")
		if err != nil {
			return "", fmt.Errorf("find a private port for the worker: %w", err)
		}
		addr := l.Addr().String()
		u, err := lc.ListenPacket(context.Background(), "udp4", addr) // the worker may take datagrams as well
		l.Close()
		if err == nil {
			u.Close()
			return addr, nil
		}
		if tries == portTries {
			return "", fmt.Errorf("find a private port for the worker: %w", err)
		}
	}
}

// portTries is how often a port is looked for that is free for datagrams too (count).
const portTries = 20

// probeDatagrams calls ready once somebody has the port of addr for datagrams. It only looks: to try the port could take it from the worker.
func probeDatagrams(addr string, done <-chan struct{}, ready func()) {
	_, text, _ := net.SplitHostPort(addr)
	port, err := strconv.ParseUint(text, 10, 16)
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for err == nil {
		if takesDatagrams(uint16(port)) {
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
