package node

import (
	"context"
	"time"

	"meshnode/balancer"
	"meshnode/mesh"
)

// reportEvery is how often this node's load record is made anew; gossip and the peer streams send the latest.
const reportEvery = 50 * time.Millisecond

// reportAlone is how often where there is no peer to hear it.
const reportAlone = 500 * time.Millisecond

// apertureDecay is what remains of the accepted work after one report: half of it after 1.7 s.
const apertureDecay = 0.98

// keepReporting makes the load record of this node until the context ends.
func (n *Node) keepReporting(ctx context.Context) {
	t := time.NewTimer(reportEvery)
	defer t.Stop()
	wide := 0.0
	for {
		// Wider at once, narrower slowly, so that the streams to peers do not come and go with every burst.
		wide = max(n.report(), wide*apertureDecay)
		n.mesh.Widen(wide)
		every := reportEvery
		if len(n.members()) < 2 {
			every = reportAlone
		}
		t.Reset(every)
		select {
		case <-t.C:
		case <-n.view.reports:
		case <-ctx.Done():
			return
		}
	}
}

// reportSoon has the record made anew at once: a worker became ready, or is no longer.
func (n *Node) reportSoon() { poke(n.view.reports) }

// report hands the present load to the mesh, and returns the accepted work per own worker of the app that has most of it.
func (n *Node) report() (accepted float64) {
	now := time.Now()
	st := n.proxy.Stats()
	l := mesh.Load{AppliedIndex: n.store.State().Index, ForwardedIn: st.ForwardedIn, ForwardedOut: st.ForwardedOut,
		Connections: uint32(st.Open) + uint32(n.bal.Direct()), Busy: float32(n.view.sampler.Busy()), Draining: n.view.draining.Load()}
	for _, name := range n.loadNames() {
		p := n.bal.Lookup(name)
		if p == nil {
			continue
		}
		r := p.Local(now)
		accepted = max(accepted, p.Accepted())
		l.Apps = append(l.Apps, mesh.AppLoad{App: name, Ready: uint16(r.Ready), Hung: r.Hung, Outstanding: uint32(r.Outstanding), Long: uint32(r.Long), Service: r.Service})
	}
	n.mesh.Report(l)
	return accepted
}

// onLoad gives the balancer what a peer reports. Apps that the record does not name are not served there.
func (n *Node) onLoad(peer string, l mesh.Load, at time.Time) {
	n.routes.part(peer, l.Draining, l.ForwardedOut)
	named := make(map[string]mesh.AppLoad, len(l.Apps))
	for _, a := range l.Apps {
		named[a.App] = a
	}
	for _, name := range n.loadNames() {
		var r balancer.Report
		if a, ok := named[name]; ok && !l.Draining {
			r = balancer.Report{Ready: int(a.Ready), Hung: a.Hung, Outstanding: int(a.Outstanding), Long: int(a.Long), Service: a.Service}
		}
		n.bal.Picker(name).SetReport(peer, r, at)
	}
}
