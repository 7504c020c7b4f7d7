package proxy

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// What waits for a worker that is hung was seen by nobody, whatever its client has sent already: all of it is in the kernel. So the node accepts it in the
// worker's place, from the worker's own listening socket, and gives it to somebody else. It is relayed twice then, once to ourselves.

const (
	rescuesMost = 3           // times that one connection may be rescued (count)
	rescueMany  = 4096        // connections accepted at a time in a worker's place (count)
	rescueLong  = time.Second // a rescue that takes longer waits for a connection that somebody else has
	knockLimit  = 50 * time.Millisecond
)

// Lender is a worker that is dialed and whose listening sockets can be had as well.
type Lender interface {
	Worker
	// Sockets returns duplicates of the sockets on which the worker listens for what it is dialed for. They are the caller's.
	Sockets() ([]int, error)
	// Checks reports whether a connection to it from that port of this server is somebody's who asks how it is: nobody else may answer it.
	Checks(port uint16) bool
}

// rescue is one go at what waits for a worker.
type rescue struct {
	s      *Server
	app    string
	picker *balancer.Picker
	from   Lender
	known  map[netip.AddrPort]wait // by our end
	probe  netip.AddrPort          // of our own
	begun  time.Time
	done   chan struct{}

	mu    sync.Mutex // guards all below
	fds   []int
	taken map[netip.AddrPort]bool // by our end
	err   error                   // the sockets cannot be had
}

// worthRescue reports whether what waits for a hung worker would be better off elsewhere. What has to stay here, because it came from a peer or
// because a worker was introduced to it, goes to another worker of this node alone.
func (l *line) worthRescue() bool {
	if _, ok := l.target.(Lender); !ok || l.lendsNo || len(l.waits) == 0 {
		return false
	}
	free := len(l.waits) < waitsKept // all that wait are known
	for _, w := range l.waits {
		if w.c.saved >= rescuesMost {
			return false
		}
		free = free && !w.c.bound(l.target)
	}
	here, elsewhere := l.picker.Relief(l.worker)
	return here || elsewhere && free
}

// bound reports whether the connection, once dialed, may only be served on this node.
func (c *conn) bound(w Worker) bool { return c.stream != nil || c.stays || w.Header() != 0 }

// rescue begins to take what waits for a worker.
func (s *Server) rescue(l *line) *rescue {
	known := make(map[netip.AddrPort]wait, len(l.waits))
	for _, w := range l.waits {
		known[w.path.ours] = w
	}
	r := &rescue{s: s, app: l.app, picker: l.picker, from: l.target.(Lender), known: known, begun: time.Now(), done: make(chan struct{}),
		taken: make(map[netip.AddrPort]bool)}
	if l.probe != nil {
		p, _ := pathOf(l.probe)
		r.probe = p.ours
	}
	if !s.start(r.run) {
		return nil
	}
	return r
}

func (r *rescue) run() {
	defer close(r.done)
	fds, err := r.from.Sockets()
	r.mu.Lock()
	r.fds, r.err = fds, err
	r.mu.Unlock()
	for _, fd := range fds {
		for range rescueMany {
			got, ours, ok := acceptNow(fd)
			if !ok {
				break
			}
			r.mu.Lock()
			r.taken[ours] = true
			r.mu.Unlock()
			if ours == r.probe || r.from.Checks(ours.Port()) {
				reset(got)
				continue
			}
			r.save(got, r.known[ours])
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fd := range r.fds {
		unix.Close(fd)
	}
	r.fds = nil
}

// acceptNow accepts a connection if one waits. The socket is another's, which may want it to block, and it stays as it is: where its owner takes the last
// connection between the two calls, this one waits for the next.
func acceptNow(fd int) (got int, from netip.AddrPort, ok bool) {
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(ready, 0); err != nil || n == 0 {
		return -1, from, false
	}
	got, sa, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
	if err != nil {
		return -1, from, false
	}
	a := addrPort(sa)
	return got, netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), true
}

// save places a connection that was accepted in the worker's place. w is what is known of it; the claim on the worker goes back.
func (r *rescue) save(fd int, w wait) {
	r.s.stats.accepted.Add(1)
	r.s.stats.rescued.Add(1)
	c := &conn{s: r.s, app: r.app, picker: r.picker, fd: fd, until: time.Now().Add(patience), course: course{saved: rescuesMost, stays: true}}
	if w.c != nil {
		c.key, c.saved, c.stays = w.c.key, w.c.saved+1, w.c.bound(r.from)
		c.client, c.local, c.told = w.c.client, w.c.local, w.c.told
		w.r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
	}
	r.s.later(c)
}

// over reports whether the rescue is.
func (r *rescue) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// has reports whether a connection was taken, once the rescue is over.
func (r *rescue) has(ours netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.taken[ours]
}

// failed is why the worker's sockets could not be had, once the rescue is over.
func (r *rescue) failed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// abandon ends a rescue whose worker is gone: nobody else uses its sockets.
func (r *rescue) abandon() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fd := range r.fds {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
}

// knock opens a connection to a worker which it closes at once, so that nobody waits in vain for one.
func (l *line) knock() {
	if l.ask(); l.probe != nil {
		l.unask()
	}
}

// ask has a connection of our own wait for the worker, which shows when it accepts again.
func (l *line) ask() {
	ctx, cancel := context.WithTimeout(context.Background(), knockLimit)
	defer cancel()
	c, err := l.target.Dial(ctx)
	if err != nil {
		return
	}
	if _, ok := pathOf(c); !ok {
		c.Close()
		return
	}
	if h := l.target.Header().OwnHeader(); h != nil {
		_ = c.SetDeadline(time.Now().Add(knockLimit))
		_, _ = c.Write(h) // there is room
	}
	l.probe = c
}

func (l *line) unask() {
	if l.probe != nil {
		l.probe.Close()
		l.probe = nil
	}
}
