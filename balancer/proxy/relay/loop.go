package relay

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// bufferSize is what one read takes at most, and so what may wait in one direction of a pair (bytes).
	bufferSize = 64 << 10
	// firstRead is what is read at once of a flow that is not bulk (bytes).
	firstRead = 16 << 10
	// layeredSize is the same with a layer on either side, for what it adds must find room as well.
	layeredSize = 40 << 10
	// buffersKept is how many buffers that nobody needs are kept for the next slow reader (count).
	buffersKept  = 16
	eventsAtOnce = 256
	sweepEvery   = time.Second
	// wakeMark stands for the loop's own descriptor among the events.
	wakeMark = -1
)

// loop serves its pairs, in one goroutine. Only what the mutex guards and the atomics are others' to touch.
type loop struct {
	e     *Engine
	epoll int
	bell  int // an eventfd
	open  atomic.Int32
	pipes pipes

	in inbox

	slots table
	busy  []*link // have more to do than one turn allowed
	mem   memory
	now   int64 // nanoseconds since start, as of the last wait
	start time.Time
	swept int64
}

// inbox is what others leave for a loop.
type inbox struct {
	mu     sync.Mutex // guards all below
	coming []*link
	cuts   []string // what leads to these nodes or came from them is to be cut
	closed bool
}

func newLoop(e *Engine) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: wakeMark})
		if err != nil {
			unix.Close(bell)
		}
	}
	if err != nil {
		unix.Close(ep)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	l := &loop{e: e, epoll: ep, bell: bell, start: time.Now()}
	l.mem.plain, l.mem.wire, l.mem.out = make([]byte, bufferSize), make([]byte, bufferSize), make([]byte, bufferSize)
	return l, nil
}

// add gives a pair to the loop; false means that it is closed, and that the sockets were.
func (l *loop) add(k *link) bool {
	l.in.mu.Lock()
	if l.in.closed {
		l.in.mu.Unlock()
		k.drop(true)
		return false
	}
	first := len(l.in.coming) == 0
	l.in.coming = append(l.in.coming, k)
	l.open.Add(1)
	if first {
		l.ring()
	}
	l.in.mu.Unlock()
	return true
}

// cut has the loop reset all pairs of a peer.
func (l *loop) cut(peer string) {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if !l.in.closed {
		l.in.cuts = append(l.in.cuts, peer)
		l.ring()
	}
}

// wake makes the loop look around.
func (l *loop) wake() {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if !l.in.closed {
		l.ring()
	}
}

// ring writes to the bell. The lock is held, so that the descriptor is open.
func (l *loop) ring() {
	var one = [8]byte{0: 1, 7: 1} // not zero in either order of bytes
	_, _ = unix.Write(l.bell, one[:])
}

// close has the loop end; its goroutine closes what it has.
func (l *loop) close() {
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	if !l.in.closed {
		l.ring()
	}
	l.in.closed = true
}

// run serves until close. The thread is the loop's own: it sleeps in epoll, and nothing else of the process waits for it.
func (l *loop) run() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	events := make([]unix.EpollEvent, eventsAtOnce)
	var rush rush
	for {
		n, err := unix.EpollWait(l.epoll, events, l.timeout())
		if err != nil && !errors.Is(err, unix.EINTR) {
			n = 0 // only a descriptor that is none could fail; then close would be the only event left
		}
		l.now = int64(time.Since(l.start))
		rush.count(max(n, 0), l.now)
		for i := range events[:max(n, 0)] {
			l.take(&events[i])
		}
		if !l.arrivals() {
			l.end()
			return
		}
		l.turns()
		l.sweep()
		if rush.on {
			// Who is being relayed gets the processor before us if it wants it, and has more for us when we are back: that takes fewer turns for the
			// same bytes, a tenth of the processor time.
			_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
		}
	}
}

// take follows one event.
func (l *loop) take(ev *unix.EpollEvent) {
	if ev.Fd == wakeMark {
		var b [8]byte
		_, _ = unix.Read(l.bell, b[:])
		return
	}
	k := l.slots.at(int(ev.Fd>>1), ev.Pad)
	if k == nil {
		return // it ended earlier among the same events
	}
	k.event(int(ev.Fd&1), ev.Events)
	l.serve(k)
}

// serve does what can be done for a pair now, and ends it when it is over.
func (l *loop) serve(k *link) {
	more, err := k.move(l)
	switch {
	case err != nil:
		l.finish(k, Broken)
	case k.over():
		l.finish(k, Ended)
	case more && !k.queued:
		k.queued = true
		l.busy = append(l.busy, k)
	}
}

// turns gives one more turn to every pair that had not done all it could.
func (l *loop) turns() {
	now := l.busy
	l.busy = nil
	for _, k := range now {
		k.queued = false
		if k.slot >= 0 {
			l.serve(k)
		}
	}
	if l.busy == nil {
		l.busy = now[:0]
	}
}

// arrivals takes in new pairs, and cuts those that are to be; false means that the loop was closed.
func (l *loop) arrivals() bool {
	l.in.mu.Lock()
	coming, cuts, closed := l.in.coming, l.in.cuts, l.in.closed
	l.in.coming, l.in.cuts = nil, nil
	l.in.mu.Unlock()
	for _, k := range coming {
		l.slots.put(k)
		k.used = l.now
		if err := l.register(k); err != nil {
			l.finish(k, Broken)
		}
	}
	if len(cuts) > 0 {
		for _, k := range l.slots.links {
			if k != nil && k.peer != "" && slices.Contains(cuts, k.peer) {
				l.finish(k, Cut)
			}
		}
	}
	return !closed
}

// register has the kernel tell of both sockets. What is there already is told at once.
func (l *loop) register(k *link) error {
	for i := range k.sides {
		ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET&0xffffffff,
			Fd: int32(k.slot<<1 | i), Pad: k.mark}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, k.sides[i].FD, &ev); err != nil {
			return fmt.Errorf("watch a socket: %w", err)
		}
	}
	return nil
}

// finish ends a pair for good.
func (l *loop) finish(k *link, why Cause) {
	l.slots.drop(k)
	for i := range k.flows {
		l.give(&k.flows[i])
	}
	k.drop(why != Ended)
	l.open.Add(-1)
	if why == TimedOut {
		l.e.timedOut.Add(1)
	}
	k.tell(why)
}

// give takes back what a direction holds.
func (l *loop) give(f *flow) {
	if f.hold != nil {
		l.mem.keep(f.hold)
		f.hold, f.left = nil, nil
	}
	if f.pipe != nil {
		l.pipes.giveBack(f.pipe, f.piped > 0)
		f.pipe, f.piped = nil, 0
	}
}

// write writes b, a part of one of the loop's buffers. What dst does not take now becomes the direction's, with the buffer.
func (l *loop) write(f *flow, dst *side, b []byte, from *[]byte) error {
	for len(b) > 0 {
		n, err := dst.write(b)
		if err == nil {
			b = b[n:]
			continue
		}
		if err = again(dst, err); err != nil {
			return err
		}
		f.hold, f.left = *from, b
		*from = l.mem.take()
		return nil
	}
	return nil
}

// memory is a loop's buffers.
type memory struct {
	plain []byte // what is relayed
	wire  []byte // what a side with a layer has sent
	out   []byte // what is to be sent to one
	spare [][]byte
}

func (m *memory) take() []byte {
	n := len(m.spare)
	if n == 0 {
		return make([]byte, bufferSize)
	}
	b := m.spare[n-1]
	m.spare = m.spare[:n-1]
	return b
}

func (m *memory) keep(b []byte) {
	if len(m.spare) < buffersKept {
		m.spare = append(m.spare, b)
	}
}

// timeout is how long the loop may sleep, in milliseconds; -1 = until something happens.
func (l *loop) timeout() int {
	switch {
	case len(l.busy) > 0:
		return 0
	case l.e.idle.Load() > 0 && l.slots.used > 0:
		return int(l.period() / time.Millisecond)
	}
	return -1
}

// period is how often idle pairs are looked for.
func (l *loop) period() time.Duration {
	return max(min(sweepEvery, time.Duration(l.e.idle.Load())/4), time.Millisecond)
}

// sweep resets the pairs on which nothing has moved for too long.
func (l *loop) sweep() {
	idle := l.e.idle.Load()
	if idle == 0 || l.now-l.swept < int64(l.period()) {
		return
	}
	l.swept = l.now
	for _, k := range l.slots.links {
		if k != nil && l.now-k.used >= idle {
			l.finish(k, TimedOut)
		}
	}
}

// end resets all that is left, and closes what the loop has.
func (l *loop) end() {
	for _, k := range l.slots.links {
		if k != nil {
			l.finish(k, Cut)
		}
	}
	l.pipes.close()
	l.in.mu.Lock()
	defer l.in.mu.Unlock()
	unix.Close(l.bell)
	unix.Close(l.epoll)
}

// table finds a pair by a number that fits into an event. A number is used again; mark tells the pairs apart that had it.
type table struct {
	links []*link
	free  []int
	used  int
	mark  int32
}

func (t *table) put(k *link) {
	if n := len(t.free); n > 0 {
		k.slot, t.free = t.free[n-1], t.free[:n-1]
	} else {
		k.slot = len(t.links)
		t.links = append(t.links, nil)
	}
	t.mark++
	k.mark = t.mark
	t.links[k.slot] = k
	t.used++
}

func (t *table) at(slot int, mark int32) *link {
	if k := t.links[slot]; k != nil && k.mark == mark {
		return k
	}
	return nil
}

func (t *table) drop(k *link) {
	t.links[k.slot] = nil
	t.free = append(t.free, k.slot)
	k.slot = -1
	t.used--
}
