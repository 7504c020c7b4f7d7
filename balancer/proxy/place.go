package proxy

import (
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// errNoRoom is why a connection is refused when the bound on relays is reached.
var errNoRoom = errors.New("too many connections cross this node")

// conn is a client's connection until a target took it. It is owned by one goroutine at a time.
type conn struct {
	s      *Server
	app    string
	key    string
	picker *balancer.Picker
	fd     int       // the client's socket, or
	stream net.Conn  // the peer's stream, for a forwarded connection
	until  time.Time // when waiting for a target ends
	tried  []string
	over   sync.Once
	course
	origin
}

// course is how far a connection has come.
type course struct {
	detached bool // it has a goroutine of its own, which may block
	room     bool // it counts among the relays
	queued   bool // the peer was told to wait
	crowded  bool // there was no room among the relays until c.until
	waited   bool // it has been the first in the queue for a worker
	stays    bool // it was rescued, and may only be served here
	saved    int  // how often it was rescued (count)

	lacks error // what this server had too little of to have it served, nil while there was enough
}

// place finds a target for c and gives it to it; false means that c was refused. For a local worker that takes sockets all is done on
// return; for all others a goroutine goes on, unless c has one. It blocks, until c.until, while no target has room.
func (s *Server) place(c *conn) bool {
	for {
		// The channel is taken before the pick, so that no change between the two is missed.
		changed := c.picker.Changed()
		r, err := c.pick(nil)
		if errors.Is(err, balancer.ErrFull) && c.stream == nil {
			return s.queue(c)
		}
		if err == nil {
			if s.give(c, r) {
				return true
			}
			if c.crowded {
				c.refuse(errNoRoom)
				return false
			}
			continue
		}
		if c.stream != nil && !errors.Is(err, balancer.ErrBusy) {
			c.refuse(err) // the peer has other places to ask
			return false
		}
		if len(c.tried) > 0 && !errors.Is(err, balancer.ErrBusy) {
			// All were asked and refused: from here on they may be asked again, but not at once. The claim that another connection in the
			// same place gives back is a change, and the two would wake each other without end.
			c.tried, changed = nil, nil
		}
		if !s.await(changed, time.Until(c.until)) {
			c.refuse(err)
			return false
		}
	}
}

// pick chooses a target for c, which has that place in the queue or none.
func (c *conn) pick(w *balancer.Waiter) (balancer.PickResult, error) {
	return c.picker.Pick(balancer.PickInfo{Now: time.Now(), Rand: rand.Uint64(), Client: c.client.Addr(), LocalOnly: c.stream != nil || c.stays || c.noRoom(),
		Tried: c.tried, Waiter: w})
}

// await waits for the channel; false means that the time is over or the server is closing.
func (s *Server) await(changed <-chan struct{}, left time.Duration) bool {
	if left <= 0 {
		return false
	}
	t := time.NewTimer(min(left, lookAgain))
	defer t.Stop()
	select {
	case <-changed:
	case <-t.C:
	case <-s.closing:
		return false
	}
	return true
}

// give takes c to the picked target; false means that the target did not take it, the claim is given back, and c is still the caller's.
func (s *Server) give(c *conn, r balancer.PickResult) bool {
	if r.Target.Kind == balancer.KindPeer {
		return s.relayed(c, r, func() bool { return s.forward(c, r) })
	}
	w := s.worker(r.Target.ID)
	switch {
	case w == nil: // it died between the pick and now
		c.again(r, false)
		return false
	case !w.Passes():
		return s.relayed(c, r, func() bool { return s.dialWorker(c, r, w) })
	case c.stream != nil:
		if sp, stream, ok := c.direct(w); ok {
			return s.handOffStream(c, r, sp, stream)
		}
		return s.handOffPair(c, r, w)
	default:
		return s.handOff(c, r, w)
	}
}

// relayed runs what takes a connection to where it is served, in its own goroutine, if the bound on relays allows. Without room it waits,
// which stops the listener. serve returns false if the target did not take c.
func (s *Server) relayed(c *conn, r balancer.PickResult, serve func() bool) bool {
	if !c.waitRoom() {
		c.crowded = true
		r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		return false
	}
	s.shortages.owed.Add(1)
	paid := func() bool {
		defer s.shortages.owed.Add(-1)
		return serve()
	}
	if c.detached {
		return paid()
	}
	c.detached = true
	s.wg.Go(func() {
		if !paid() {
			s.place(c)
		}
	})
	return true
}

// later places c anew from a goroutine of its own: outcomes arrive where nothing may block.
func (s *Server) later(c *conn) {
	c.detached = true
	if !s.start(func() { s.place(c) }) {
		c.refuse(ErrClosed)
	}
}

// again gives the claim back and notes that the target was tried.
func (c *conn) again(r balancer.PickResult, failed bool) {
	c.s.stats.retried.Add(1)
	c.tried = append(c.tried, r.Target.ID)
	r.Done(balancer.DoneInfo{Now: time.Now(), Refused: !failed, Failed: failed})
}

// takeRoom counts c among the relays if there is room.
func (c *conn) takeRoom() bool {
	if c.room {
		return true
	}
	select {
	case c.s.relays <- struct{}{}:
		c.room = true
	default:
	}
	return c.room
}

// noRoom tells that c could not be relayed now; a local worker that takes sockets can still serve it.
func (c *conn) noRoom() bool { return !c.room && len(c.s.relays) == cap(c.s.relays) }

// waitRoom waits for room among the relays until c.until.
func (c *conn) waitRoom() bool {
	if c.takeRoom() {
		return true
	}
	c.s.stats.stopped.Add(1)
	t := time.NewTimer(time.Until(c.until))
	defer t.Stop()
	select {
	case c.s.relays <- struct{}{}:
		c.room = true
	case <-t.C:
	case <-c.s.closing:
	}
	return c.room
}

func (c *conn) leaveRoom() {
	if c.room {
		c.room = false
		<-c.s.relays
	}
}

// refuse ends a connection that nobody took: a client's is reset, so that it knows at once; a peer's is told.
func (c *conn) refuse(why error) {
	if c.lacks != nil {
		why = c.lacks
	}
	if errors.Is(why, errNoRoom) {
		c.s.shortages.note(Relays)
	}
	c.s.stats.refused.Add(1)
	c.end() // before the other side knows: whoever hears of it finds it counted
	if c.stream != nil {
		c.s.deny(c)
	} else {
		reset(c.fd)
		c.s.grumble.warn(c.s.log, "connection refused", "app", c.app, "reason", why)
	}
}

// reset closes a client's socket so that the client sees an error, not an end.
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// end counts the connection as closed, once.
func (c *conn) end() {
	c.over.Do(func() {
		c.leaveRoom()
		if c.gate != nil {
			c.gate.leave(c.count)
		}
		c.s.stats.closed.Add(1)
	})
}
