package datagram

import (
	"errors"
	"fmt"
	"hash/fnv"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer/reuseport"
)

// drainFor is how long what may still come to the socket of a worker that has left is waited for: the kernel may have chosen it a moment before.
const drainFor = 50 * time.Millisecond

// errSlots is why a worker has no socket of its own.
var errSlots = errors.New("no slot is free")

// group is the sockets that workers have on the address of a socket. A client's datagrams go to one of them.
type group struct {
	k *socket

	mu      sync.Mutex // guards all below
	sel     *selector  // nil until a worker has a socket
	members map[string]*member
	live    int // members that get datagrams (count)
	leaving int // those that have left and may have something in their sockets (count)
	opened  uint64
	closed  bool
}

// member is a worker's socket. The node keeps a duplicate: from it, it takes what the worker leaves behind.
type member struct {
	place  uint32
	fd     int
	opened uint64 // the number of the worker, in the order in which they came
}

// open gives a worker a socket of its own, which is the caller's, and gets nothing before Steer. One that has it gets it once more: another process of the same
// worker may ask.
func (g *group) open(worker string) (*os.File, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if m := g.members[worker]; m != nil {
		dup, err := unix.FcntlInt(uintptr(m.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(dup), "datagrams"), nil
	}
	if g.closed {
		return nil, os.ErrClosed
	}
	own, err := g.k.number()
	if err != nil {
		return nil, err
	}
	// It was bound alone, so that nobody else has the port.
	if err := unix.SetsockoptInt(own, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return nil, err
	}
	fd, err := sibling(own)
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(fd), "datagrams")
	if err := g.add(worker, own, fd); err != nil {
		theirs.Close()
		return nil, err
	}
	return theirs, nil
}

// sibling opens another socket on the address of one.
func sibling(own int) (int, error) {
	sa, err := unix.Getsockname(own)
	if err != nil {
		return -1, err
	}
	family := unix.AF_INET
	if _, six := sa.(*unix.SockaddrInet6); six {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
	if err != nil {
		return -1, err
	}
	err = errors.Join(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1), wantLocal(fd))
	if family == unix.AF_INET6 {
		only, oerr := unix.GetsockoptInt(own, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY)
		err = errors.Join(err, oerr, unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only))
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("open a socket beside the node's: %w", err)
	}
	return fd, nil
}

// add takes a worker's socket in, of which it keeps a duplicate. The kernel has a group from the second socket of an address on, and chooses by the program
// from then on. The lock is held.
func (g *group) add(worker string, own, fd int) error {
	place := g.free()
	if place == 0 {
		return errSlots
	}
	if g.sel == nil {
		sel, err := newSelector()
		if err != nil {
			return err
		}
		if err := sel.socks.Attach(own, sel.prog); err != nil {
			sel.close()
			return fmt.Errorf("%w: %w", reuseport.ErrKernel, err)
		}
		g.sel = sel
	}
	if err := g.sel.socks.Put(place, fd); err != nil {
		return err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep a worker's socket: %w", err)
	}
	g.opened++
	g.members[worker] = &member{place: place, fd: dup, opened: g.opened}
	if k := g.k.s.o.Keep; k != nil {
		k.Hold(g.k.id.app, memberKey(g.k.id.key, worker), fd)
	}
	return nil
}

// memberKey is under what a worker's socket outlives the node.
func memberKey(key, worker string) string { return key + " " + worker }

// rejoin goes on with the socket that a worker has from a former run of the node, if it has one.
func (g *group) rejoin(worker string) (bool, error) {
	keep := g.k.s.o.Keep
	if keep == nil {
		return false, nil
	}
	fd, ok := keep.Take(g.k.id.app, memberKey(g.k.id.key, worker))
	if !ok {
		return false, nil
	}
	defer unix.Close(fd)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return true, os.ErrClosed
	}
	own, err := g.k.number()
	if err == nil {
		err = g.add(worker, own, fd)
	}
	return true, err
}

// free is a place that nobody has, 0 if there is none. The lock is held.
func (g *group) free() uint32 {
	var used [reuseport.Slots + 1]bool
	for _, m := range g.members {
		used[m.place] = true
	}
	for i := uint32(1); i <= reuseport.Slots; i++ {
		if !used[i] {
			return i
		}
	}
	return 0
}

// steer has the kernel give datagrams to the workers that are ready, each client's to one of them: to the one with the highest score for its bucket, so that a
// worker that comes or goes moves no clients but its own. name is the same for a worker and the one that takes its place; of two the later has the clients.
// Source: rendezvous hashing, Thaler and Ravishankar, IEEE/ACM ToN 1998.
func (g *group) steer(name func(worker string) (string, bool)) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sel == nil || g.closed {
		return nil
	}
	var o owners
	var best [buckets]uint64
	latest := make(map[string]*member)
	for id, m := range g.members {
		if as, ready := name(id); ready && (latest[as] == nil || latest[as].opened < m.opened) {
			latest[as] = m
		}
	}
	for as, m := range latest {
		h := fnv.New64a()
		_, _ = h.Write([]byte(as))
		seed := h.Sum64()
		for b := range o {
			if x := mix(seed ^ uint64(b)<<32); x > best[b] {
				best[b], o[b] = x, m.place
			}
		}
	}
	if g.live != len(latest) {
		g.live = len(latest)
		g.k.poke()
	}
	return g.sel.write(o)
}

// mix is the finalizer of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// lives reports whether a worker's socket gets datagrams.
func (g *group) lives() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.live > 0
}

// remove lets go of the socket of a worker that is gone or has closed it. What it did not read goes to others, once somebody can have it. It gets nothing more:
// Steer comes before.
func (g *group) remove(worker string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[worker]
	if m == nil {
		return
	}
	delete(g.members, worker)
	if g.leaving >= reuseport.Slots || !g.k.s.start(func() { g.let(worker, m) }) {
		g.discard(worker, m)
		return
	}
	g.leaving++
}

// let waits until somebody can have what a worker left, passes it on, and closes the socket.
func (g *group) let(worker string, m *member) {
	p := g.k.s.o.Picker(g.k.id.app)
	for {
		changed := p.Changed()
		if p.Local(time.Now()).Ready > 0 || p.Elsewhere() {
			g.k.drain(m.fd)
			break
		}
		if !g.k.await(changed, nil) {
			break
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.leaving--
	g.discard(worker, m)
}

// discard closes the duplicate of a worker's socket. The lock is held.
func (g *group) discard(worker string, m *member) {
	unix.Close(m.fd)
	if k := g.k.s.o.Keep; k != nil && !g.k.s.handsOver() {
		k.Drop(g.k.id.app, memberKey(g.k.id.key, worker))
	}
}

// drain passes on what waits in a socket.
func (k *socket) drain(fd int) {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return
	}
	f := os.NewFile(uintptr(dup), "datagrams")
	defer f.Close()
	c, err := net.FilePacketConn(f) // duplicates
	if err != nil {
		return
	}
	defer c.Close()
	u := c.(*net.UDPConn)
	_ = u.SetReadDeadline(time.Now().Add(drainFor))
	buf, oob := make([]byte, maxPayload), make([]byte, oobSize)
	for {
		n, m, _, client, err := u.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		k.s.stats.in.Add(1)
		k.take(client, localIn(oob[:m]), buf[:n])
	}
}

// end closes what the node has of the group.
func (g *group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for id, m := range g.members {
		g.discard(id, m)
		delete(g.members, id)
	}
	if g.sel != nil {
		g.sel.close() // the kernel keeps what it uses
	}
}
