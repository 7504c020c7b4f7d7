package proxy

import "sync/atomic"

type counters struct {
	accepted, closed, handedOff, forwardedOut, forwardedIn, refused, retried, stopped, hedged, unhedged, rescued atomic.Uint64
	hedging                                                                                                      atomic.Int64 // connections for which two targets are asked now (count)
}

// Stats are the totals of the data path since the start (counts). Accepted = Closed + Open.
type Stats struct {
	Accepted     uint64 // Accepted connections, from clients and from peers
	Closed       uint64 // Closed of these, for whatever reason
	Open         uint64
	HandedOff    uint64 // HandedOff is the number of sockets that workers took.
	ForwardedOut uint64 // ForwardedOut is the number of connections that peers took.
	ForwardedIn  uint64 // ForwardedIn is the number of connections that came from peers and were taken.
	Refused      uint64 // Refused connections: reset, because nobody could serve them
	Retried      uint64 // Retried is how often a target did not take a connection and another was asked.
	Hedged       uint64 // Hedged is how often a peer did not answer soon, and another target was asked as well.
	Unhedged     uint64 // Unhedged is how often that was not allowed, because too many were asked for twice.
	Rescued      uint64 // Rescued is how often a connection that a worker did not accept was taken back, and given to another; it counts as accepted once more.
	TimedOut     uint64 // TimedOut is how many relayed connections were reset because no byte moved (SetIdle).
	Stopped      uint64 // Stopped is how often a connection found no room among the relays, and waited or was refused.
}

// Stats returns the totals.
func (s *Server) Stats() Stats {
	c := &s.stats
	out := Stats{Closed: c.closed.Load(), HandedOff: c.handedOff.Load(), ForwardedOut: c.forwardedOut.Load(),
		ForwardedIn: c.forwardedIn.Load(), Refused: c.refused.Load(), Retried: c.retried.Load(), Stopped: c.stopped.Load(),
		Hedged: c.hedged.Load(), Unhedged: c.unhedged.Load(), Rescued: c.rescued.Load()}
	if s.way.engine != nil {
		out.TimedOut = s.way.engine.Stats().TimedOut
	}
	out.Accepted = c.accepted.Load() // after closed, so that Open is never negative
	out.Open = out.Accepted - out.Closed
	return out
}
