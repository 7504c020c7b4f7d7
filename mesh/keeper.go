package mesh

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Intervals of the keeper.
const (
	// tickInterval is how often statuses are assessed.
	tickInterval = 250 * time.Millisecond
	// loadGossipInterval is how often our own record is gossiped, as long as at most loadGossipNodes nodes are alive: beyond that gossip has
	// no room for records.
	loadGossipInterval = time.Second
	loadGossipNodes    = 30
	// reconnectInterval is how often a failed member is called.
	reconnectInterval = 2 * time.Second
	// flushInterval is how often gauges are published.
	flushInterval = time.Second
)

// callbacks are what the keeper tells others; each may be nil.
type callbacks struct {
	load        func(peer string, l Load, receivedAt time.Time)
	link        func(peer string, up bool)
	unreachable func(peer string)
	conflict    func(existing, other Member)
}

// keeper is the one goroutine that owns the roster, the links and the records, and calls the callbacks.
type keeper struct {
	mesh     *Mesh
	facts    *facts
	inbox    *inbox
	dialLoad Dialer
	call     callbacks
	watchers *watchers
	own      atomic.Pointer[Load] // written by Report
	width    atomic.Int32         // of the aperture; written by Widen

	roster       *roster
	links        map[string]*link
	events       chan linkEvent
	loadsChanged bool
	due          struct{ gossip, reconnect, flush time.Time }

	reconnecting atomic.Bool
	wait         sync.WaitGroup // links and the reconnecting goroutine
}

func newKeeper(m *Mesh, box *inbox, o Options) *keeper {
	return &keeper{
		mesh: m, facts: m.facts, inbox: box, dialLoad: o.DialLoad,
		call: callbacks{o.OnLoad, o.OnLink, o.OnUnreachable, o.OnConflict}, watchers: newWatchers(),
		roster: newRoster(o.Self.Name), links: make(map[string]*link), events: make(chan linkEvent, linkEvents),
	}
}

// run owns everything until ctx ends; then it waits for the links.
func (k *keeper) run(ctx context.Context) {
	defer k.wait.Wait()
	ticker := time.NewTicker(tickInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.inbox.poke:
			k.read(k.inbox.take())
			k.settle(ctx)
		case e := <-k.events:
			k.hear(e, time.Now())
			for range len(k.events) {
				k.hear(<-k.events, time.Now())
			}
			k.settleLoads()
		case <-ticker.C:
			k.settle(ctx)
			k.tick(time.Now())
		}
	}
}

// read takes in what memberlist's callbacks left.
func (k *keeper) read(n notes) {
	now := time.Now()
	for _, c := range n.changes {
		if k.roster.apply(c, now) {
			if l := k.links[c.member.Name]; l != nil {
				k.unlink(l)
			}
			k.loadsChanged = true
		}
	}
	for _, from := range n.leaves {
		// Our own notice is in the queue already, and Leave waits for that copy to be sent.
		if k.roster.heed(from, now) && from.name != k.facts.self.Name {
			k.mesh.gossipMessage("leave/"+from.name, appendMessage(nil, kindLeave, from))
		}
	}
	for _, r := range n.loads {
		k.gossiped(r, now)
	}
	for _, c := range n.conflicts {
		k.mesh.log.Debug("two nodes claim the same name", "node", c.existing.Name, "addr", c.existing.Addr, "peer", c.other.Addr)
		if k.call.conflict != nil {
			k.call.conflict(c.existing, c.other)
		}
	}
}

// gossiped takes in a record that came by gossip, if it is news, and passes it on.
func (k *keeper) gossiped(r received, now time.Time) {
	e := k.roster.entries[r.from.name]
	if e == nil || r.from.name == k.facts.self.Name || !e.alive || originOf(e.member) != r.from || !e.isNews(r.load, r.from.started) {
		return
	}
	k.accept(e, r.load, r.from.started, now)
	k.announce(e)
	k.gossipLoad(r.from, r.load)
}

// gossipLoad queues a record for gossip, where the cluster is small enough.
func (k *keeper) gossipLoad(from origin, l Load) {
	if n := k.facts.alive.Load(); n < 2 || n > loadGossipNodes {
		return
	}
	k.mesh.gossipMessage("load/"+from.name, append(appendMessage(nil, kindLoad, from), gossipRecord(l)...))
}

// settle brings statuses, links and snapshots up to date.
func (k *keeper) settle(ctx context.Context) {
	now := time.Now()
	ours := k.facts.cluster()
	k.tend(ctx, now)
	for _, e := range k.roster.entries {
		k.announce(e)
	}
	k.roster.assess(now)
	k.settleLoads()
	if !k.roster.changed {
		return
	}
	k.roster.changed = false
	members, left := k.roster.members(ours), k.roster.left()
	alive := int64(0)
	for _, m := range members {
		if m.Status == Alive || m.Status == Suspect {
			alive++
		}
	}
	k.facts.alive.Store(alive)
	k.facts.members.Store(&members)
	k.facts.left.Store(&left)
	k.watchers.poke()
}

// settleLoads publishes the records if one has changed.
func (k *keeper) settleLoads() {
	if !k.loadsChanged {
		return
	}
	k.loadsChanged = false
	loads := k.roster.loads(k.facts.cluster())
	k.facts.loads.Store(&loads)
}

// tick does what is due by the clock.
func (k *keeper) tick(now time.Time) {
	if !now.Before(k.due.gossip) {
		k.due.gossip = now.Add(loadGossipInterval)
		if own := k.own.Load(); own != nil {
			k.gossipLoad(originOf(k.facts.self), *own)
		}
	}
	if !now.Before(k.due.reconnect) {
		k.due.reconnect = now.Add(reconnectInterval)
		lost := k.roster.lost(k.facts.cluster())
		if len(lost) > 0 && k.reconnecting.CompareAndSwap(false, true) {
			addr := lost[rand.N(len(lost))]
			k.wait.Go(func() {
				defer k.reconnecting.Store(false)
				k.mesh.reconnect(addr)
			})
		}
	}
	if !now.Before(k.due.flush) {
		k.due.flush = now.Add(flushInterval)
		up := 0
		for _, e := range k.roster.entries {
			if e.up {
				up++
			}
		}
		k.mesh.meter.flush(*k.facts.members.Load(), up)
	}
}
