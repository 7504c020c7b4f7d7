package balancer

import (
	"math"
	"time"
)

// reportAlpha is the weight of one report in a peer's mean load (policy: 1/16).
const reportAlpha = 1.0 / 16

// peerApp is what is known of one app on one peer: its last report and what this node has sent there since.
type peerApp struct {
	report     Report
	receivedAt time.Time // local receipt: no clock synchronisation needed
	mean       float64   // smoothed Outstanding per ready worker
	seeded     bool
	own        int // short connections of ours open there
	sent       int // sent since the report
	done       int // short ones finished since the report
}

// update takes a new report in. clusterMean seeds the mean of a peer that begins to serve, for the first time or again.
func (p *peerApp) update(r Report, at time.Time, clusterMean float64) {
	p.report, p.receivedAt = r, at
	p.sent, p.done = 0, 0
	if r.Ready == 0 {
		p.mean, p.seeded = 0, false
		return
	}
	perWorker := float64(r.Outstanding) / float64(r.Ready)
	if !p.seeded {
		p.mean, p.seeded = clusterMean, true
	}
	p.mean += reportAlpha * (perWorker - p.mean)
}

// estimate is the number of short connections believed to be open at the peer now. A report fades to the peer's mean within about
// one service time: taken literally, old reports make every node choose the same peer (Mitzenmacher, "How Useful Is Old
// Information?", IEEE TPDS 2000). What this node itself has open there is never discounted.
func (p *peerApp) estimate(now time.Time, median time.Duration) float64 {
	mean := float64(p.report.Ready) * p.mean
	age := max(now.Sub(p.receivedAt), 0)
	faded := mean + (float64(p.report.Outstanding)-mean)*math.Exp(-float64(age)/float64(max(median, time.Microsecond)))
	return max(float64(p.own), faded+float64(p.sent)-float64(p.done), 0)
}

// smoothService is the service time to reckon with: the median while a node is within 1.5 times of it, so that noise does not
// steer, else the node's own.
func smoothService(own, median time.Duration) time.Duration {
	if own == 0 {
		return median
	}
	if ratio := float64(own) / float64(median); ratio <= 1.5 && ratio >= 1/1.5 {
		return median
	}
	return own
}
