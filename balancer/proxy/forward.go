package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"

	"meshnode/balancer"
)

// noRemote means that the socket's own peer is the client.
var noRemote netip.AddrPort

// forward takes c to a peer. No byte of the client is sent before the peer said that it accepts.
func (s *Server) forward(c *conn, r balancer.PickResult) {
	begun := time.Now()
	peer, err := s.ask(r.Target.ID, preamble{App: c.app, Key: c.key, Client: c.client})
	if err != nil {
		s.log.Debug("forward failed", "peer", r.Target.ID, "app", c.app, "err", err)
		c.again(r, err != errPeerRefused)
		s.place(c)
		return
	}
	s.o.Balancer.ObserveHop(time.Since(begun))
	s.stats.forwardedOut.Add(1)
	r.Taken()
	client, err := c.socket()
	if err != nil {
		peer.Close()
	} else {
		s.relay(client, peer)
	}
	r.Done(balancer.DoneInfo{Now: time.Now()})
	c.end()
}

// ask opens a stream to the peer and waits for its answer. A stopped process still accepts connections: only the answer says that somebody
// is there, so it has a limit, and dialing falls under it.
func (s *Server) ask(node string, p preamble) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	peer, err := s.o.DialPeer(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", node, err)
	}
	deadline, _ := ctx.Deadline()
	_ = peer.SetDeadline(deadline)
	if err := exchange(peer, p); err != nil {
		peer.Close()
		return nil, err
	}
	_ = peer.SetDeadline(time.Time{})
	return peer, nil
}

func exchange(peer net.Conn, p preamble) error {
	if _, err := peer.Write(p.append(nil)); err != nil {
		return fmt.Errorf("send the preamble: %w", err)
	}
	var b [1]byte
	if _, err := io.ReadFull(peer, b[:]); err != nil {
		return fmt.Errorf("wait for the answer: %w", err)
	}
	switch b[0] {
	case answerAccepted:
		return nil
	case answerRefused:
		return errPeerRefused
	}
	return fmt.Errorf("unknown answer %d", b[0])
}
