package node

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"time"

	"meshnode/balancer"
	"meshnode/node/api"
)

// explainBackend says how connections are placed.
type explainBackend struct{ n *Node }

// Explain implements api.Explains.
func (b explainBackend) Explain(ctx context.Context, q api.ExplainQuery) (api.Explanation, error) {
	n := b.n
	if _, ok := n.store.State().Apps[q.App]; !ok {
		return api.Explanation{}, n.notFound(q.App)
	}
	if q.Node == "" || q.Node == n.s.Node {
		return n.explain(q), nil
	}
	m, ok := n.members()[q.Node]
	if !ok {
		return api.Explanation{}, api.Errorf(api.CodeNotFound, "see: meshnode members", "there is no node %q", q.Node)
	}
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	return n.view.clients.get(n.mux, q.Node, m.Addr).ExplainPeer(ctx, q)
}

func (n *Node) explain(q api.ExplainQuery) api.Explanation {
	client, _ := netip.ParseAddr(q.Client) // none is no address
	e := n.bal.Picker(q.App).Explain(balancer.PickInfo{Now: time.Now(), Rand: rand.Uint64(), Client: client}, q.Count)
	out := api.Explanation{App: q.App, Node: n.s.Node, Policy: e.Settings.Policy, Next: n.decision(e.Next), Direct: e.Direct, Hung: n.hung(q.App)}
	for _, d := range e.Last {
		out.Last = append(out.Last, n.decision(d))
	}
	return out
}

func (n *Node) decision(d balancer.Decision) api.Decision {
	out := api.Decision{Time: d.At.UTC(), Policy: d.Policy, Kind: api.PlacedNowhere, Target: d.Target.ID, Why: d.Why.String(), Median: d.Median.Seconds(), Hop: d.Hop.Seconds(),
		Margin: d.Margin.Seconds(), ZoneMargin: d.ZoneMargin.Seconds(), Waiting: d.Waiting, Peers: d.Peers, Considered: []api.Candidate{}}
	if d.Client.IsValid() {
		out.Client = d.Client.String()
	}
	switch d.Target.Kind {
	case balancer.KindWorker:
		out.Kind = api.PlacedHere
	case balancer.KindPeer:
		out.Kind = api.PlacedThere
	}
	for _, c := range d.Considered {
		x := api.Candidate{Node: c.Node, Here: c.Node == "", Compared: c.Drawn || c.Node == "", State: c.State.String(), OtherZ: c.Far, Workers: c.Load.Workers,
			Open: c.Load.Open, Long: c.Load.Long, Free: c.Free, Service: c.Load.Service.Seconds(), Expected: c.Cost.Seconds(), Score: c.Score, Age: c.Age.Seconds(), Ejected: c.Ejected.Seconds()}
		if x.Here {
			x.Node = n.s.Node
		}
		out.Considered = append(out.Considered, x)
	}
	out.Reason = reasonOf(d)
	return out
}

// reasonOf says in a sentence why a decision went as it did.
func reasonOf(d balancer.Decision) string {
	gain := fmt.Sprintf("the way (%s) and the margin (%s)", short(d.Hop), short(d.Margin))
	switch d.Why {
	case balancer.WhyIdle:
		return "a worker here is idle, and this node is no slower than most"
	case balancer.WhyOnlyHere:
		return "no other node could take it"
	case balancer.WhyOnlyThere:
		return "no worker here could take it"
	case balancer.WhyCheaperHere:
		return "no other serves it sooner by more than " + gain
	case balancer.WhyCheaperThere:
		return "there it is served sooner by more than " + gain
	case balancer.WhySoft:
		return "the others have reached the soft limit, and this node has not"
	case balancer.WhyForwarded:
		return "it came from another node, and is never passed on twice"
	case balancer.WhyTurn:
		return "it is its turn"
	case balancer.WhyFewest:
		return "it has the fewest per worker of those that came in here"
	case balancer.WhyChance:
		return "by chance"
	case balancer.WhyAddress:
		return "the client's address belongs there"
	case balancer.WhyFull:
		return "every worker has max_connections; it waits here until one ends"
	case balancer.WhyFaster:
		return "only a slow node has room, and a place at a faster one is free sooner; it waits here"
	case balancer.WhyLine:
		return fmt.Sprintf("%d wait already; it waits behind them", d.Waiting)
	case balancer.WhyHungHere:
		return "the workers here accept nothing at this moment"
	case balancer.WhyHungThere:
		return "the workers there accept nothing at this moment"
	case balancer.WhyBlocked:
		return "the workers here take nothing at this moment; it waits for them"
	}
	return "no worker is ready, here or on any node that is heard"
}

func short(d time.Duration) string { return d.Round(10 * time.Microsecond).String() }

var _ api.Explains = explainBackend{}
