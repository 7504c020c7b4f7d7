package proxy

import (
	"errors"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// noRemote means that the socket's own peer is the client.
var noRemote netip.AddrPort

// forward takes c to a peer, and has it relayed; false means that nobody took it. No byte of the client is sent before a peer said that it
// accepts. A peer that does not say a word may be stopped: then another target is asked as well, and who accepts first has the connection.
func (s *Server) forward(c *conn, r balancer.PickResult) bool {
	hedgeAt := time.Now().Add(s.hedgeAfter())
	first := s.newAsking(c, r)
	rest := first.atOnce(hedgeAt)
	if rest == nil {
		return s.settle(c, r, <-first.answer)
	}
	first.goOn(rest)
	t := time.NewTimer(time.Until(hedgeAt))
	defer t.Stop()
	select {
	case a := <-first.answer:
		return s.settle(c, r, a)
	case <-first.heard:
	case <-t.C:
		if done, taken := s.hedge(c, first); done {
			return taken
		}
	}
	return s.settle(c, r, <-first.answer)
}

// settle follows a peer's answer; false means that the peer did not take c.
func (s *Server) settle(c *conn, r balancer.PickResult, a answered) bool {
	if a.err != nil {
		s.log.Debug("forward failed", "peer", r.Target.ID, "app", c.app, "err", a.err)
		c.wants(a.err)
		c.again(r, failed(a.err))
		return false
	}
	s.stats.forwardedOut.Add(1)
	r.Taken()
	s.join(c, r, a.peer)
	return true
}

// failed reports a fault that is the peer's.
func failed(err error) bool { return !errors.Is(err, errPeerRefused) && !ours(err) }

// ours reports a fault of this node, for which the peer is not to blame.
func ours(err error) bool {
	for _, e := range []error{errCrowd, unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
