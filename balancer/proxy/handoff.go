package proxy

import (
	"context"
	"net"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// handOff passes a client's own socket to a worker that takes sockets.
func (s *Server) handOff(c *conn, r balancer.PickResult, w Worker) bool {
	err := w.Offer(c.key, c.fd, noRemote, func(o Outcome) {
		if o == Accepted {
			s.handedOff(c, r)
			return
		}
		if o == Lost { // its time went by while it waited behind a worker that is gone now
			c.until = time.Now().Add(patience)
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

// handedOff notes that a worker has the client's socket. It does not block.
func (s *Server) handedOff(c *conn, r balancer.PickResult) {
	s.stats.handedOff.Add(1)
	r.Taken()
	c.leaveRoom()
	fd := c.fd
	// Before our own descriptor is closed: until then the kernel keeps the socket, so its end cannot be missed.
	s.tracker.track(r.Target.ID, fd, func() {
		c.end()
		r.Done(balancer.DoneInfo{Now: time.Now()})
	})
	unix.Close(fd)
}

// handOffPair serves a forwarded connection with a worker that takes sockets: the worker gets one end of a socket pair, the other is
// relayed to the peer. It blocks to the end of the connection. A worker that is busy keeps the peer waiting, who is told; without an outcome
// in the end the peer is refused.
func (s *Server) handOffPair(c *conn, r balancer.PickResult, w Worker) bool {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		c.refuse(err)
		return true
	}
	outcome, settled := make(chan Outcome, 1), new(atomic.Bool)
	err = w.Offer(c.key, fds[1], c.client, func(o Outcome) {
		if settled.CompareAndSwap(false, true) {
			outcome <- o
			return
		}
		// The peer was refused meanwhile and the pair is closed. An offer cannot be revoked, so the claim ends only here.
		r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
	})
	unix.Close(fds[1]) // a message that was sent holds the socket
	if err != nil {
		unix.Close(fds[0])
		c.again(r, false)
		return false
	}
	switch s.outcome(c, outcome, settled) {
	case 0:
		unix.Close(fds[0])
		c.refuse(balancer.ErrBusy)
		return true
	case Accepted:
		s.stats.handedOff.Add(1)
		r.Taken()
		s.relayPair(c, r, fds[0])
		return true
	default:
		unix.Close(fds[0])
		c.again(r, false)
		return false
	}
}

// outcome waits for the worker's answer; 0 means that none came, and none will come through the channel. When the worker does not answer
// at once, the peer is told that its connection is queued, once, and from then on waits as long as a client would.
func (s *Server) outcome(c *conn, outcome <-chan Outcome, settled *atomic.Bool) Outcome {
	t := time.NewTimer(queuedAfter)
	defer t.Stop()
	for {
		select {
		case o := <-outcome:
			return o
		case <-t.C:
			if c.queue() {
				t.Reset(time.Until(c.until))
				continue
			}
		case <-s.closing:
		}
		break
	}
	if settled.CompareAndSwap(false, true) {
		return 0
	}
	return <-outcome
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

// dialWorker connects c to a worker that does not take sockets, and relays; false means that the worker did not accept.
func (s *Server) dialWorker(c *conn, r balancer.PickResult, w Worker) bool {
	limit := dialLimit
	if c.stream != nil {
		limit = max(time.Until(c.until), 0)
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	wc, err := w.Dial(ctx)
	cancel()
	if err != nil {
		c.again(r, false)
		return false
	}
	r.Taken()
	if c.stream != nil {
		s.accepted(c, r, wc)
	} else {
		s.join(c, r, wc)
	}
	return true
}

// join relays between the client's own socket and the target that took it, until the end.
func (s *Server) join(c *conn, r balancer.PickResult, target net.Conn) {
	client, err := c.socket()
	if err != nil {
		s.log.Warn("a connection was lost", "app", c.app, "err", err)
		target.Close()
	} else {
		s.relay(client, target)
	}
	c.end() // before the claim: whoever waits for the last claim finds all counted
	r.Done(balancer.DoneInfo{Now: time.Now(), Refused: err != nil})
}

// accepted tells the peer that its connection is served, and relays until the end.
func (s *Server) accepted(c *conn, r balancer.PickResult, wc net.Conn) {
	told := c.answer(answerAccepted)
	if told {
		s.stats.forwardedIn.Add(1)
		s.relay(c.stream, wc)
	} else { // the peer gave up waiting and went elsewhere; nothing was sent
		wc.Close()
		c.stream.Close()
	}
	c.end()
	r.Done(balancer.DoneInfo{Now: time.Now(), Refused: !told})
}
