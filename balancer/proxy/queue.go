package proxy

import (
	"time"

	"meshnode/balancer"
)

// queue lets c wait, in a goroutine of its own, until a worker may have one more connection; false means that c was refused. The listener goes
// on: what waits here is bounded by the app's settings, and whoever comes then is refused at once.
func (s *Server) queue(c *conn) bool {
	w, err := c.picker.Wait(time.Now(), c.waited)
	if err != nil {
		c.refuse(err)
		return false
	}
	if c.detached {
		return s.inLine(c, w)
	}
	c.detached = true
	if !s.start(func() { s.inLine(c, w) }) {
		c.picker.Leave(w, false)
		c.refuse(ErrClosed)
		return false
	}
	return true
}

// inLine waits for c's turn, and places it; false means that c was refused.
func (s *Server) inLine(c *conn, w *balancer.Waiter) bool {
	until := w.Since().Add(c.picker.Settings().QueueTimeout)
	if c.waited {
		until = c.until
	}
	c.until, c.tried = until, nil // who refused it may have room now
	look := time.Until(until)     // only the first in line has to look by itself
	for s.awaitTurn(w, min(look, time.Until(until))) {
		r, err := c.pick(w)
		if err == nil {
			c.waited = true
			if s.give(c, r) {
				return true
			}
			if c.crowded {
				c.refuse(errNoRoom)
				return false
			}
			return s.place(c)
		}
		look = c.picker.Again(time.Now())
	}
	timedOut := time.Until(until) <= 0
	c.picker.Leave(w, timedOut)
	c.refuse(balancer.ErrFull)
	return false
}

// awaitTurn waits for a sign that there may be room, or for so long; false means that nothing is left of it or that the server is closing.
func (s *Server) awaitTurn(w *balancer.Waiter, left time.Duration) bool {
	if left <= 0 {
		return false
	}
	t := time.NewTimer(left)
	defer t.Stop()
	select {
	case <-w.C:
	case <-t.C:
	case <-s.closing:
		return false
	}
	return true
}
