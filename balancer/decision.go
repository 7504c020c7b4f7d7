package balancer

import (
	"net/netip"
	"time"
)

// State says whether a candidate could be asked.
type State uint8

// The states of a candidate.
const (
	StateFree    State = iota // StateFree: it could take the connection.
	StateTried                // StateTried: it has refused this connection.
	StateEjected              // StateEjected: it did not answer, and is left alone for a while.
	StateFull                 // StateFull: its workers have all the connections that they may have.
	StateSilent               // StateSilent: it is not heard at this moment.
	StateIdle                 // StateIdle: it has no worker for this app.
	StateBlocked              // StateBlocked: its workers take nothing that they are offered.
	StateHung                 // StateHung: its workers accept nothing at this moment; asked only where nobody else can be.
)

// String returns the state in words.
func (s State) String() string {
	return [...]string{"free", "refused", "ejected", "full", "silent", "no worker", "blocked", "hung"}[s]
}

// Reason says why a decision went as it did.
type Reason uint8

// The reasons of decisions.
const (
	WhyNobody       Reason = iota // WhyNobody: no worker anywhere.
	WhyIdle                       // WhyIdle: a worker here is idle.
	WhyOnlyHere                   // WhyOnlyHere: no peer could take it.
	WhyOnlyThere                  // WhyOnlyThere: nobody here could take it.
	WhyCheaperHere                // WhyCheaperHere: no peer is better by more than the way costs.
	WhyCheaperThere               // WhyCheaperThere: a peer is better by more than the way costs.
	WhySoft                       // WhySoft: here the soft limit is not reached, there it is.
	WhyForwarded                  // WhyForwarded: it came from a peer, and is never forwarded again.
	WhyTurn                       // WhyTurn: it is its turn.
	WhyFewest                     // WhyFewest: it has the fewest connections per worker.
	WhyChance                     // WhyChance: by chance.
	WhyAddress                    // WhyAddress: by the client's address.
	WhyFull                       // WhyFull: everybody has all he may have; it waits.
	WhyFaster                     // WhyFaster: only slow ones have room, and a faster one will sooner; it waits.
	WhyLine                       // WhyLine: others wait already; it waits behind them.
	WhyBlocked                    // WhyBlocked: the workers here take nothing; it waits.
	WhyHungHere                   // WhyHungHere: the workers here accept nothing, those of the peer do.
	WhyHungThere                  // WhyHungThere: the peer's workers accept nothing, those here do.
)

// String returns the reason in a few words that are the same for ever.
func (r Reason) String() string {
	return [...]string{"nobody", "idle here", "only here", "only there", "cheaper here", "cheaper there", "soft limit", "forwarded", "turn", "fewest",
		"chance", "address", "full", "wait for faster", "behind others", "blocked", "hung here", "hung there"}[r]
}

// Candidate is a node as a decision saw it.
type Candidate struct {
	Node    string        // Node is the peer's name, empty for this node.
	State   State         // State says whether it could be asked.
	Drawn   bool          // Drawn is set where it was compared with this node.
	Far     bool          // Far is set where it is in another zone.
	Load    Load          // Load that it was reckoned with
	Free    int           // Free connections until its hard limit (count); -1 = no limit
	Cost    time.Duration // Cost is the expected wait and service there, the way not included.
	Score   float64       // Score is what a policy other than PolicyLeastLoad compares: the least has the connection.
	Age     time.Duration // Age of its report
	Ejected time.Duration // Ejected is for how long from now.
}

// Decision is how one connection was placed, or would be.
type Decision struct {
	At         time.Time
	Client     netip.Addr
	Policy     string
	Target     Target // Target that was chosen; zero = none
	Why        Reason
	Median     time.Duration // Median of the nodes' service times
	Hop        time.Duration // Hop is what a forward costs.
	Margin     time.Duration // Margin is what a forward must gain beyond that.
	ZoneMargin time.Duration // ZoneMargin is what one to another zone must gain beyond that.
	Waiting    int           // Waiting connections at this node (count)
	Peers      int           // Peers that serve the app and are heard (count)
	Considered []Candidate   // Considered nodes, this one first; the last decisions keep a few.
}

// add notes a candidate, while there is room: a record has a fixed size.
func (d *Decision) add(c Candidate) {
	if len(d.Considered) < cap(d.Considered) {
		d.Considered = append(d.Considered, c)
	}
}

// Bounds of the record of the last decisions.
const (
	decisionsKept  = 64
	consideredKept = 5
)

// record keeps the last decisions of a picker. Their memory is used again and again: a pick allocates nothing for it.
type record struct {
	ring []Decision
	next int
}

func newRecord() record {
	r := record{ring: make([]Decision, decisionsKept)}
	all := make([]Candidate, decisionsKept*consideredKept)
	for i := range r.ring {
		r.ring[i].Considered = all[:0:consideredKept]
		all = all[consideredKept:]
	}
	return r
}

// open returns the place of the next decision, emptied.
func (r *record) open() *Decision {
	d := &r.ring[r.next]
	*d = Decision{Considered: d.Considered[:0]}
	return d
}

// keep makes the place of the present decision one of the last.
func (r *record) keep() { r.next = (r.next + 1) % len(r.ring) }

// last returns copies of the last n decisions, the newest first.
func (r *record) last(n int) []Decision {
	var out []Decision
	for i := range min(n, len(r.ring)) {
		d := r.ring[(r.next-1-i+2*len(r.ring))%len(r.ring)]
		if d.At.IsZero() {
			break
		}
		d.Considered = append([]Candidate(nil), d.Considered...)
		out = append(out, d)
	}
	return out
}

// figures is what is known of a peer.
func (v *view) figures(p *peerApp, l Load, c time.Duration, s State) Candidate {
	if s == StateFree && p.report.Hung {
		s = StateHung
	}
	out := Candidate{Node: p.name, State: s, Far: v.links.facts().far(p.node), Load: l, Free: -1, Cost: c, Age: v.info.Now.Sub(p.receivedAt)}
	if limit := v.set.MaxConnections; limit > 0 {
		out.Free = p.free(limit, v.info.Now, v.median)
	}
	return out
}
