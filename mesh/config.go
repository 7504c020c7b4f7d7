package mesh

import (
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// gossipProtocol is the version of what this package adds to gossip (metadata, user messages); nodes that do not share one do not join.
const gossipProtocol = 1

// The gossip profile. It finds a dead node in 1.5 to 3 s up to 100 nodes; memberlist's LAN profile takes 7 to 10 s. Many probes and many
// confirmations (suspicionMult less two) instead of few: how soon somebody probes a dead node is what the slowest cases waited for.
// A suspicion that nobody confirms is this node's own trouble, more often than not, and has suspicionMax times as long.
const (
	probeInterval  = 250 * time.Millisecond
	probeTimeout   = 150 * time.Millisecond
	suspicionMult  = 5
	suspicionMax   = 5
	gossipInterval = 100 * time.Millisecond
	// pushPullInterval is how often full state is exchanged with one peer: it ends the time in which a peer that missed a packet is wrong, so it is
	// shorter than memberlist's 30 s.
	pushPullInterval = 10 * time.Second
	// reclaimTime is how long a failed member keeps its address against a node with the same name and another address: time to refute its death.
	reclaimTime = time.Second
	// streamTimeout bounds a state exchange, connecting included.
	streamTimeout = 5 * time.Second
)

// profile returns memberlist's configuration for o.
func profile(o Options, addr advertised, t *transport, d *delegate, logger hclog.Logger) (*memberlist.Config, error) {
	c := memberlist.DefaultLANConfig()
	c.Name = o.Self.Name
	c.Transport = t
	c.AdvertiseAddr, c.AdvertisePort, c.BindPort = addr.ip.String(), addr.port, addr.port
	c.ProbeInterval, c.ProbeTimeout = probeInterval, probeTimeout
	c.SuspicionMult, c.SuspicionMaxTimeoutMult = suspicionMult, suspicionMax
	c.GossipInterval = gossipInterval
	c.PushPullInterval = pushPullInterval
	c.DeadNodeReclaimTime = reclaimTime
	c.TCPTimeout = streamTimeout
	// Our packets are small: compression would cost processor time on every one and gain nothing.
	c.EnableCompression = false
	keys, err := keyring(o)
	if err != nil {
		return nil, err
	}
	c.Keyring = keys
	c.DelegateProtocolVersion, c.DelegateProtocolMin, c.DelegateProtocolMax = gossipProtocol, gossipProtocol, gossipProtocol
	c.Delegate, c.Events, c.Alive, c.Merge, c.Conflict = d, d, d, d, d
	c.Logger = newMemberLog(logger)
	return c, nil
}
