package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync/atomic"
	"time"

	"meshnode/balancer"
)

// asking is one attempt to have a peer take a connection.
type asking struct {
	s      *Server
	r      balancer.PickResult
	p      preamble
	until  time.Time     // how long the connection may wait there, if the peer says that it does
	begun  time.Time     // when the attempt began
	heard  chan struct{} // closed when the peer says that the connection waits there
	answer chan answered // the one answer
	left   atomic.Bool   // somebody else takes the connection
	question
}

// question is what was asked on a stream.
type question struct {
	peer net.Conn
	turn int       // the how-manieth on its stream it is, from 0
	sent time.Time // when it went out
	got  []byte    // what has come of an answer
}

// answered is how an attempt ended: with a stream to relay to, or an error.
type answered struct {
	peer net.Conn
	err  error
}

// errStale means that a stream broke before the peer said anything on it.
var errStale = errors.New("the stream broke before an answer")

func (s *Server) newAsking(c *conn, r balancer.PickResult) *asking {
	return &asking{s: s, r: r, p: preamble{App: c.app, Key: c.key, Client: c.client, Local: c.local}, until: c.until, begun: time.Now(),
		heard: make(chan struct{}), answer: make(chan answered, 1)}
}

// asks begins to ask a peer.
func (s *Server) asks(c *conn, r balancer.PickResult) *asking {
	a := s.newAsking(c, r)
	a.goOn(a.ask)
	return a
}

// goOn has a goroutine do what is left for an answer.
func (a *asking) goOn(rest func() (net.Conn, error)) {
	a.s.wg.Go(func() { // the connection has a goroutine that is waited for already
		peer, err := rest()
		a.answer <- answered{peer, err}
	})
}

// atOnce asks over a stream that waits for use, and waits for the answer until then: nearly all come long before, and those take no
// goroutine. It returns what is left to do for an answer, nil if it is there.
func (a *asking) atOnce(until time.Time) (rest func() (net.Conn, error)) {
	if !a.take() {
		return a.dial
	}
	said, err := a.exchange(until)
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return func() (net.Conn, error) { return a.follow(a.hear(a.limit())) }
	case errors.Is(err, errStale):
		return a.anew
	case err == nil && said == answerQueued:
		close(a.heard)
		return a.wait
	}
	peer, err := a.conclude(said, err)
	a.answer <- answered{peer, err}
	return nil
}

// ask has a stream carry the question, one that waited for use or a new one, and waits for the answer. A stopped process still accepts
// connections: only an answer says that somebody is there, so the first has a limit, and dialing falls under it. If that says that a worker
// is busy, the other may take until the given time.
func (a *asking) ask() (net.Conn, error) {
	if !a.take() {
		return a.dial()
	}
	return a.follow(a.exchange(a.limit()))
}

// follow follows the first answer on a stream that waited for use, or the error in its place.
func (a *asking) follow(said byte, err error) (net.Conn, error) {
	if errors.Is(err, errStale) {
		return a.anew()
	}
	return a.conclude(said, err)
}

// limit is until when the first answer has to come.
func (a *asking) limit() time.Time { return a.begun.Add(answerLimit) }

// take takes a stream that waits for use, if there is one.
func (a *asking) take() bool {
	peer, turn := a.s.way.streams.take(a.r.Target.ID)
	a.question = question{peer: peer, turn: turn}
	return peer != nil
}

// anew asks over a new stream: the one that waited ended while it did, and the others may have as well.
func (a *asking) anew() (net.Conn, error) {
	a.peer.Close()
	a.s.DropStreams(a.r.Target.ID)
	return a.dial()
}

// dial asks over a new stream. How long it waits for others that dial the same peer is no matter of the peer's.
func (a *asking) dial() (net.Conn, error) {
	if !a.s.way.dials.enter(a.r.Target.ID, a.until, a.s.closing) {
		return nil, errCrowd
	}
	peer, err := a.open()
	a.s.way.dials.leave(a.r.Target.ID)
	if err != nil {
		return nil, err
	}
	a.question = question{peer: peer}
	return a.conclude(a.exchange(a.limit()))
}

// open opens a stream, unless somebody else has the connection by now.
func (a *asking) open() (net.Conn, error) {
	if a.left.Load() {
		return nil, errPeerRefused
	}
	a.begun = time.Now()
	ctx, cancel := context.WithDeadline(context.Background(), a.limit())
	defer cancel()
	peer, err := a.s.o.DialPeer(ctx, a.r.Target.ID)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", a.r.Target.ID, err)
	}
	return peer, nil
}

// exchange asks, and waits for the first answer until then. A stream that broke is errStale.
func (a *asking) exchange(until time.Time) (byte, error) {
	a.sent = time.Now()
	_ = a.peer.SetWriteDeadline(until)
	if _, err := a.peer.Write(signed(a.peer, turned(signPreamble, a.turn), a.p.append(nil))); err != nil {
		return 0, fmt.Errorf("%w: send the preamble: %w", errStale, err)
	}
	return a.hear(until)
}

// hear waits for an answer until then. When the time is over, it can be called again.
func (a *asking) hear(until time.Time) (byte, error) {
	_ = a.peer.SetReadDeadline(until)
	said, err := a.read(a.peer)
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) && !errors.Is(err, errForged) {
		err = fmt.Errorf("%w: %w", errStale, err)
	}
	if err == nil {
		a.s.o.Balancer.ObserveHop(time.Since(a.sent)) // what a busy worker takes beyond this is no matter of the way
	}
	return said, err
}

// conclude follows the first answer, or the error in its place.
func (a *asking) conclude(said byte, err error) (net.Conn, error) {
	if err == nil && said == answerQueued {
		close(a.heard)
		return a.wait()
	}
	return a.end(said, err)
}

// wait waits for the second answer, after the peer said that the connection is queued there.
func (a *asking) wait() (net.Conn, error) {
	if a.left.Load() {
		return a.end(0, errPeerRefused)
	}
	_ = a.peer.SetDeadline(a.until)
	said, err := a.read(a.peer)
	if err != nil {
		err = errPeerRefused // the peer is there, its worker is stuck or gone
	}
	return a.end(said, err)
}

// end returns the stream if the peer accepted, and else closes it, or keeps it for the next question.
func (a *asking) end(said byte, err error) (net.Conn, error) {
	switch {
	case err == nil && said == answerAccepted:
		_ = a.peer.SetDeadline(time.Time{})
		return a.peer, nil
	case err == nil && said == answerRefused:
		a.s.way.streams.put(a.r.Target.ID, a.peer, a.turn+1)
		return nil, errPeerRefused
	case err == nil:
		err = fmt.Errorf("unknown answer %d", said)
	}
	a.peer.Close()
	return nil, err
}

// read reads one answer, which may come in parts between two deadlines.
func (q *question) read(stream net.Conn) (byte, error) {
	size := 1 + macSize(stream)
	if q.got == nil {
		q.got = make([]byte, 0, size)
	}
	for len(q.got) < size {
		n, err := stream.Read(q.got[len(q.got):size])
		q.got = q.got[:len(q.got)+n]
		if err != nil && len(q.got) < size {
			return 0, fmt.Errorf("wait for the answer: %w", err)
		}
	}
	said, mac := q.got[:1], q.got[1:]
	q.got = q.got[:0]
	if !validMAC(stream, turned(signAnswer, q.turn), said, mac) {
		return 0, fmt.Errorf("wait for the answer: %w", errForged)
	}
	return said[0], nil
}
