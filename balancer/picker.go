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

	mu      sync.Mutex // guards all below
	ledger  ledger
	peers   map[string]*peerApp
	counts  Counts
	changed chan struct{} // closed at the next change, nil while nobody waits
}

func newPicker(policy Policy, l *links) *Picker {
	return &Picker{policy: policy, links: l, ledger: newLedger(), peers: make(map[string]*peerApp)}
}

// Pick chooses a target and claims it. Errors: ErrNoTarget, ErrBusy.
func (p *Picker) Pick(info PickInfo) (PickResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.age(info.Now)
	w, full := p.ledger.best(info.Tried)
	view := View{Local: w != nil, Idle: w != nil && w.open == 0, Rand: info.Rand, Self: p.selfLoad()}
	view.Median = medianService(view.Self.Service, p.peers)
	if !info.LocalOnly && !(view.Idle && smoothService(view.Self.Service, view.Median) <= view.Median) {
		view.Hop = p.links.hop()
		view.Peers = p.reachable(info, view.Median)
	}
	if w == nil && len(view.Peers) == 0 {
		if full {
			return PickResult{}, ErrBusy
		}
		return PickResult{}, ErrNoTarget
	}
	p.counts.Taken++
	if name := p.policy.Choose(view); name != "" {
		return p.claimPeer(name, info.Now), nil
	}
	return p.result(p.ledger.claim(w, info.Now)), nil
}

func (p *Picker) selfLoad() Load {
	l := &p.ledger
	return Load{Ready: l.readyCount(), Open: float64(l.short), Long: float64(l.long), Service: l.measured()}
}

// reachable lists the peers that could take the connection, with their estimated load, in a stable order.
func (p *Picker) reachable(info PickInfo, median time.Duration) []PeerLoad {
	var out []PeerLoad
	for name, r := range p.peers {
		if r.report.Ready == 0 || contains(info.Tried, name) || !p.links.usable(name, info.Now) {
			continue
		}
		out = append(out, PeerLoad{Name: name, Load: Load{
			Ready: r.report.Ready, Open: r.estimate(info.Now, median), Long: float64(r.report.Long), Service: r.report.Service,
		}})
	}
	slices.SortFunc(out, func(a, b PeerLoad) int {
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return out
}

func (p *Picker) claimPeer(name string, now time.Time) PickResult {
	r := p.peers[name]
	r.own++
	r.sent++
	p.counts.Forwarded++
	return p.result(&claim{target: Target{KindPeer, name}, since: now, pending: true})
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
	c.pending = false
	if c.target.Kind == KindWorker {
		p.ledger.taken(c)
	}
	p.notify()
}

func (p *Picker) release(c *claim, d DoneInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.done {
		return
	}
	if c.pending && c.target.Kind == KindWorker {
		p.ledger.taken(c)
	}
	c.done, c.pending = true, false
	p.counts.Returned++
	if c.target.Kind == KindWorker {
		p.ledger.release(c, d)
	} else if r := p.peers[c.target.ID]; r != nil {
		r.own--
		r.done++
		if d.Failed {
			p.links.eject(c.target.ID, d.Now)
		}
	}
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
	}
	wasReady := s.report.Ready
	s.update(r, now, p.clusterMean())
	if wasReady != r.Ready {
		p.notify()
	}
}

// clusterMean is the mean over this node and all peers heard of open short connections per worker.
func (p *Picker) clusterMean() float64 {
	sum, n := float64(p.ledger.short)/float64(max(p.ledger.readyCount(), 1)), 1.0
	for _, r := range p.peers {
		if r.seeded {
			sum, n = sum+r.mean, n+1
		}
	}
	return sum / n
}

// Forget drops a peer that has left.
func (p *Picker) Forget(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.peers[peer]; r != nil && r.own == 0 {
		delete(p.peers, peer)
	} else if r != nil {
		r.report = Report{}
	}
}

// Local returns this node's own load for the report to the peers.
func (p *Picker) Local(now time.Time) Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.age(now)
	r := Report{Ready: p.ledger.readyCount(), Outstanding: p.ledger.short, Long: p.ledger.long}
	if p.ledger.samples > 0 {
		r.Service = p.ledger.measured()
	}
	return r
}

// Open returns the number of claims open on one worker (count).
func (p *Picker) Open(worker string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.ledger.workers[worker]; w != nil {
		return w.open
	}
	return 0
}

// Counts returns the totals since the start.
func (p *Picker) Counts() Counts {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts
}

// Changed returns a channel that is closed at the next change that may make a difference to a waiting caller: a worker became
// ready, took a connection or finished one, or a peer became ready.
func (p *Picker) Changed() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changed == nil {
		p.changed = make(chan struct{})
	}
	return p.changed
}

// notify wakes whoever waits on Changed. The lock is held.
func (p *Picker) notify() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}
