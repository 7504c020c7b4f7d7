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
	links  *links
	totals *totals

	mu      sync.Mutex // guards all below
	set     Settings
	policy  policy
	ledger  ledger
	peers   peerSet
	queue   queue
	record  record
	view    view // of the present pick
	turns   turns
	usual   float64       // smoothed short connections per worker of this node, as of its reports
	changed chan struct{} // closed at the next change, nil while nobody waits
}

func newPicker(self string, l *links, t *totals) *Picker {
	p := &Picker{links: l, totals: t, ledger: newLedger(), peers: newPeerSet(), record: newRecord()}
	p.view.scratch = scratch{selfHash: hashName(self), turns: &p.turns}
	p.Configure(DefaultSettings())
	return p
}

// Configure changes the settings, from the next pick on.
func (p *Picker) Configure(s Settings) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s == p.set {
		return
	}
	p.set, p.policy = s, policyOf(s.Policy)
	p.notify() // a limit may be gone
}

// Settings returns the present settings.
func (p *Picker) Settings() Settings {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.set
}

// Pick chooses a target and claims it. Errors: ErrNoTarget, ErrBusy, ErrFull.
func (p *Picker) Pick(info PickInfo) (PickResult, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.begin(info.Now)
	p.ledger.age(info.Now)
	look := p.record.open()
	w, peer, err := p.decide(info, look)
	if err != nil {
		if info.Waiter == nil { // who waits asks again and again
			p.record.keep()
		}
		return PickResult{}, err
	}
	p.record.keep()
	p.policy.chosen(&p.view, peer)
	p.served(info.Waiter)
	p.totals.taken.Add(1)
	if peer == nil {
		look.Target = Target{KindWorker, w.ID}
		return p.result(p.ledger.claimWorker(w, info.Now, !info.LocalOnly, p.set.concurrency())), nil
	}
	look.Target = Target{KindPeer, peer.name}
	p.totals.forwarded.Add(1)
	p.links.sent(peer.name, info.Now)
	return p.result(p.ledger.claimPeer(peer, info.Now)), nil
}

// decide chooses a worker here, or a peer, and notes in look how that came about. It changes nothing that a later pick depends on.
func (p *Picker) decide(info PickInfo, look *Decision) (*workerState, *peerApp, error) {
	v := &p.view
	v.begin(p, info, look)
	here := p.ledger.best(v, p.policy)
	v.settle(here)
	look.add(v.own(here))
	var peer *peerApp
	if info.LocalOnly {
		look.Why = WhyForwarded
	} else {
		peer = p.policy.peer(v)
	}
	switch {
	case v.here == nil && peer == nil && v.full:
		look.Why = WhyFull
		return nil, nil, ErrFull
	case v.here == nil && peer == nil && here.stalled:
		look.Why = WhyBlocked
		return nil, nil, ErrBusy
	case v.here == nil && peer == nil:
		look.Why = WhyNobody
		return nil, nil, ErrNoTarget
	}
	peer, err := p.patient(v, peer)
	if err == nil && peer == nil && v.here.full() {
		look.Why = WhyBlocked
		err = ErrBusy // it will take something in a moment, or count as stalled
	}
	return v.here, peer, err
}

// begin makes the view that of a new pick.
func (v *view) begin(p *Picker, info PickInfo, look *Decision) {
	l := &p.ledger
	service := l.service.measured(info.Now)
	ramp := p.set.ramp(l.since, info.Now)
	*v = view{info: info, set: &p.set, links: p.links, peers: &p.peers, whole: ramp == 1, median: p.peers.median(service), hop: p.links.hop(),
		door: l.door, look: look, scratch: v.scratch}
	v.rand = info.Rand
	v.self = Load{Workers: float64(l.able()) * p.links.facts().weight() * ramp, Open: float64(l.allShort()), Long: float64(l.allLong()), Service: service}
	look.At, look.Client, look.Policy = info.Now, info.Client, p.set.Policy
	look.Median, look.Hop, look.Margin, look.ZoneMargin = v.median, v.hop, v.times(p.set.Margin), v.times(p.set.ZoneMargin)
	look.Waiting, look.Peers = p.queue.n, len(p.peers.near)+len(p.peers.far)
}

// own is this node as a candidate.
func (v *view) own(here local) Candidate {
	c := Candidate{Load: v.self, Free: -1, Cost: v.cost(v.self)}
	switch {
	case here.best != nil && here.rank == rankHung:
		c.State = StateHung
	case here.best != nil:
	case here.limited:
		c.State = StateFull
	case here.stalled:
		c.State = StateBlocked
	case len(v.info.Tried) > 0:
		c.State = StateTried
	default:
		c.State = StateIdle
	}
	return c
}

func (p *Picker) result(c *claim) PickResult {
	return PickResult{Target: c.target, picker: p, claim: c}
}

// Claim claims a worker that is known to have a connection already, such as one that was given to it by a former run of the node.
// Taken need not be called. The worker need not be ready.
func (p *Picker) Claim(worker string, now time.Time) PickResult {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.totals.taken.Add(1)
	c := p.ledger.claimWorker(p.ledger.state(worker), now, true, p.set.concurrency())
	p.ledger.taken(c)
	return p.result(c)
}

func (p *Picker) taken(c *claim) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.flags.done || !c.flags.pending {
		return
	}
	p.ledger.taken(c)
	if c.peer != nil {
		p.links.answered(c.target.ID)
		c.peer.flow.refused = 0
	}
	p.notify()
}

func (p *Picker) ended(c *claim, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.flags.done || c.flags.ended {
		return
	}
	p.ledger.linger(c)
	p.ledger.release(c, DoneInfo{Now: now})
	p.notify()
}

func (p *Picker) release(c *claim, d DoneInfo) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.flags.done {
		return
	}
	c.flags.done = true
	if c.flags.ended {
		p.ledger.part(c)
		p.totals.returned.Add(1)
		p.notify()
		return
	}
	switch {
	case c.peer == nil || !c.flags.pending:
	case d.Failed:
		p.links.eject(c.target.ID, d.Now)
	case d.Refused:
		p.links.answered(c.target.ID)
		c.peer.refused(d.Now, p.peers.median(p.ledger.service.measured(d.Now)))
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

// SetHung says whether a local worker accepts nothing at this moment. Such a one is chosen only where nobody else can be, here or on a peer. It does nothing
// for a worker that is not known.
func (p *Picker) SetHung(worker string, hung bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.ledger.workers[worker]; w != nil && w.hung != hung {
		w.hung = hung
		p.notify()
	}
}

// Relief tells whether somebody accepts connections in a worker's place: another worker here, or a peer's.
func (p *Picker) Relief(worker string) (here, elsewhere bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.ledger.order {
		here = here || w.ID != worker && !w.hung
	}
	for _, list := range [][]*peerApp{p.peers.near, p.peers.far} {
		elsewhere = elsewhere || slices.ContainsFunc(list, func(o *peerApp) bool { return !o.report.Hung })
	}
	return here, elsewhere
}

// SetReport takes in what a peer says of this app, received at now on the local clock.
func (p *Picker) SetReport(peer string, r Report, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.peers.byName[peer]
	if s == nil {
		s = &peerApp{name: peer, hash: hashName(peer)}
		s.node, s.heard = p.links.of(peer)
		p.peers.byName[peer] = s
	}
	switch {
	case p.peers.set(s, r, now, p.clusterMean, p.links.facts()):
		p.notify()
	case p.queue.n > 0 && s.report.Outstanding+s.report.Long < s.report.Ready*p.set.MaxConnections:
		p.queue.wake()
	}
}

// facts follows a change of what is known of the nodes: whether a peer is heard, its zone, its weight; or this node's own.
func (p *Picker) facts(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.peers.byName[peer]; s != nil {
		s.node, s.heard = p.links.of(peer)
	} else if peer != "" {
		return
	}
	p.peers.arrange(p.links.facts())
}

// Forget drops a peer that has left. Claims still open on it are given back as usual.
func (p *Picker) Forget(peer string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.peers.byName[peer] != nil {
		delete(p.peers.byName, peer)
		p.peers.arrange(p.links.facts())
	}
}

func (p *Picker) clusterMean() float64 {
	ready := len(p.ledger.order)
	return p.peers.mean(p.usual, ready > 0)
}

// Local returns this node's own load for the report to the peers, each of which counts for one in what is usual here. Where connections have a limit, those that wait here are reported too: what
// gets free here is theirs.
func (p *Picker) Local(now time.Time) Report {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ledger.age(now)
	r := Report{Ready: p.ledger.able(), Hung: p.ledger.hung(), Outstanding: p.ledger.allShort(), Long: p.ledger.allLong(), Service: p.ledger.service.measured(now)}
	p.usual += reportAlpha * (float64(r.Outstanding)/float64(max(r.Ready, 1)) - p.usual)
	if p.queue.n > 0 {
		r.Outstanding += min(p.queue.n, p.ledger.room(p.set.MaxConnections))
	}
	return r
}

// Accepted is the work that this node has accepted: its open short connections, those that peers serve included, per worker of its own
// (dimensionless).
func (p *Picker) Accepted() float64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	work := p.ledger.allShort()
	for _, r := range p.peers.byName {
		work += max(r.flow.own, 0)
	}
	return float64(work) / float64(max(len(p.ledger.order), 1))
}

// Open returns the number of connections open on one worker, those that it accepted by itself included (count).
func (p *Picker) Open(worker string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w := p.ledger.workers[worker]; w != nil {
		return w.open + w.ending + w.direct.Open
	}
	return 0
}

// Elsewhere reports whether a peer that is heard has a ready worker.
func (p *Picker) Elsewhere() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.peers.near)+len(p.peers.far) > 0
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

// notify wakes whoever waits on Changed, and the first in the queue. The lock is held.
func (p *Picker) notify() {
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
	p.queue.wake()
}
