package spec

import (
	"errors"
	"fmt"
)

// Policy is how connections are spread over the workers of an app.
type Policy string

const (
	// PolicyLeastLoad sends a connection where it is expected to be served soonest.
	PolicyLeastLoad Policy = "least_load"
	// PolicyRoundRobin sends connections to one worker of the cluster after the other.
	PolicyRoundRobin Policy = "round_robin"
	// PolicyLeastConnections sends a connection where the node that accepted it has the fewest per worker.
	PolicyLeastConnections Policy = "least_connections"
	// PolicyRandom sends a connection to any worker of the cluster.
	PolicyRandom Policy = "random"
	// PolicyHash sends a client always to the same worker, by its address.
	PolicyHash Policy = "hash"
)

// Limits of Balance.
const (
	// MaxQueue is the largest number of connections of an app that wait on one node.
	MaxQueue = 65536
	// MaxDraws is the largest number of peers that are compared.
	MaxDraws = 64
)

// Balance says how connections are spread over the workers. It holds from the next connection on, with no worker replaced. What is zero has the
// default of the node that carries it out, so that an app that says nothing is stored as it always was.
type Balance struct {
	Policy Policy `json:"policy,omitempty"`
	// Concurrency is how many connections a worker serves at once without one waiting for another, such as its threads (count); 0 for 1.
	Concurrency int `json:"concurrency,omitempty"`
	// MaxConnections is how many connections a worker may have (count); 0 for no limit.
	MaxConnections int `json:"max_connections,omitempty"`
	// SoftLimit is how many it has before others that have fewer are preferred (count); 0 for Concurrency, or none if that is 0 too.
	SoftLimit int `json:"soft_limit,omitempty"`
	// Queue is how many connections wait on a node while every worker has all it may have (count); negative for none.
	Queue int `json:"queue,omitempty"`
	// QueueTimeout is how long each of them may wait, in seconds.
	QueueTimeout float64 `json:"queue_timeout_seconds,omitempty"`
	// SlowStart is how long a worker that begins to serve gets less than its share, in seconds; 0 for not at all.
	SlowStart float64 `json:"slow_start_seconds,omitempty"`
	// Draws is how many peers are compared with the node itself (count).
	Draws int `json:"draws,omitempty"`
	// Margin is what a peer must be better by, and ZoneMargin one in another zone beyond that, in median service times; negative for
	// nothing.
	Margin     float64 `json:"margin,omitempty"`
	ZoneMargin float64 `json:"zone_margin,omitempty"`
}

func (b Balance) validate() error {
	problems := []error{
		validateRange("balance.concurrency", float64(b.Concurrency), 1<<20),
		validateRange("balance.max_connections", float64(b.MaxConnections), 1<<20),
		validateRange("balance.soft_limit", float64(b.SoftLimit), 1<<20),
		validateRange("balance.queue", float64(max(b.Queue, 0)), MaxQueue),
		validateRange("balance.queue_timeout_seconds", b.QueueTimeout, MaxTimeout),
		validateRange("balance.slow_start_seconds", b.SlowStart, MaxTimeout),
		validateRange("balance.draws", float64(b.Draws), MaxDraws),
		validateRange("balance.margin", max(b.Margin, 0), 1000),
		validateRange("balance.zone_margin", max(b.ZoneMargin, 0), 1000),
	}
	if b.Policy != "" {
		problems = append(problems, oneOf("balance.policy", b.Policy, PolicyLeastLoad, PolicyRoundRobin, PolicyLeastConnections, PolicyRandom, PolicyHash))
	}
	if b.MaxConnections > 0 && b.SoftLimit > b.MaxConnections {
		problems = append(problems, fmt.Errorf("balance.soft_limit: %d is more than balance.max_connections, which is %d", b.SoftLimit, b.MaxConnections))
	}
	return errors.Join(problems...)
}
