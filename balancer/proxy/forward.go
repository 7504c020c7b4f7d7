package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// noRemote means that the socket's own peer is the client.
var noRemote netip.AddrPort

// forward takes c to a peer, and relays to the end; false means that the peer did not take it. No byte of the client is sent before
// the peer said that it accepts.
func (s *Server) forward(c *conn, r balancer.PickResult) bool {
	peer, err := s.ask(r.Target.ID, preamble{App: c.app, Key: c.key, Client: c.client, Local: c.local}, c.until)
	if err != nil {
		s.log.Debug("forward failed", "peer", r.Target.ID, "app", c.app, "err", err)
		c.again(r, !errors.Is(err, errPeerRefused) && !ours(err))
		return false
	}
	s.stats.forwardedOut.Add(1)
	r.Taken()
	s.join(c, r, peer)
	return true
}

// ours reports a fault of this node, for which the peer is not to blame.
func ours(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ask opens a stream to the peer and waits for its answer. A stopped process still accepts connections: only the answer says that somebody
// is there, so the first has a limit, and dialing falls under it. If that says that a worker is busy, the other may take until the given time.
func (s *Server) ask(node string, p preamble, until time.Time) (net.Conn, error) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	peer, err := s.o.DialPeer(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", node, err)
	}
	deadline, _ := ctx.Deadline()
	_ = peer.SetDeadline(deadline)
	answer, err := exchange(peer, p)
	if err == nil {
		s.o.Balancer.ObserveHop(time.Since(begun)) // what a busy worker takes beyond this is no matter of the way
		if answer == answerQueued {
			_ = peer.SetDeadline(until)
			if answer, err = readAnswer(peer); errors.Is(err, os.ErrDeadlineExceeded) {
				answer, err = answerRefused, nil // the peer is there, its worker is stuck
			}
		}
	}
	switch {
	case err == nil && answer == answerAccepted:
		_ = peer.SetDeadline(time.Time{})
		return peer, nil
	case err == nil && answer == answerRefused:
		err = errPeerRefused
	case err == nil:
		err = fmt.Errorf("unknown answer %d", answer)
	}
	peer.Close()
	return nil, err
}

func exchange(peer net.Conn, p preamble) (answer byte, err error) {
	if _, err := peer.Write(p.append(nil)); err != nil {
		return 0, fmt.Errorf("send the preamble: %w", err)
	}
	return readAnswer(peer)
}

func readAnswer(peer net.Conn) (byte, error) {
	var b [1]byte
	if _, err := io.ReadFull(peer, b[:]); err != nil {
		return 0, fmt.Errorf("wait for the answer: %w", err)
	}
	return b[0], nil
}
