package proxy

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// conn is a client's connection until a target took it. It is owned by one goroutine at a time.
type conn struct {
	s      *Server
	app    string
	key    string
	picker *balancer.Picker
	fd     int      // the client's socket, or
	stream net.Conn // the peer's stream, for a forwarded connection
	client netip.AddrPort
	since  time.Time
	tried  []string
	over   sync.Once
}

// place finds a target for c and gives it to it. For a local worker that takes sockets all is done on return; for all others a goroutine goes
// on. It blocks, up to patience, while no target has room: then nothing more is accepted.
func (s *Server) place(c *conn) {
	for {
		// The channel is taken before the pick, so that no change between the two is missed.
		changed := c.picker.Changed()
		r, err := c.picker.Pick(balancer.PickInfo{Now: time.Now(), Rand: rand.Uint64(), LocalOnly: c.stream != nil, Tried: c.tried})
		if err == nil {
			if s.give(c, r) {
				return
			}
			continue
		}
		if c.stream != nil && errors.Is(err, balancer.ErrNoTarget) {
			c.refuse(err) // the peer has other places to ask
			return
		}
		// All were asked once: from here on whoever has room may be asked again.
		c.tried = nil
		if !s.await(changed, patience-time.Since(c.since)) {
			c.refuse(err)
			return
		}
	}
}

// await waits for the channel; false means that the time is over or the server is closing.
func (s *Server) await(changed <-chan struct{}, left time.Duration) bool {
	if left <= 0 {
		return false
	}
	// An ejection that ends makes no event, so look again now and then.
	t := time.NewTimer(min(left, 100*time.Millisecond))
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
		return s.spawn(c, r, s.forward)
	}
	w := s.worker(r.Target.ID)
	switch {
	case w == nil: // it died between the pick and now
		c.again(r, false)
		return false
	case w.Passes():
		return s.handOff(c, r, w)
	default:
		return s.spawn(c, r, func(c *conn, r balancer.PickResult) { s.dialWorker(c, r, w) })
	}
}

// spawn runs the rest of a relayed connection's life in its own goroutine, if the bound on relays allows. Without room the caller
// waits, which stops its listener.
func (s *Server) spawn(c *conn, r balancer.PickResult, serve func(*conn, balancer.PickResult)) bool {
	select {
	case s.relays <- struct{}{}:
	default:
		s.stats.stopped.Add(1)
		select {
		case s.relays <- struct{}{}:
		case <-s.closing:
			r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
			c.refuse(ErrClosed)
			return true
		}
	}
	s.wg.Go(func() {
		defer func() { <-s.relays }()
		serve(c, r)
	})
	return true
}

// again gives the claim back and notes that the target was tried.
func (c *conn) again(r balancer.PickResult, failed bool) {
	r.Done(balancer.DoneInfo{Now: time.Now(), Refused: !failed, Failed: failed})
	c.tried = append(c.tried, r.Target.ID)
	c.s.stats.retried.Add(1)
}

// refuse ends a connection that nobody took: a client's is reset, so that it knows at once; a peer's is told.
func (c *conn) refuse(why error) {
	c.s.stats.refused.Add(1)
	if c.stream != nil {
		c.answer(answerRefused)
		c.stream.Close()
	} else {
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		unix.Close(c.fd)
		c.s.grumble.warn(c.s.log, "connection refused", "app", c.app, "reason", why)
	}
	c.end()
}

// end counts the connection as closed, once.
func (c *conn) end() { c.over.Do(func() { c.s.stats.closed.Add(1) }) }

// socket turns the client's descriptor into a net.Conn for relaying; the descriptor is consumed.
func (c *conn) socket() (net.Conn, error) {
	f := os.NewFile(uintptr(c.fd), "client")
	defer f.Close() // FileConn duplicates
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	if t, ok := nc.(*net.TCPConn); ok {
		_ = t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: keepAlive, Interval: keepAlive})
	}
	return nc, nil
}
