package balancer

import "time"

// The policies.
const (
	PolicyLeastLoad        = "least_load"        // PolicyLeastLoad: where the connection is expected to be served soonest.
	PolicyRoundRobin       = "round_robin"       // PolicyRoundRobin: one worker after the other, over the whole cluster.
	PolicyLeastConnections = "least_connections" // PolicyLeastConnections: where this node has the fewest connections per worker.
	PolicyRandom           = "random"            // PolicyRandom: any worker of the cluster.
	PolicyHash             = "hash"              // PolicyHash: always the same worker for the same client address.
)

// Settings say how the connections of one app are placed. They may change at any time and hold from the next pick on.
type Settings struct {
	// Policy is one of the policies; another word is PolicyLeastLoad.
	Policy string
	// Draws is how many peers of each zone are compared with this node by PolicyLeastLoad (count, at least 1); of three or fewer all are.
	Draws int
	// Margin is what a forward must gain beyond its hop, ZoneMargin what one into another zone must gain beyond that, in median service
	// times.
	Margin, ZoneMargin float64
	// SlowStart is how long workers that begin to serve are given less than their share; 0 = not at all.
	SlowStart time.Duration
	// Concurrency is how many connections a worker serves at once without one waiting for the other (count); 0 = 1.
	Concurrency int
	// MaxConnections is how many connections a worker may have (count); 0 = no bound.
	MaxConnections int
	// SoftLimit is how many connections a worker has before others that have fewer are preferred (count); 0 = no bound.
	SoftLimit int
	// Queue is how many connections may wait at this node when every worker has all it may have (count).
	Queue int
	// QueueTimeout is how long each of them may wait.
	QueueTimeout time.Duration
}

// Defaults of Settings; DESIGN.md says where each comes from.
const (
	DefaultDraws        = 2
	DefaultMargin       = 0.25
	DefaultZoneMargin   = 1
	DefaultQueue        = 1024
	DefaultQueueTimeout = 5 * time.Second
)

// DefaultSettings are the settings of an app that says nothing.
func DefaultSettings() Settings {
	return Settings{Policy: PolicyLeastLoad, Draws: DefaultDraws, Margin: DefaultMargin, ZoneMargin: DefaultZoneMargin,
		Queue: DefaultQueue, QueueTimeout: DefaultQueueTimeout}
}

// concurrency is how many connections a worker serves at once.
func (s *Settings) concurrency() int { return max(s.Concurrency, 1) }

// Node is what is known of a node beside its load.
type Node struct {
	Zone   string  // Zone it stands in; empty = none
	Weight float64 // Weight of each of its workers beside those of other nodes; 0 = 1
}

// weight is the share of each worker.
func (n Node) weight() float64 {
	if n.Weight <= 0 {
		return 1
	}
	return n.Weight
}

// far tells that a connection from here to there crosses zones.
func (n Node) far(there Node) bool { return n.Zone != "" && there.Zone != "" && n.Zone != there.Zone }

// rampFloor is the least share of workers that begin to serve (Envoy's slow start).
const rampFloor = 0.1

// ramp is the share of what began to serve at since, in [rampFloor,1].
func (s *Settings) ramp(since, now time.Time) float64 {
	if s.SlowStart <= 0 || since.IsZero() {
		return 1
	}
	return min(max(rampFloor, float64(now.Sub(since))/float64(s.SlowStart)), 1)
}
