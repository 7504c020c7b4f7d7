package proxy

import (
	"errors"
	"fmt"
	"math"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
	"meshnode/balancer/reuseport"
)

// driftWindow is how long a worker must have been credited with connections that never came before they are forgotten: handshakes that were
// given up, and what this node took from its socket.
const driftWindow = time.Second

// group is all listening sockets of one listener: the node's own, and one for each worker that accepts by itself. Its lock is taken before the
// server's.
type group struct {
	l *listener

	mu      sync.Mutex // guards all below
	sel     *selector  // nil until a worker has a socket
	members map[string]*member
	closed  bool
}

// member is a worker's socket in a group. The node keeps a duplicate: from it, it takes what waits for a worker that is stopped or leaves.
type member struct {
	slot   int
	fd     int
	rescue *listener // accepts in the worker's place, nil while the worker does
	heard  bool      // the worker has said that it accepts
	held   bool      // the worker wants no more than it has
	base   uint64    // what the slot was given before this worker, less what the worker had taken before this node
	taken  uint64    // as the worker reported last
	drift  int64     // given, and neither taken nor waiting
	low    int64     // the least of that in the window
	since  time.Time // of the window
}

// open gives a worker a listening socket of its own, which is the caller's, and is not chosen before the worker reports.
func (g *group) open(worker string) (*os.File, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.begin(); err != nil {
		return nil, err
	}
	fd, err := g.l.sibling()
	if err != nil {
		return nil, err
	}
	theirs := os.NewFile(uintptr(fd), "listener")
	if err := g.add(worker, fd); err != nil {
		theirs.Close()
		return nil, err
	}
	return theirs, nil
}

// begin makes the kernel choose among the sockets of this listener, so far one. The lock is held.
func (g *group) begin() error {
	if g.closed {
		return os.ErrClosed
	}
	if g.sel != nil {
		return nil
	}
	sel, err := newSelector()
	if err != nil {
		return err
	}
	if err := g.found(sel); err != nil {
		return errors.Join(fmt.Errorf("have the kernel choose among the sockets of %s: %w", g.l.bound, err), sel.close())
	}
	g.sel = sel
	return nil
}

// found makes the own socket one of a group. It was bound alone, so that nobody else has the port; the kernel has a group from the second
// socket on, which is closed again.
func (g *group) found(sel *selector) error {
	own := g.l.number()
	if err := unix.SetsockoptInt(own, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return err
	}
	fd, err := g.l.sibling()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := sel.socks.Attach(own, sel.prog); err != nil {
		return err
	}
	if r := g.accept(fd); r != nil {
		r.stop()
	}
	return nil
}

// errSlots is why a worker is given its connections one by one.
var errSlots = errors.New("no slot is free")

// add takes a worker's socket in, of which it keeps a duplicate. The lock is held.
func (g *group) add(worker string, fd int) error {
	slot := g.free()
	if slot < 0 || g.members[worker] != nil {
		return errSlots
	}
	given, err := g.sel.assigned()
	if err != nil {
		return err
	}
	if err := g.sel.socks.Put(uint32(slot+1), fd); err != nil {
		return err
	}
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("keep a worker's listening socket: %w", err)
	}
	g.members[worker] = &member{slot: slot, fd: dup, base: given[slot]}
	if g.l.s.o.Keep != nil {
		g.l.s.o.Keep.Hold(g.l.app, memberKey(g.l.key, worker), fd)
	}
	return nil
}

// memberKey is under what a worker's socket outlives the node.
func memberKey(key, worker string) string { return key + " " + worker }

// rejoin goes on with the socket that a worker has from a former run of the node, if it has one.
func (g *group) rejoin(worker string) (bool, error) {
	if g.l.s.o.Keep == nil {
		return false, nil
	}
	fd, ok := g.l.s.o.Keep.Take(g.l.app, memberKey(g.l.key, worker))
	if !ok {
		return false, nil
	}
	defer unix.Close(fd)
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.begin()
	if err == nil {
		err = g.add(worker, fd)
	}
	if err != nil {
		g.l.s.o.Keep.Drop(g.l.app, memberKey(g.l.key, worker))
	}
	return true, err
}

// forgo lets go of the socket that a worker has from a former run of the node, and reports whether it has one.
func (g *group) forgo(worker string) bool {
	if g.l.s.o.Keep == nil {
		return false
	}
	fd, ok := g.l.s.o.Keep.Take(g.l.app, memberKey(g.l.key, worker))
	if ok {
		unix.Close(fd)
		g.l.s.o.Keep.Drop(g.l.app, memberKey(g.l.key, worker))
	}
	return ok
}

func (g *group) free() int {
	var used [reuseport.Slots]bool
	for _, m := range g.members {
		used[m.slot] = true
	}
	for i, u := range used {
		if !u {
			return i
		}
	}
	return -1
}

// remove closes the duplicate of a worker's socket, which the worker has closed or will not serve any more, once what waits in it was
// served. The kernel moves handshakes that are under way to the node's own.
func (g *group) remove(worker string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[worker]
	if m == nil {
		return
	}
	delete(g.members, worker)
	t := g.sel.wrote
	t.Slots[m.slot].Base = shut
	if err := g.sel.write(t); err != nil {
		g.l.s.log.Warn("the kernel's choice of workers is out of date", "app", g.l.app, "err", err)
	}
	if m.rescue == nil {
		m.rescue = g.accept(m.fd)
	}
	if m.rescue != nil {
		m.rescue.stop()
	}
	if m.rescue == nil || !g.l.s.start(func() { g.let(worker, m) }) {
		g.discard(worker, m)
	}
}

// let lets go of a worker's socket when what waited in it is served.
func (g *group) let(worker string, m *member) {
	<-m.rescue.done
	g.discard(worker, m)
}

func (g *group) discard(worker string, m *member) {
	unix.Close(m.fd)
	if g.l.s.o.Keep != nil && !g.l.left.Load() {
		g.l.s.o.Keep.Drop(g.l.app, memberKey(g.l.key, worker))
	}
}

// has reports whether a worker may accept by itself here.
func (g *group) has(worker string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.members[worker] != nil
}

// hear takes in how many connections a worker has accepted here in its life.
func (g *group) hear(worker string, taken uint64, held bool, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	m := g.members[worker]
	if m == nil {
		return
	}
	given, err := g.sel.assigned()
	if err != nil {
		return
	}
	if !m.heard {
		m.heard, m.since, m.low = true, now, math.MaxInt64
		m.base -= taken
	}
	m.taken, m.held = taken, held
	over := m.over(given) - int64(backlog(m.fd))
	m.low = min(m.low, over)
	switch {
	case over < 0:
		m.drift += over // it took what it was not credited with
		m.low, m.since = math.MaxInt64, now
	case now.Sub(m.since) >= driftWindow:
		m.drift += m.low
		m.low, m.since = math.MaxInt64, now
	}
}

// credit tells the balancer what the kernel has given to workers since their reports.
func (g *group) credit(to *balancer.Picker) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.members) == 0 {
		return
	}
	given, err := g.sel.assigned()
	if err != nil {
		return // it is as old as the last report
	}
	for id, m := range g.members {
		to.SetComing(id, max(int(m.over(given)), 0), time.Now())
	}
}

// over is what a worker was given and has not reported.
func (m *member) over(given [reuseport.Slots]uint64) int64 {
	return int64(given[m.slot]-m.base-m.taken) - m.drift
}

// steer has the kernel give the next room connections to the workers that may be chosen, by what is open on them, and those beyond to the node.
// For a worker that may not be chosen the node accepts what waits.
func (g *group) steer(room int, ready func(worker string) bool, open func(worker string) int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.sel == nil || g.closed {
		return nil
	}
	t := table{}
	for i := range t.Slots {
		t.Slots[i] = entry{shut, uint32(i)}
	}
	for _, m := range g.members {
		if m.held {
			room = 0
		}
	}
	var loads []int
	for id, m := range g.members {
		t.N = max(t.N, uint32(m.slot+1))
		well := ready(id)
		if well && m.heard {
			n := open(id)
			loads = append(loads, n)
			// load + given - base - taken - drift: the kernel adds what is given
			t.Slots[m.slot].Base = int32(uint32(int64(n) - int64(m.base+m.taken) - m.drift))
		}
		m.mind(g, well)
	}
	t.Limit = level(loads, room)
	return g.sel.write(t)
}

// level is the load up to which workers with these loads take room more, the least loaded first.
func level(loads []int, room int) int32 {
	if room <= 0 || len(loads) == 0 {
		return math.MinInt32
	}
	if room >= balancer.Unbounded {
		return math.MaxInt32
	}
	slices.Sort(loads)
	for i, n := range loads {
		next := math.MaxInt32
		if i+1 < len(loads) {
			next = loads[i+1]
		}
		if full := (next - n) * (i + 1); room > full {
			room -= full
			continue
		}
		return int32(n + (room+i)/(i+1))
	}
	return math.MaxInt32
}

// mind has the node accept from the socket of a worker that does not, or not any more.
func (m *member) mind(g *group, well bool) {
	switch {
	case well && m.rescue != nil:
		m.rescue.leave()
		m.rescue = nil
	case !well && m.rescue == nil:
		m.rescue = g.accept(m.fd) // if no descriptor is free, it is tried again with the next report
	}
}

// accept has the node accept from a socket beside whoever else does. It returns nil if it cannot.
func (g *group) accept(fd int) *listener {
	f, err := dupFile(fd)
	if err != nil {
		return nil
	}
	r, err := newListener(g.l.s, listenerID{g.l.app, g.l.key}, f, g.l.bound)
	if err != nil {
		return nil // and f is closed
	}
	if !g.l.s.start(r.accept) {
		f.Close()
		return nil
	}
	return r
}

// end closes what the node has of the group. Where a successor goes on, what outlives the node stays kept.
func (g *group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for id, m := range g.members {
		if m.rescue != nil {
			m.rescue.leave()
		}
		g.discard(id, m)
		delete(g.members, id)
	}
	if g.sel != nil {
		_ = g.sel.close() // the kernel keeps what it uses
	}
}
