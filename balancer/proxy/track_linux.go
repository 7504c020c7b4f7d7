package proxy

import (
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A socket that was handed off to a worker is out of our sight: the worker reads, writes and closes it. The kernel tells anyone who
// asks when a TCP socket has ended (sock_diag's destroy groups, no privilege needed), 0.1 ms after the fact, and a socket's cookie says
// which it was. That makes claims exact for any Node program, with nothing loaded into it.
const (
	groupTCPDestroy  = 1 // SKNLGRP_INET_TCP_DESTROY
	groupTCP6Destroy = 3 // SKNLGRP_INET6_TCP_DESTROY
	sockDiagByFamily = 20
	diagMessageSize  = 72 // struct inet_diag_msg
	diagCookieOffset = 44
	diagReadSize     = 32 << 10
	diagReceive      = 8 << 20 // bytes of notifications that may wait for us
	resyncEvery      = 15 * time.Second
	restEvery        = 2 * time.Second
	resyncSoon       = 100 * time.Millisecond // after notifications were dropped
	resyncAgain      = time.Second            // after that
	// allButDead are the states in which a socket still is somebody's: all but TIME_WAIT, CLOSE and NEW_SYN_RECV.
	allButDead = ^uint32(1<<6|1<<7|1<<12) & 0xfff
)

// tracked is a socket that a worker has.
type tracked struct {
	owner string
	over  func()
}

// tracker calls back when sockets end.
type tracker struct {
	log  hclog.Logger
	conn *netlink.Conn
	wg   sync.WaitGroup
	stop chan struct{}
	lost chan struct{} // tells sweep that notifications were dropped

	mu     sync.Mutex // guards all below
	socks  map[uint64]tracked
	joined bool // the kernel tells; that costs every socket of the server that ends
	used   bool // something was tracked since the last look
	closed bool
}

func newTracker(log hclog.Logger) (*tracker, error) {
	t := &tracker{log: log, socks: make(map[uint64]tracked), stop: make(chan struct{}), lost: make(chan struct{}, 1)}
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return t, err
	}
	t.conn = c
	if err := t.join(); err != nil { // to know whether it can be had
		t.conn = nil
		c.Close()
		return t, err
	}
	_ = c.SetReadBuffer(diagReceive)
	t.wg.Go(t.listen)
	t.wg.Go(t.sweep)
	return t, nil
}

// join has the kernel tell of ended sockets.
func (t *tracker) join() error {
	if t.joined {
		return nil
	}
	for _, g := range []uint32{groupTCPDestroy, groupTCP6Destroy} {
		if err := t.conn.JoinGroup(g); err != nil {
			return err
		}
	}
	t.joined = true
	return nil
}

// rest ends that when nothing is tracked for a while.
func (t *tracker) rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.joined && !t.used && len(t.socks) == 0 {
		t.joined = false
		for _, g := range []uint32{groupTCPDestroy, groupTCP6Destroy} {
			_ = t.conn.LeaveGroup(g) // then it is told too much
		}
	}
	t.used = false
}

// add notes a socket that is to be followed, and reports whether it is.
func (t *tracker) add(cookie uint64, s tracked) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.join() != nil {
		return false
	}
	t.socks[cookie], t.used = s, true
	return true
}

// track calls over once when the socket behind fd has ended for good, or its owner was dropped. The caller still holds fd, so the
// end lies ahead. Without the kernel's help, and once the tracker is closed, it calls over at once.
func (t *tracker) track(owner string, fd int, over func()) {
	if t.conn == nil {
		over()
		return
	}
	cookie, err := unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		over()
		return
	}
	if !t.add(cookie, tracked{owner, over}) {
		over()
	}
}

// dropOwner ends all that a dead worker had.
func (t *tracker) dropOwner(owner string) {
	t.finish(func(_ uint64, s tracked) bool { return s.owner == owner })
}

// finish ends the tracked sockets that match.
func (t *tracker) finish(match func(uint64, tracked) bool) {
	var over []func()
	t.mu.Lock()
	for c, s := range t.socks {
		if match(c, s) {
			over = append(over, s.over)
			delete(t.socks, c)
		}
	}
	t.mu.Unlock()
	for _, f := range over {
		f()
	}
}

// listen takes the kernel's notifications. When they came faster than we read, the kernel dropped some and says so, once until all that
// waited was read. Hence reading goes on at once, and the table is compared later, by sweep.
func (t *tracker) listen() {
	raw, err := t.conn.SyscallConn()
	buf := make([]byte, diagReadSize)
	for err == nil {
		var n int
		var rerr error
		// Read here and not through the library, which looks at each datagram twice: this is the busiest loop of a server with short
		// connections.
		err = raw.Read(func(fd uintptr) bool {
			n, _, rerr = unix.Recvfrom(int(fd), buf, unix.MSG_DONTWAIT)
			return !errors.Is(rerr, unix.EAGAIN)
		})
		switch {
		case err != nil:
		case errors.Is(rerr, unix.ENOBUFS):
			select {
			case t.lost <- struct{}{}:
			default: // sweep knows
			}
		case rerr == nil:
			t.take(buf[:n])
		case !errors.Is(rerr, unix.EINTR):
			err = rerr
		}
	}
	if !t.isClosed() {
		t.log.Warn("the kernel's notifications of ended connections have ended; their claims are given back late", "err", err)
	}
}

// take ends what the messages of one datagram name.
func (t *tracker) take(b []byte) {
	for len(b) >= unix.SizeofNlMsghdr {
		size := int(binary.NativeEndian.Uint32(b))
		if size < unix.SizeofNlMsghdr+diagMessageSize || size > len(b) {
			return // the kernel sends nothing shorter
		}
		cookie := cookieOf(b[unix.SizeofNlMsghdr:])
		t.mu.Lock()
		s, ok := t.socks[cookie]
		delete(t.socks, cookie)
		t.mu.Unlock()
		if ok {
			s.over()
		}
		b = b[min((size+3)&^3, len(b)):]
	}
}

func (t *tracker) isClosed() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.closed
}

func cookieOf(msg []byte) uint64 {
	lo := binary.NativeEndian.Uint32(msg[diagCookieOffset:])
	hi := binary.NativeEndian.Uint32(msg[diagCookieOffset+4:])
	return uint64(hi)<<32 | uint64(lo)
}

// sweep compares the whole table after notifications were dropped, and now and then in case they were dropped without a word.
func (t *tracker) sweep() {
	tick, idle := time.NewTicker(resyncEvery), time.NewTicker(restEvery)
	defer tick.Stop()
	defer idle.Stop()
	for {
		select {
		case <-tick.C:
			t.resync()
		case <-idle.C:
			t.rest()
		case <-t.lost:
			// Soon, for most; and again when what came meanwhile has surely been read.
			if !t.resyncAfter(resyncSoon) || !t.resyncAfter(resyncAgain) {
				return
			}
		case <-t.stop:
			return
		}
	}
}

// resyncAfter waits and then compares; false means that the tracker was closed.
func (t *tracker) resyncAfter(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		t.resync()
		return true
	case <-t.stop:
		return false
	}
}

// resync ends every tracked socket that the kernel does not have any more. The kernel lists sockets in pieces, and one may fall between two when
// others come and go: what is missing has to be missing twice.
func (t *tracker) resync() {
	t.mu.Lock()
	missing := make(map[uint64]bool, len(t.socks))
	for c := range t.socks {
		missing[c] = true
	}
	t.mu.Unlock()
	for range 2 {
		if len(missing) == 0 {
			return
		}
		alive, err := dump()
		if err != nil {
			t.log.Warn("cannot list sockets", "err", err)
			return
		}
		for c := range alive {
			delete(missing, c)
		}
	}
	t.finish(func(c uint64, _ tracked) bool { return missing[c] })
}

// dump returns the cookies of all TCP sockets in this network namespace.
func dump() (map[uint64]bool, error) {
	msgs, err := dumpAll()
	if err != nil {
		return nil, err
	}
	alive := make(map[uint64]bool, len(msgs))
	for _, m := range msgs {
		alive[cookieOf(m)] = true
	}
	return alive, nil
}

// dumpAll returns what the kernel says of all TCP sockets in this network namespace, a struct inet_diag_msg for each.
func dumpAll() ([][]byte, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var out [][]byte
	for _, fam := range []byte{unix.AF_INET, unix.AF_INET6} {
		req := make([]byte, 56) // struct inet_diag_req_v2
		req[0], req[1] = fam, unix.IPPROTO_TCP
		binary.NativeEndian.PutUint32(req[4:], allButDead)
		msgs, err := c.Execute(netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request | netlink.Dump}, Data: req})
		if err != nil {
			return nil, err
		}
		for _, m := range msgs {
			if len(m.Data) >= diagMessageSize {
				out = append(out, m.Data)
			}
		}
	}
	return out, nil
}

// close ends the tracking; sockets still tracked count as over.
func (t *tracker) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	close(t.stop)
	if t.conn != nil {
		t.conn.Close()
	}
	t.wg.Wait()
	t.finish(func(uint64, tracked) bool { return true })
}
