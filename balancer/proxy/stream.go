package proxy

import (
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// direct reports whether c's stream is a socket with nothing over it that the worker can be given itself: then no byte of it crosses
// this node.
func (c *conn) direct(w Worker) (Speaker, syscall.RawConn, bool) {
	sp, ok := w.(Speaker)
	if !ok || !sp.Speaks(c.key) {
		return nil, nil, false
	}
	if _, layered := c.stream.(detachable); layered {
		return nil, nil, false
	}
	k, ok := c.stream.(syscall.Conn)
	if !ok {
		return nil, nil, false
	}
	raw, err := k.SyscallConn()
	return sp, raw, err == nil
}

// handOffStream passes the peer's stream itself to a worker that takes sockets. The worker answers the peer, at the moment it takes the
// connection: an answer of ours could come behind what the app says first. The peer is told before that somebody is there. It blocks until
// the worker has taken it.
func (s *Server) handOffStream(c *conn, r balancer.PickResult, w Speaker, stream syscall.RawConn) bool {
	if !c.queue() {
		r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		c.refuse(balancer.ErrBusy)
		return true
	}
	say := signed(c.stream, turned(signAnswer, c.turn), []byte{answerAccepted})
	v := newVerdict(r)
	var before uint64
	var err error
	if cerr := stream.Control(func(fd uintptr) {
		before = sent(int(fd))
		err = w.OfferSaying(c.key, int(fd), Origin{Client: c.client, Say: say}, v.tell)
	}); cerr != nil {
		err = cerr
	}
	if err != nil {
		c.again(r, false)
		return false
	}
	switch out := s.outcome(c, v); {
	case out == Accepted:
		s.streamTaken(c, r, stream)
	case out != 0 && untouched(stream, before):
		c.again(r, false)
		return false
	default: // an offer cannot be revoked, and the worker may have answered already: the connection ends for all who have it
		_ = stream.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
		if out != 0 {
			r.Done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		}
		s.stats.refused.Add(1)
		c.end()
		c.stream.Close()
	}
	return true
}

// streamTaken notes that a worker has the peer's stream.
func (s *Server) streamTaken(c *conn, r balancer.PickResult, stream syscall.RawConn) {
	s.stats.handedOff.Add(1)
	s.stats.forwardedIn.Add(1)
	r.Taken()
	c.leaveRoom()
	over := func() { c.finished(r, false) }
	tracked := false
	_ = stream.Control(func(fd uintptr) { // before our own descriptor is closed, as in handedOff
		s.tracker.track(r.Target.ID, int(fd), over)
		tracked = true
	})
	if !tracked {
		over()
	}
	c.stream.Close()
}

// untouched reports whether nothing was written to the stream since it had sent so many bytes: then another worker can have it.
func untouched(stream syscall.RawConn, before uint64) (ok bool) {
	_ = stream.Control(func(fd uintptr) { ok = sent(int(fd)) == before })
	return ok
}

// sent is how much was written to a TCP socket (bytes), whether or not it has left yet.
func sent(fd int) uint64 {
	i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return i.Bytes_sent - i.Bytes_retrans + uint64(i.Notsent_bytes)
}
