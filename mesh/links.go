package mesh

import (
	"context"
	"time"
)

// linkEvents is how many events of links may wait for the keeper; links wait beyond it.
const linkEvents = 256

// tend opens load streams to the peers of the aperture and drops those to others.
func (k *keeper) tend(ctx context.Context, now time.Time) {
	wanted := make(map[string]bool)
	for _, name := range aperture(k.facts.self.Name, k.roster.peers(k.facts.cluster()), int(k.width.Load())) {
		wanted[name] = true
	}
	for name, l := range k.links {
		if e := k.roster.entries[name]; !wanted[name] || e.member.Addr != l.addr {
			k.unlink(l)
		}
	}
	for name := range wanted {
		if k.links[name] != nil {
			continue
		}
		e := k.roster.entries[name]
		e.linked, e.streaming, e.downSince = true, false, now
		linkCtx, cancel := context.WithCancel(ctx)
		l := &link{
			peer: name, addr: e.member.Addr, dial: k.dialLoad, events: k.events, meter: k.mesh.meter, log: k.mesh.log, cancel: cancel,
		}
		k.links[name] = l
		k.wait.Go(func() { l.run(linkCtx) })
	}
}

// unlink ends a link; what it still had to say is not heard any more.
func (k *keeper) unlink(l *link) {
	l.cancel()
	delete(k.links, l.peer)
	if e := k.roster.entries[l.peer]; e != nil {
		e.linked, e.streaming = false, false
	}
}

// hear takes in what a link said.
func (k *keeper) hear(e linkEvent, now time.Time) {
	if k.links[e.link.peer] != e.link {
		return
	}
	peer := k.roster.entries[e.link.peer]
	if e.cut {
		if k.call.unreachable != nil {
			k.call.unreachable(e.link.peer)
		}
		return
	}
	if peer.streaming && !e.up {
		peer.downSince = now
	}
	peer.streaming = e.up
	if e.load != nil && peer.isNews(*e.load, e.from) {
		k.accept(peer, *e.load, e.from, e.at)
	}
	k.announce(peer)
}

// accept stores a peer's record and passes it on.
func (k *keeper) accept(e *entry, l Load, from int64, at time.Time) {
	e.load, e.from = &PeerLoad{Load: l, ReceivedAt: at, Link: e.up}, from
	k.loadsChanged = true
	if k.call.load != nil {
		k.call.load(e.member.Name, l, at)
	}
}

// announce tells OnLink where a peer's link has changed.
func (k *keeper) announce(e *entry) {
	up := e.alive && e.streaming && e.load != nil && !e.load.Draining
	if up == e.up {
		return
	}
	e.up = up
	if e.load != nil {
		changed := *e.load
		changed.Link = up
		e.load = &changed
	}
	k.loadsChanged = true
	if k.call.link != nil {
		k.call.link(e.member.Name, up)
	}
}

// isNews says whether a record of a process that started at from is newer than what is known: a later process, or a later report of the same;
// sequence numbers may wrap.
func (e *entry) isNews(l Load, from int64) bool {
	return e.load == nil || from > e.from || from == e.from && int32(l.Seq-e.load.Seq) > 0
}
