package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// noRemote means that the socket's own peer is the client.
var noRemote netip.AddrPort

// asking is one attempt to have a peer take a connection.
type asking struct {
	s      *Server
	r      balancer.PickResult
	heard  chan struct{} // closed when the peer says that the connection waits there
	answer chan answered // the one answer
	left   atomic.Bool   // somebody else takes the connection
	turn   int           // the how-manieth question on its stream this is, from 0
}

// answered is how an attempt ended: with a stream to relay to, or an error.
type answered struct {
	peer net.Conn
	err  error
}

// forward takes c to a peer, and has it relayed; false means that nobody took it. No byte of the client is sent before a peer said that it
// accepts. A peer that does not say a word may be stopped: then another target is asked as well, and who accepts first has the connection.
func (s *Server) forward(c *conn, r balancer.PickResult) bool {
	first := s.asks(c, r)
	t := time.NewTimer(s.hedgeAfter())
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
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.EADDRNOTAVAIL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// asks begins to ask a peer.
func (s *Server) asks(c *conn, r balancer.PickResult) *asking {
	a := &asking{s: s, r: r, heard: make(chan struct{}), answer: make(chan answered, 1)}
	p, until := preamble{App: c.app, Key: c.key, Client: c.client, Local: c.local}, c.until
	s.wg.Go(func() { // c has a goroutine that is waited for already
		peer, err := a.ask(p, until)
		a.answer <- answered{peer, err}
	})
	return a
}

// ask has a stream carry the question, one that waited for use or a new one, and waits for the answer. A stopped process still accepts
// connections: only an answer says that somebody is there, so the first has a limit, and dialing falls under it. If that says that a worker
// is busy, the other may take until the given time.
func (a *asking) ask(p preamble, until time.Time) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	node := a.r.Target.ID
	if peer, turn := a.s.way.streams.take(node); peer != nil {
		a.turn = turn
		out, err := a.on(ctx, peer, p, until)
		if !errors.Is(err, errStale) {
			return out, err
		}
		a.s.DropStreams(node) // it ended while it waited; the others may have as well
	}
	peer, err := a.s.o.DialPeer(ctx, node)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", node, err)
	}
	a.turn = 0
	return a.on(ctx, peer, p, until)
}

// errStale means that a stream broke before the peer said anything on it.
var errStale = errors.New("the stream broke before an answer")

// on asks over a stream, which it closes unless the peer accepts.
func (a *asking) on(ctx context.Context, peer net.Conn, p preamble, until time.Time) (net.Conn, error) {
	begun := time.Now()
	deadline, _ := ctx.Deadline()
	_ = peer.SetDeadline(deadline)
	answer, err := exchange(peer, p, a.turn)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errForged) {
		err = fmt.Errorf("%w: %w", errStale, err)
	}
	if err == nil {
		a.s.o.Balancer.ObserveHop(time.Since(begun)) // what a busy worker takes beyond this is no matter of the way
		if answer == answerQueued {
			close(a.heard)
			if answer = answerRefused; !a.left.Load() {
				_ = peer.SetDeadline(until)
				if answer, err = readAnswer(peer, a.turn); err != nil {
					peer.Close() // the peer is there, its worker is stuck or gone
					return nil, errPeerRefused
				}
			}
		}
	}
	switch {
	case err == nil && answer == answerAccepted:
		_ = peer.SetDeadline(time.Time{})
		return peer, nil
	case err == nil && answer == answerRefused && !a.left.Load():
		a.s.way.streams.put(a.r.Target.ID, peer, a.turn+1)
		return nil, errPeerRefused
	case err == nil && answer == answerRefused:
		err = errPeerRefused
	case err == nil:
		err = fmt.Errorf("unknown answer %d", answer)
	}
	peer.Close()
	return nil, err
}

// exchange asks, as the how-manieth question on the stream, and reads the first answer.
func exchange(peer net.Conn, p preamble, turn int) (answer byte, err error) {
	if _, err := peer.Write(signed(peer, turned(signPreamble, turn), p.append(nil))); err != nil {
		return 0, fmt.Errorf("send the preamble: %w", err)
	}
	return readAnswer(peer, turn)
}

func readAnswer(peer net.Conn, turn int) (byte, error) {
	var b [1]byte
	if _, err := io.ReadFull(peer, b[:]); err != nil {
		return 0, fmt.Errorf("wait for the answer: %w", err)
	}
	if err := checkSigned(peer, turned(signAnswer, turn), b[:]); err != nil {
		return 0, fmt.Errorf("wait for the answer: %w", err)
	}
	return b[0], nil
}
