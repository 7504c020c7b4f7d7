package balancer

import "time"

// Constants of the default policy (DESIGN.md says where each comes from).
const (
	draws  = 2   // peers compared with the local workers
	margin = 0.2 // of the median service time: what a forward must gain beyond its hop
	// longWeight is the cost of one long-lived connection per worker, in median service times. Long-lived connections are
	// placed by count, and a worker that is held by one is a worse choice than an idle one on a peer.
	longWeight = 2
)

// View is all that a decision looks at: this node's workers and the peers that could take the connection.
type View struct {
	Local  bool          // Local: a local worker has room
	Idle   bool          // Idle: that worker has no connection at all
	Self   Load          // Self is this node's own load, exact
	Peers  []PeerLoad    // Peers that are reachable and ready, not yet tried
	Median time.Duration // Median service time over the nodes
	Hop    time.Duration // Hop is what a forward costs
	Rand   uint64        // Rand is entropy for the draws
}

// serveHere tells that no peer can do better: a local worker is idle, and no slower than most.
func (v View) serveHere() bool {
	return v.Local && v.Idle && smoothService(v.Self.Service, v.Median) <= v.Median
}

// Load is how busy the workers of one app on one node are.
type Load struct {
	Ready   int           // Ready workers (count)
	Open    float64       // Open short connections (count, estimated for peers)
	Long    float64       // Long-lived connections (count)
	Service time.Duration // Service is the smoothed service time, 0 = not known
}

// PeerLoad is the load of one peer.
type PeerLoad struct {
	Name string
	Load
}

// Policy chooses between serving locally and forwarding. Choose returns the peer's name, or "" for a local worker. It is called
// only with at least one of the two possible, and may reorder v.Peers. Implementations are pure.
type Policy interface {
	Choose(v View) string
}

// LeastLoad is the default policy: local while a worker is idle, else the peer that is cheaper by more than the hop and a
// margin, out of two drawn at random.
type LeastLoad struct{}

// Choose implements Policy.
// Source: Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", IEEE TPDS 2001.
func (LeastLoad) Choose(v View) string {
	if v.serveHere() || len(v.Peers) == 0 {
		return ""
	}
	best, bestCost := "", time.Duration(0)
	for i := range min(draws, len(v.Peers)) {
		// a partial Fisher-Yates shuffle: distinct peers, each draw uniform over the rest
		j := i + int(v.Rand>>(32*i)%uint64(len(v.Peers)-i))
		v.Peers[i], v.Peers[j] = v.Peers[j], v.Peers[i]
		p := v.Peers[i]
		if c := cost(p.Load, v); best == "" || c < bestCost {
			best, bestCost = p.Name, c
		}
	}
	if !v.Local {
		return best
	}
	if bestCost+v.Hop+time.Duration(margin*float64(v.Median)) < cost(v.Self, v) {
		return best
	}
	return ""
}

// cost is the time a new connection is expected to wait and be served on a node with load l.
func cost(l Load, v View) time.Duration {
	service := float64(smoothService(l.Service, v.Median))
	workers := float64(max(l.Ready, 1))
	wait := max(0, l.Open+1-workers) / workers * service
	held := l.Long / workers * (longWeight*float64(v.Median) + 2*float64(v.Hop))
	return time.Duration(wait + service + held)
}
