package proxy

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// handOff passes a client's own socket to a worker that takes sockets.
func (s *Server) handOff(c *conn, r balancer.PickResult, w Worker) bool {
	err := w.Offer(c.key, c.fd, c.remote(), func(o Outcome) {
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
// relayed to the peer. It blocks until the worker has taken it. A worker that is busy keeps the peer waiting, who is told; without an outcome
// in the end the peer is refused.
func (s *Server) handOffPair(c *conn, r balancer.PickResult, w Worker) bool {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		c.refuse(err)
		return true
	}
	v := newVerdict(r)
	err = w.Offer(c.key, fds[1], c.client, v.tell)
	unix.Close(fds[1]) // a message that was sent holds the socket
	if err != nil {
		unix.Close(fds[0])
		c.again(r, false)
		return false
	}
	switch s.outcome(c, v) {
	case 0:
		unix.Close(fds[0])
		c.refuse(balancer.ErrBusy)
		return true
	case Accepted:
		s.stats.handedOff.Add(1)
		r.Taken()
		s.accepted(c, r, party{fd: fds[0]})
		return true
	default:
		unix.Close(fds[0])
		c.again(r, false)
		return false
	}
}

// verdict is a worker's answer to an offer on which a goroutine waits.
type verdict struct {
	r       balancer.PickResult
	outcome chan Outcome
	settled atomic.Bool
}

func newVerdict(r balancer.PickResult) *verdict {
	return &verdict{r: r, outcome: make(chan Outcome, 1)}
}

// tell takes the worker's answer.
func (v *verdict) tell(o Outcome) {
	if v.settled.CompareAndSwap(false, true) {
		v.outcome <- o
		return
	}
	// The peer was refused meanwhile and the connection is closed. An offer cannot be revoked, so the claim ends only here.
	v.r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
}

// outcome waits for the worker's answer; 0 means that none came, and none will be waited for: then the claim ends when the answer comes. When
// the worker does not answer at once, the peer is told that its connection is queued, once, and from then on waits as long as a client would.
func (s *Server) outcome(c *conn, v *verdict) Outcome {
	t := time.NewTimer(queuedAfter)
	defer t.Stop()
	for {
		select {
		case o := <-v.outcome:
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
	if v.settled.CompareAndSwap(false, true) {
		return 0
	}
	return <-v.outcome
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
	if err == nil && c.saved == 0 { // else the header is in what is rescued
		err = c.introduce(wc, w.Header(), limit)
	}
	if err != nil {
		c.wants(err)
		c.again(r, false)
		return false
	}
	r.Taken()
	s.lookout.dialed(c, r, w, wc)
	if c.stream != nil {
		s.accepted(c, r, party{conn: wc})
	} else {
		s.join(c, r, wc)
	}
	return true
}

// introduce tells a worker that wants to know where the connection is from, before all that the client says. On an error wc is closed.
func (c *conn) introduce(wc net.Conn, v HeaderVersion, limit time.Duration) error {
	if v == 0 {
		return nil
	}
	b, err := v.format(&c.origin)
	if err == nil {
		_ = wc.SetDeadline(time.Now().Add(limit))
		if _, err = wc.Write(b); err == nil {
			err = wc.SetDeadline(time.Time{})
		}
	}
	if err != nil {
		wc.Close()
	}
	return err
}

// join relays between the client's own socket and the target that took it. It does not block.
func (s *Server) join(c *conn, r balancer.PickResult, target net.Conn) {
	tune(c.fd)
	s.carry(c, r, party{fd: c.fd}, party{conn: target})
}

// accepted tells the peer that its connection is served, and relays. It does not block.
func (s *Server) accepted(c *conn, r balancer.PickResult, worker party) {
	if !c.answer(answerAccepted) { // the peer gave up waiting and went elsewhere; nothing was sent
		worker.cut()
		c.stream.Close()
		c.finished(r, true)
		return
	}
	s.stats.forwardedIn.Add(1)
	s.carry(c, r, party{conn: c.stream}, worker)
}

// finished counts c as closed and gives its claim back, in this order: whoever waits for the last claim finds all counted.
func (c *conn) finished(r balancer.PickResult, refused bool) {
	c.end()
	r.Done(balancer.DoneInfo{Now: time.Now(), Refused: refused})
}
