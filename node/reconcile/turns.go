package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Absence is how long a node may be away before a rollout goes on without it. It gets the release when it is back.
const Absence = 3 * time.Second

// Rolling is one picture of a release on its way over the nodes.
type Rolling struct {
	Turns  []string // Turns are the nodes that had their turn, in its order.
	Peers  []Peer   // Peers are all nodes of the cluster.
	Leader string   // Leader is the node that gives the turns.
}

// Peer is one node in the picture.
type Peer struct {
	Name    string
	Down    time.Duration // Down is for how long it has not lived; 0 while it lives.
	Left    bool          // Left: it said goodbye.
	Done    bool          // Done: all its workers are ready, and of the release that it may run.
	Failed  bool          // Failed: a worker of that release does not run.
	Why     string        // Why says how it failed, or how far it is.
	Working time.Duration // Working is for how long it has been seen to be neither.
	Limit   time.Duration // Limit is how long it may take.
}

// Move is what is to be done for a rollout now.
type Move uint8

// The moves.
const (
	Wait   Move = iota // Wait: the node whose turn it is works on.
	Turn               // Turn: the node gets its turn.
	Finish             // Finish: all have it.
	Refuse             // Refuse: it failed on the node; all go back.
)

// Next decides how a rollout goes on, and which node that is about. Nodes have their turn by name, the leader last: what a broken
// release does to its server should not cost the cluster the one that watches over the rollout. Why is the reason of a refusal.
func Next(r Rolling) (move Move, node, why string) {
	var rest []Peer
	waiting := false
	for _, p := range r.Peers {
		switch {
		case p.Left || p.Down > Absence:
		case !slices.Contains(r.Turns, p.Name):
			rest = append(rest, p)
		case p.Failed:
			return Refuse, p.Name, p.Why
		case p.Done:
		case p.Down == 0 && p.Working > p.Limit:
			return Refuse, p.Name, fmt.Sprintf("not done after %s (%s)", p.Limit, p.Why)
		default:
			waiting = true
		}
	}
	slices.SortFunc(rest, func(a, b Peer) int {
		return cmp.Or(later(a.Name == r.Leader, b.Name == r.Leader), cmp.Compare(a.Name, b.Name))
	})
	switch {
	case waiting:
		return Wait, "", ""
	case len(rest) == 0:
		return Finish, "", ""
	case rest[0].Down > 0: // it may be back in a moment
		return Wait, "", ""
	}
	return Turn, rest[0].Name, ""
}

// later orders what is false before what is true.
func later(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}
