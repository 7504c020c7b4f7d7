package proxy

import (
	"net"
	"time"

	"meshnode/balancer"
)

// ServeForwards accepts the streams of peers until the listener is closed. Each carries one connection, which is served here or refused: it
// is never forwarded again.
func (s *Server) ServeForwards(ln net.Listener) error {
	for {
		stream, err := ln.Accept()
		if err != nil {
			return err
		}
		if !s.hold(stream) {
			return ErrClosed
		}
		s.wg.Go(func() { s.ingress(stream) })
	}
}

func (s *Server) ingress(stream net.Conn) {
	_ = stream.SetDeadline(time.Now().Add(ingressLimit))
	p, err := readPreamble(stream)
	if err != nil {
		s.log.Debug("forward without a valid preamble", "addr", stream.RemoteAddr(), "err", err)
		s.release(stream)
		return
	}
	s.mu.Lock()
	delete(s.conns, stream) // owned by the placing from here on
	s.mu.Unlock()
	s.stats.accepted.Add(1)
	c := &conn{s: s, app: p.App, key: p.Key, fd: -1, stream: stream, client: p.Client, since: time.Now()}
	if c.picker = s.o.Balancer.Lookup(p.App); c.picker == nil {
		c.refuse(balancer.ErrNoTarget)
		return
	}
	s.place(c)
}

// answer tells the peer; false means that it is gone.
func (c *conn) answer(a byte) bool {
	_ = c.stream.SetDeadline(time.Now().Add(ingressLimit))
	if _, err := c.stream.Write([]byte{a}); err != nil {
		return false
	}
	_ = c.stream.SetDeadline(time.Time{})
	return true
}
