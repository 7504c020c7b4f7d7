package proxy

import (
	"context"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// handOff passes c to a worker that takes sockets. A client's own socket is passed as it is; for a forwarded connection the worker
// gets one end of a socket pair, and the other is relayed to the peer.
func (s *Server) handOff(c *conn, r balancer.PickResult, w Worker) bool {
	if c.stream != nil {
		return s.handOffPair(c, r, w)
	}
	err := w.Offer(c.key, c.fd, noRemote, func(o Outcome) {
		if o == Accepted {
			s.stats.handedOff.Add(1)
			r.Taken()
			// Before our own descriptor is closed: until then the kernel keeps the socket, so its end cannot be missed.
			s.tracker.track(r.Target.ID, c.fd, func() {
				r.Done(balancer.DoneInfo{Now: time.Now()})
				c.end()
			})
			unix.Close(c.fd)
			return
		}
		c.again(r, false)
		s.later(c)
	})
	if err != nil {
		c.again(r, false)
		return false
	}
	return true
}

// later places c anew from a goroutine of its own: outcomes arrive where nothing may block.
func (s *Server) later(c *conn) { s.wg.Go(func() { s.place(c) }) }

func (s *Server) handOffPair(c *conn, r balancer.PickResult, w Worker) bool {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		c.again(r, false)
		c.refuse(err)
		return true
	}
	err = w.Offer(c.key, fds[1], c.client, func(o Outcome) {
		unix.Close(fds[1])
		if o != Accepted {
			unix.Close(fds[0])
			c.again(r, false)
			s.later(c)
			return
		}
		s.stats.handedOff.Add(1)
		r.Taken()
		s.wg.Go(func() { // not spawn: nothing may block here
			s.relays <- struct{}{}
			defer func() { <-s.relays }()
			s.relayPair(c, r, fds[0])
		})
	})
	if err != nil {
		unix.Close(fds[0])
		unix.Close(fds[1])
		c.again(r, false)
		return false
	}
	return true
}

// relayPair answers the peer and relays between its stream and our end of the worker's socket pair.
func (s *Server) relayPair(c *conn, r balancer.PickResult, fd int) {
	f := os.NewFile(uintptr(fd), "worker")
	wc, err := net.FileConn(f)
	f.Close()
	if err != nil {
		r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		c.refuse(err)
		return
	}
	s.accepted(c, r, wc)
}

// dialWorker connects c to a worker that does not take sockets, and relays.
func (s *Server) dialWorker(c *conn, r balancer.PickResult, w Worker) {
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	wc, err := w.Dial(ctx)
	cancel()
	if err != nil {
		c.again(r, false)
		s.place(c)
		return
	}
	r.Taken()
	if c.stream != nil {
		s.accepted(c, r, wc)
		return
	}
	client, err := c.socket()
	if err != nil {
		wc.Close()
		r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		c.end()
		return
	}
	s.relay(client, wc)
	r.Done(balancer.DoneInfo{Now: time.Now()})
	c.end()
}

// accepted tells the peer that its connection is served, and relays until the end.
func (s *Server) accepted(c *conn, r balancer.PickResult, wc net.Conn) {
	if c.answer(answerAccepted) {
		s.stats.forwardedIn.Add(1)
		s.relay(c.stream, wc)
	} else { // the peer gave up waiting and went elsewhere; nothing was sent
		wc.Close()
		c.stream.Close()
	}
	r.Done(balancer.DoneInfo{Now: time.Now()})
	c.end()
}
