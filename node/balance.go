package node

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"meshnode/balancer"
	"meshnode/node/api"
	"meshnode/store/spec"
)

// keepBalance follows the configuration with the settings of the apps' pickers: they hold from the next connection on.
func (n *Node) keepBalance(ctx context.Context) {
	for c := range n.store.Watch(ctx) {
		for name, app := range c.Apps {
			n.bal.Picker(name).Configure(balanceOf(app.Balance))
		}
	}
}

// balanceOf are the balancer's settings for what an app asks for.
func balanceOf(b spec.Balance) balancer.Settings {
	s := balancer.DefaultSettings()
	if b.Policy != "" {
		s.Policy = string(b.Policy)
	}
	s.Concurrency, s.MaxConnections, s.SoftLimit = b.Concurrency, b.MaxConnections, cmp.Or(b.SoftLimit, b.Concurrency)
	s.Queue = orNothing(b.Queue, s.Queue)
	s.QueueTimeout = orNothing(seconds(b.QueueTimeout), s.QueueTimeout)
	s.SlowStart = seconds(b.SlowStart)
	s.Draws = orNothing(b.Draws, s.Draws)
	s.Margin = orNothing(b.Margin, s.Margin)
	s.ZoneMargin = orNothing(b.ZoneMargin, s.ZoneMargin)
	return s
}

// orNothing is v; zero stands for the default, and what is negative for nothing.
func orNothing[T int | float64 | time.Duration](v, def T) T {
	if v == 0 {
		return def
	}
	return max(v, 0)
}

// the names of the policies are the same on both sides
var _ = map[bool]struct{}{false: {}, balancer.PolicyLeastLoad == spec.PolicyLeastLoad && balancer.PolicyRoundRobin == spec.PolicyRoundRobin &&
	balancer.PolicyLeastConnections == spec.PolicyLeastConnections && balancer.PolicyRandom == spec.PolicyRandom &&
	balancer.PolicyHash == spec.PolicyHash: {}}

// ejectionWarnings name the peers that this node sends nothing to because they did not answer.
func (n *Node) ejectionWarnings(now time.Time) []api.Warning {
	var out []api.Warning
	for _, e := range n.bal.Ejected(now) {
		out = append(out, api.Warning{What: fmt.Sprintf("%s sends no connections to %s, which did not answer (%d in a row): one tries it again in %v", n.s.Node, e.Peer, e.Failures,
			e.Until.Sub(now).Round(100*time.Millisecond)), Remedy: "if it lasts, look at " + e.Peer + " and the network between the two"})
	}
	return out
}
