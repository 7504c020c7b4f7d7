package proxy

import (
	"math/rand/v2"
	"slices"
	"time"

	"meshnode/balancer"
)

const (
	// hedgeLeast and hedgeHops say when a peer that has said nothing counts as slow to answer: after so long, and after so many times what a
	// peer usually takes.
	hedgeLeast = 20 * time.Millisecond
	hedgeHops  = 4
	// hedgesMost and hedgeShare bound how many connections are asked for twice at the same time (count): so many, and one of so many relayed.
	// When all peers are slow, asking more of them makes it worse.
	hedgesMost = 8
	hedgeShare = 10
)

// hedgeAfter is how long a peer may say nothing before another target is asked as well.
func (s *Server) hedgeAfter() time.Duration {
	return max(hedgeLeast, hedgeHops*s.o.Balancer.Hop())
}

// hedge asks another target while the first has not answered; done is false if there is none that may be asked, and c waits for the first.
func (s *Server) hedge(c *conn, first *asking) (done, taken bool) {
	if s.stats.hedging.Add(1) > hedgesMost+int64(len(s.relays)/hedgeShare) {
		s.stats.hedging.Add(-1)
		s.stats.unhedged.Add(1)
		return false, false
	}
	defer s.stats.hedging.Add(-1)
	r, err := c.picker.Pick(balancer.PickInfo{Now: time.Now(), Rand: rand.Uint64(), Tried: append(slices.Clip(c.tried), first.r.Target.ID)})
	if err != nil {
		return false, false
	}
	s.stats.hedged.Add(1)
	if r.Target.Kind == balancer.KindPeer {
		return true, s.race(c, first, s.asks(c, r))
	}
	// What is given to a worker cannot be taken back, so the peer has lost its chance.
	first.leave()
	c.tried = append(c.tried, first.r.Target.ID)
	return true, s.give(c, r)
}

// race gives c to the peer that accepts first.
func (s *Server) race(c *conn, one, two *asking) bool {
	var a answered
	select {
	case a = <-one.answer:
	case a = <-two.answer:
		one, two = two, one
	}
	if a.err == nil {
		two.leave()
		return s.settle(c, one.r, a)
	}
	s.settle(c, one.r, a)
	return s.settle(c, two.r, <-two.answer)
}

// leave ends an attempt whose connection somebody else has. Nothing of the client was sent to the peer; what it answers still tells how it is.
func (a *asking) leave() {
	a.left.Store(true)
	a.s.wg.Go(func() { // the caller is waited for already
		got := <-a.answer
		if got.err == nil {
			got.peer.Close()
		}
		a.r.Done(balancer.DoneInfo{Now: time.Now(), Refused: got.err == nil || !failed(got.err), Failed: got.err != nil && failed(got.err)})
	})
}
