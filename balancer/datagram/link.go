package datagram

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"meshnode/balancer"
)

// dialLimit is how long a peer may take to answer the opening of a stream.
const dialLimit = time.Second

// link is the way to a peer for all sessions that go there.
type link struct {
	stream
	node string

	mu       sync.Mutex // guards all below
	sessions map[uint32]*session
	fresh    []*session // begun since the peer was heard
	next     uint32
	unused   int // pings since there was a session
	conn     net.Conn
	dead     bool
}

// linkTo returns the link to a peer. It may still be being opened: what is sent waits, within the bound of its queue.
func (s *Server) linkTo(node string) (*link, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	l := s.links[node]
	if l == nil {
		l = &link{stream: newStream(s), node: node, sessions: make(map[uint32]*session)}
		s.links[node] = l
		s.wg.Go(l.run)
	}
	return l, nil
}

// run opens the stream and serves it to its end.
func (l *link) run() {
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	go func() { // ends with cancel
		select {
		case <-l.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	c, err := l.s.o.DialPeer(ctx, l.node)
	cancel()
	if err != nil {
		l.fail(fmt.Errorf("open a stream: %w", err))
		return
	}
	l.mu.Lock()
	l.conn = c
	dead := l.dead
	l.mu.Unlock()
	if dead {
		c.Close()
		return
	}
	var reading sync.WaitGroup
	reading.Go(func() { l.fail(readFrames(c, silenceLimit, l.take)) })
	t := time.NewTicker(pingEvery)
	defer t.Stop()
	l.fail(l.write(c, t.C, l.ping))
	c.Close()
	reading.Wait()
}

// ping asks whether the peer is there. A link that no session has used for a while is closed.
func (l *link) ping() {
	l.mu.Lock()
	l.unused++
	if len(l.sessions) > 0 {
		l.unused = 0
	}
	idle := time.Duration(l.unused)*pingEvery >= l.s.o.Idle
	l.mu.Unlock()
	if idle {
		l.fail(nil)
		return
	}
	l.put(head(framePing, 0, 0))
}

// take is the peer's word.
func (l *link) take(kind byte, number uint32, payload []byte) error {
	l.mu.Lock()
	x, fresh := l.sessions[number], l.fresh
	l.fresh = nil
	l.mu.Unlock()
	for _, x := range fresh {
		x.claim.Taken()
	}
	switch {
	case kind == framePong || x == nil: // it ended here
	case kind == frameData:
		x.use()
		x.answer(payload)
	case kind == frameClose:
		x.fail(balancer.DoneInfo{Now: time.Now(), Refused: true})
	default:
		return errFrame
	}
	return nil
}

// fail ends the link and all of its sessions, which begin anew elsewhere with their next datagrams.
func (l *link) fail(err error) {
	l.once.Do(func() {
		l.s.mu.Lock()
		if l.s.links[l.node] == l {
			delete(l.s.links, l.node)
			if err != nil {
				l.s.failed[l.node] = time.Now()
			}
		}
		l.s.mu.Unlock()
		l.mu.Lock()
		l.dead = true
		gone, c := l.sessions, l.conn
		l.sessions, l.fresh = nil, nil
		l.mu.Unlock()
		close(l.done)
		if c != nil {
			c.Close()
		}
		if err != nil && len(gone) > 0 && l.s.mayWarn() {
			l.s.log.Warn("datagrams for a peer go elsewhere", "peer", l.node, "count", len(gone), "err", err)
		}
		for _, x := range gone {
			x.fail(balancer.DoneInfo{Now: time.Now(), Failed: err != nil})
		}
	})
}

// open begins a session at the peer.
func (l *link) open(x *session, id socketID, client netip.AddrPort) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead {
		return net.ErrClosed
	}
	l.next++
	if !l.put(opening{id, client}.frame(l.next)) {
		return fmt.Errorf("the stream to %s takes no more", l.node)
	}
	l.sessions[l.next] = x
	l.fresh = append(l.fresh, x)
	x.way = &peerWay{l, l.next}
	return nil
}

// peerWay is the way of one session over a link.
type peerWay struct {
	l      *link
	number uint32
}

func (w *peerWay) send(payload []byte) {
	if w.l.put(dataFrame(w.number, payload)) {
		w.l.s.stats.forwarded.Add(1)
	}
}

func (w *peerWay) end() {
	w.l.mu.Lock()
	_, known := w.l.sessions[w.number]
	delete(w.l.sessions, w.number)
	w.l.mu.Unlock()
	if known {
		w.l.put(head(frameClose, w.number, 0))
	}
}
