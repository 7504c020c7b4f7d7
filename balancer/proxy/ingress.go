package proxy

import (
	"net"
	"time"

	"meshnode/balancer"
)

// greetings bounds the streams of peers whose preamble is awaited (count); further ones wait unaccepted, and end after a refusal.
const greetings = 2048

// ServeForwards accepts the streams of peers until the listener or the server is closed (then ErrClosed). Each carries one connection, which
// is served here or refused: it is never forwarded again.
func (s *Server) ServeForwards(ln net.Listener) error {
	for {
		stream, err := ln.Accept()
		if err != nil {
			return err
		}
		select {
		case s.way.greetings <- struct{}{}:
		case <-s.closing:
		}
		if !s.start(func() { s.ingress(stream, 0) }) {
			stream.Close()
			return ErrClosed
		}
	}
}

// ingress awaits the how-manieth question on a peer's stream, from 0, and places the connection that it is about. It has a token among the greetings.
func (s *Server) ingress(stream net.Conn, turn int) {
	if !s.hold(stream, true) {
		<-s.way.greetings
		return
	}
	_ = stream.SetDeadline(time.Now().Add(2 * streamAge)) // it may wait for use
	p, err := readPreamble(stream)
	if err == nil {
		err = checkSigned(stream, turned(signPreamble, turn), p.append(nil))
	}
	<-s.way.greetings
	if err != nil {
		s.log.Debug("forward without a valid preamble", "addr", stream.RemoteAddr(), "err", err)
		s.release(stream)
		return
	}
	s.mu.Lock()
	delete(s.conns, stream) // owned by the placing from here on
	s.mu.Unlock()
	s.stats.accepted.Add(1)
	c := &conn{s: s, app: p.App, key: p.Key, fd: -1, stream: stream, until: time.Now().Add(ingressPatience),
		course: course{detached: true}, origin: origin{client: p.Client, local: p.Local, turn: turn}}
	switch c.picker = s.o.Balancer.Lookup(p.App); {
	case c.picker == nil:
		c.refuse(balancer.ErrNoTarget)
	case !c.takeRoom():
		s.stats.stopped.Add(1)
		c.refuse(errNoRoom)
	default:
		s.place(c)
	}
}

// deny tells the peer that c is not served here, and awaits its next question on the same stream.
func (s *Server) deny(c *conn) {
	if !c.answer(answerRefused) {
		c.stream.Close()
		return
	}
	select {
	case s.way.greetings <- struct{}{}:
		if s.start(func() { s.ingress(c.stream, c.turn+1) }) {
			return
		}
		<-s.way.greetings
	default:
	}
	c.stream.Close()
}

// queue tells the peer that a busy worker has its connection before it, the first time; false means that it was told, and the time it was
// given is over, or that it is gone.
func (c *conn) queue() bool {
	if c.queued {
		return time.Until(c.until) > 0
	}
	c.queued = true
	c.until = time.Now().Add(patience)
	return c.answer(answerQueued)
}

// answer tells the peer; false means that it is gone.
func (c *conn) answer(a byte) bool {
	_ = c.stream.SetDeadline(time.Now().Add(ingressLimit))
	if _, err := c.stream.Write(signed(c.stream, turned(signAnswer, c.turn), []byte{a})); err != nil {
		return false
	}
	_ = c.stream.SetDeadline(time.Time{})
	return true
}
