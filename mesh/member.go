package mesh

import (
	"errors"
	"time"
)

// Errors that callers branch on.
var (
	// ErrOtherCluster says that a node belongs to another cluster under the same key: the two never mix.
	ErrOtherCluster = errors.New("the node belongs to another cluster")
	// ErrMetadataTooLarge says that this node's tags, zone and version do not fit into gossip.
	ErrMetadataTooLarge = errors.New("tags, zone and version together are too long for gossip (512 bytes): use fewer or shorter tags")
	// ErrNotFailed says that only a member that has failed can be dismissed.
	ErrNotFailed = errors.New("it is no failed member")
	// ErrClosed says that the mesh has been closed.
	ErrClosed = errors.New("the mesh is closed")
)

// Status says how a member is doing, as this node sees it.
type Status string

// The states of a member.
const (
	// Alive: gossip reaches it.
	Alive Status = "alive"
	// Suspect: gossip still counts it as alive, but its load stream has been silent for a second or more. Only members of the aperture can be
	// suspect; to everything but routing they are alive.
	Suspect Status = "suspect"
	// Failed: gossip declared it dead, and it had not said that it leaves.
	Failed Status = "failed"
	// Left: it said that it leaves.
	Left Status = "left"
)

// Up says that gossip counts the member as alive, be it heard this moment or not.
func (s Status) Up() bool { return s == Alive || s == Suspect }

// Member is one node as gossip sees it. Values given out by this package share their Tags and must not be changed.
type Member struct {
	// Name is the node name, unique in the cluster, at most 128 bytes.
	Name string
	// ID is the node's own identifier, never reused.
	ID string
	// Addr is the advertised address of the peer port, "ip:port".
	Addr string
	// Status is how it is doing.
	Status Status
	// Cluster is the ID of the cluster it belongs to; empty as long as it belongs to none. At most 64 bytes.
	Cluster string
	// Version is the version of its binary.
	Version string
	// Zone is the failure zone it was started with.
	Zone string
	// Weight is the share of connections that each of its workers gets beside those of other nodes; 0 = 1.
	Weight float64
	// Tags are the tags it was started with.
	Tags map[string]string
	// Cores is the number of cores it uses for workers.
	Cores int
	// StartedAt is when its process started, by its own clock, to the millisecond.
	StartedAt time.Time
	// Since is when it came into its status, by our clock.
	Since time.Time
}

// PeerLoad is the latest load record of a peer.
type PeerLoad struct {
	Load
	// ReceivedAt is when the record arrived, by our clock.
	ReceivedAt time.Time
	// Link says that the peer's load stream is alive and the peer does not drain: new connections may be sent there.
	Link bool
}
