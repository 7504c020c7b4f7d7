package balancer

import (
	"math"
	"slices"
	"time"
)

// reportAlpha is the weight of one report in a peer's mean load (policy: 1/16).
const reportAlpha = 1.0 / 16

// peerApp is what is known of one app on one peer: its last report and what this node has open there.
type peerApp struct {
	name       string
	hash       uint64
	node       Node
	heard      bool // its link is up
	report     Report
	receivedAt time.Time // local receipt: no clock synchronisation needed
	others     float64   // of the report's Outstanding, those that are not ours
	mean       float64   // smoothed others per ready worker
	since      time.Time // when it began to serve, zero while it does not
	fullUntil  time.Time // it has refused connections, and is not asked before
	turn       float64   // for PolicyRoundRobin
	flow       flow
}

// flow is what this node has going on with a peer.
type flow struct {
	open    int // connections of ours there, long ones included
	own     int // short ones of these
	refused int // in a row, for want of room
}

// update takes a new report in. clusterMean seeds the mean of a peer that begins to serve, for the first time or again.
func (p *peerApp) update(r Report, at time.Time, clusterMean float64) {
	p.report, p.receivedAt, p.fullUntil = r, at, time.Time{}
	if r.Ready == 0 {
		p.mean, p.since = 0, time.Time{}
		return
	}
	p.others = max(float64(r.Outstanding-p.flow.own), 0)
	perWorker := p.others / float64(r.Ready)
	if p.since.IsZero() {
		p.mean, p.since = clusterMean, at
	}
	p.mean += reportAlpha * (perWorker - p.mean)
}

// estimate is the number of short connections believed to be open at the peer now: ours, which are known, and those of others, of which
// the report fades to their mean within about one service time: taken literally, old reports make every node choose the same peer
// (Mitzenmacher, "How Useful Is Old Information?", IEEE TPDS 2000).
func (p *peerApp) estimate(now time.Time, median time.Duration) float64 {
	mean := float64(p.report.Ready) * p.mean
	age := max(now.Sub(p.receivedAt), 0)
	return float64(p.flow.own) + mean + (p.others-mean)*math.Exp(-float64(age)/float64(max(median, time.Microsecond)))
}

// roomDoubt is how much less than one place counts as one: a report fades, and a peer that is nearly full on average has often room. It
// refuses if not.
const roomDoubt = 0.25

// free is the number of connections that the peer's workers may still get, reckoned like estimate.
func (p *peerApp) free(limit int, now time.Time, median time.Duration) int {
	if now.Before(p.fullUntil) {
		return 0
	}
	has := max(p.estimate(now, median)+float64(p.report.Long), float64(p.flow.open))
	return max(int(math.Ceil(float64(p.report.Ready*limit)-has-roomDoubt)), 0)
}

// refused notes that the peer had no room after all, and leaves it alone until one of its connections has probably ended: longer each time.
func (p *peerApp) refused(now time.Time, median time.Duration) {
	p.flow.refused = min(p.flow.refused+1, refusedMost)
	p.fullUntil = now.Add(median * time.Duration(p.flow.refused) / refusedSteps)
}

// The first refusal counts for one of refusedSteps parts of a median service time, each after it for one more, up to refusedMost.
const (
	refusedSteps = 2
	refusedMost  = 8
)

// smoothService is the service time to reckon with: the median while a node is within 1.5 times of it, so that noise does not
// steer, else the node's own.
func smoothService(own, median time.Duration) time.Duration {
	if own == 0 {
		return median
	}
	if ratio := float64(own) / float64(median); ratio <= serviceBand && ratio >= 1/serviceBand {
		return median
	}
	return own
}

// serviceBand is how far a node's service time may be from the median and still count as the same.
const serviceBand = 1.5

// peerSet holds all peers of an app, those that may be chosen in slices, so that a pick does not look at all of them.
type peerSet struct {
	byName    map[string]*peerApp
	near, far []*peerApp      // that serve the app and are heard, by name; far ones are in another zone
	mute      []*peerApp      // that serve the app and are not heard
	services  []time.Duration // measured by near and far ones, sorted
}

func newPeerSet() peerSet { return peerSet{byName: make(map[string]*peerApp)} }

// arrange fills the slices anew: a peer came or went, began or ceased to serve or to be heard.
func (s *peerSet) arrange(self Node) {
	s.near, s.far, s.mute, s.services = s.near[:0], s.far[:0], s.mute[:0], s.services[:0]
	for _, p := range s.byName {
		switch {
		case p.report.Ready == 0:
			continue
		case !p.heard:
			s.mute = append(s.mute, p)
			continue
		case self.far(p.node):
			s.far = append(s.far, p)
		default:
			s.near = append(s.near, p)
		}
		if p.report.Service > 0 {
			s.services = append(s.services, p.report.Service)
		}
	}
	for _, list := range [][]*peerApp{s.near, s.far, s.mute} { // the choice never hangs on the order of a map
		slices.SortFunc(list, func(a, b *peerApp) int {
			if a.name < b.name {
				return -1
			}
			return 1
		})
	}
	slices.Sort(s.services)
}

// set takes a report in, and tells whether the peer began or ceased to serve, or to accept.
func (s *peerSet) set(p *peerApp, r Report, now time.Time, clusterMean func() float64, self Node) (turned bool) {
	old := p.report
	mean := 0.0
	if p.since.IsZero() && r.Ready > 0 {
		mean = clusterMean()
	}
	p.update(r, now, mean)
	if turned = (old.Ready == 0) != (r.Ready == 0); turned {
		s.arrange(self)
	} else if p.heard && r.Ready > 0 && old.Service != r.Service {
		s.swap(old.Service, r.Service)
	}
	return turned || old.Hung != r.Hung
}

// swap replaces one measured service time by another; 0 stands for none.
func (s *peerSet) swap(old, fresh time.Duration) {
	if old > 0 {
		if i, ok := slices.BinarySearch(s.services, old); ok {
			s.services = slices.Delete(s.services, i, i+1)
		}
	}
	if fresh > 0 {
		i, _ := slices.BinarySearch(s.services, fresh)
		s.services = slices.Insert(s.services, i, fresh)
	}
}

// median is the median (of an even number the lower one) of the service times that peers and this node have measured, or the seed. own 0 =
// this node has measured none.
func (s *peerSet) median(own time.Duration) time.Duration {
	n := len(s.services)
	if own > 0 {
		n++
	}
	if n == 0 {
		return serviceSeed
	}
	k := (n - 1) / 2
	if own == 0 {
		return s.services[k]
	}
	switch at, _ := slices.BinarySearch(s.services, own); {
	case k < at:
		return s.services[k]
	case k == at:
		return own
	default:
		return s.services[k-1]
	}
}

// mean is the mean of open short connections per worker over this node, if it serves, and all peers that serve.
func (s *peerSet) mean(own float64, serves bool) float64 {
	sum, n := 0.0, 0.0
	if serves {
		sum, n = own, 1
	}
	for _, p := range s.byName {
		if !p.since.IsZero() {
			sum, n = sum+p.mean, n+1
		}
	}
	return sum / max(n, 1)
}
