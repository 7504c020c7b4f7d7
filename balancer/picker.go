package balancer

import (
	"slices"
	"sync"
	"time"
)

// Counts prove that claims taken equal claims given back.
type Counts struct {
	Taken     uint64 // Taken is the number of claims ever made (count).
	Returned  uint64 // Returned is the number of claims given back (count).
	Forwarded uint64 // Forwarded is the number of claims made on peers (count).
}

// Picker places the connections of one app. Get one from Balancer.Picker.
type Picker struct {
	policy Policy
	links  *links
	totals *totals

	mu      sync.Mutex // guards all below
	ledger  ledger
	peers   map[string]*peerApp
	names   []string      // of peers, sorted
	changed chan struct{} // closed at the next change, nil while nobody waits
}

func newPicker(policy Policy, l *links, t *totals) *Picker {
	return &Picker{policy: policy, links: l, totals: t, ledger: newLedger(), peers: make(map[string]*peerApp)}
}

// Pick chooses a target and claims it. Errors: ErrNoTarget, ErrBusy.
func (p *Picker) Pick(info PickInfo) (PickResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	view, w, stalled := p.view(info)
	if w == nil && len(view.Peers) == 0 {
		if stalled {
			return PickResult{}, ErrBusy
		}
		return PickResult{}, ErrNoTarget
	}
	name := p.policy.Choose(view)
	if name == "" && w.full() {
		return PickResult{}, ErrBusy // it will take something in a moment, or count as stalled
	}
	p.totals.taken.Add(1)
	if name == "" {
		return p.result(p.ledger.claimWorker(w, info.Now)), nil
	}
	p.totals.forwarded.Add(1)
	p.links.sent(name, info.Now)
	return p.result(p.ledger.claimPeer(name, p.peers[name], info.Now)), nil
}

// view is what a decision looks at, and the local worker that would be chosen, if there is one. stalled: one was passed over because it takes
// nothing. The lock is held.
func (p *Picker) view(info PickInfo) (v View, w *workerState, stalled bool) {
	p.ledger.age(info.Now)
	w, stalled = p.ledger.best(info.Tried, info.Now)
	v = View{Local: w != nil, Idle: w != nil && w.load() == 0, Rand: info.Rand, Self: p.selfLoad()}
	v.Median = p.medianService()
	if !info.LocalOnly && !v.serveHere() {
		v.Hop = p.links.hop()
		v.Peers = p.reachable(info, v.Median)
	}
	return v, w, stalled
}

// Claim claims a worker that is known to have a connection already, such as one that was given to it by a former run of the node.
// Taken need not be called. The worker need not be ready.
func (p *Picker) Claim(worker string, now time.Time) PickResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.ledger.workers[worker]
	if w == nil {
		w = &workerState{Worker: Worker{ID: worker}}
		p.ledger.workers[worker] = w
	}
	p.totals.taken.Add(1)
	c := p.ledger.claimWorker(w, now)
	p.ledger.taken(c)
	return p.result(c)
}

func (p *Picker) selfLoad() Load {
	l := &p.ledger
	return Load{Ready: l.readyCount(), Open: float64(l.allShort()), Long: float64(l.allLong()), Service: l.measured()}
}

// reachable lists the peers that could take the connection, with their estimated load, by name. When none is heard at all, it is more likely
// that this node was held up than that every peer died within the same moment: then the silent ones are asked, and their answer tells.
func (p *Picker) reachable(info PickInfo, median time.Duration) []PeerLoad {
	if out := p.usable(info, median, false); len(out) > 0 {
		return out
	}
	return p.usable(info, median, true)
}

func (p *Picker) usable(info PickInfo, median time.Duration, silent bool) []PeerLoad {
	var out []PeerLoad
	for _, name := range p.names {
		r := p.peers[name]
		if r.report.Ready == 0 || slices.Contains(info.Tried, name) || !p.links.usable(name, info.Now, silent) {
			continue
		}
		out = append(out, PeerLoad{Name: name, Load: Load{
			Ready: r.report.Ready, Open: r.estimate(info.Now, median), Long: float64(r.report.Long), Service: r.report.Service,
		}})
	}
	return out
}

func (p *Picker) result(c *claim) PickResult {
	return PickResult{Target: c.target,
		Taken: func() { p.taken(c) },
		Done:  func(d DoneInfo) { p.release(c, d) },
	}
}

func (p *Picker) taken(c *claim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.done || !c.pending {
		return
	}
	p.ledger.taken(c)
	if c.peer != nil {
		p.links.answered(c.target.ID)
	}
	p.notify()
}

func (p *Picker) release(c *claim, d DoneInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.done {
		return
	}
	switch {
	case c.peer == nil || !c.pending:
	case d.Failed:
		p.links.eject(c.target.ID, d.Now)
	case d.Refused:
		p.links.answered(c.target.ID)
	}
	p.ledger.release(c, d)
	p.totals.returned.Add(1)
	p.notify()
}

// SetWorkers replaces the set of local workers that may be chosen. Claims on workers that left the set stay open until Done.
func (p *Picker) SetWorkers(workers []Worker) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.setReady(workers)
	p.notify()
}

// SetReport takes in what a peer says of this app, received at now on the local clock.
func (p *Picker) SetReport(peer string, r Report, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.peers[peer]
	if s == nil {
		s = &peerApp{}
		p.peers[peer] = s
		at, _ := slices.BinarySearch(p.names, peer)
		p.names = slices.Insert(p.names, at, peer)
	}
	wasReady := s.report.Ready
	s.update(r, now, p.clusterMean())
	if wasReady != r.Ready {
		p.notify()
	}
}

// Forget drops a peer that has left. Claims still open on it are given back as usual.
func (p *Picker) Forget(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.peers, peer)
	p.names = slices.DeleteFunc(p.names, func(n string) bool { return n == peer })
}

// clusterMean is the mean of open short connections per worker over this node and all peers that serve the app.
func (p *Picker) clusterMean() float64 {
	sum, n := 0.0, 0.0
	if ready := p.ledger.readyCount(); ready > 0 {
		sum, n = float64(p.ledger.allShort())/float64(ready), 1
	}
	for _, name := range p.names {
		if r := p.peers[name]; r.seeded {
			sum, n = sum+r.mean, n+1
		}
	}
	return sum / max(n, 1)
}

// medianService is the median (of an even number the lower one) of the service times that this node and its peers have measured, or the seed.
func (p *Picker) medianService() time.Duration {
	all := make([]time.Duration, 0, 1+len(p.names))
	if d := p.ledger.measured(); d > 0 {
		all = append(all, d)
	}
	for name, r := range p.peers {
		if r.report.Ready > 0 && r.report.Service > 0 && p.links.heard(name) {
			all = append(all, r.report.Service)
		}
	}
	if len(all) == 0 {
		return serviceSeed
	}
	slices.Sort(all)
	return all[(len(all)-1)/2]
}

// Local returns this node's own load for the report to the peers.
func (p *Picker) Local(now time.Time) Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.age(now)
	return Report{Ready: p.ledger.readyCount(), Outstanding: p.ledger.allShort(), Long: p.ledger.allLong(), Service: p.ledger.measured()}
}

// Accepted is the work that this node has accepted: its open short connections, those that peers serve included, per worker of its own
// (dimensionless).
func (p *Picker) Accepted() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	work := p.ledger.allShort()
	for _, r := range p.peers {
		work += max(r.own, 0)
	}
	return float64(work) / float64(max(p.ledger.readyCount(), 1))
}

// Open returns the number of connections open on one worker, those that it accepted by itself included (count).
func (p *Picker) Open(worker string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.ledger.workers[worker]; w != nil {
		return w.load()
	}
	return 0
}

// Changed returns a channel that is closed at the next change that may make a difference to a waiting caller: a worker became
// ready, took a connection or finished one, or a peer became ready or was heard again. An ejection that ends makes no change: look again
// now and then.
func (p *Picker) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

func (p *Picker) wake() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.notify()
}

// notify wakes whoever waits on Changed. The lock is held.
func (p *Picker) notify() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
