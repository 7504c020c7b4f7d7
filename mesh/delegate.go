package mesh

import (
	"fmt"

	"github.com/hashicorp/memberlist"
)

// delegate is what memberlist calls. All its methods run under memberlist's locks or in its receive loop: they read snapshots, leave notes
// in the inbox, and never wait.
type delegate struct {
	facts *facts
	inbox *inbox
	queue *memberlist.TransmitLimitedQueue
	meter *meter
}

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
	_ memberlist.MergeDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
)

// NodeMeta implements memberlist.Delegate.
func (d *delegate) NodeMeta(int) []byte { return d.facts.metadata() }

// NotifyMsg implements memberlist.Delegate.
func (d *delegate) NotifyMsg(b []byte) {
	kind, from, rest, err := cutMessage(b)
	if err != nil {
		d.meter.refused(reasonMessage, 1)
		return
	}
	if kind == kindLeave {
		d.leave(func(n *notes) bool { return put(n.leaves, from.name, from, maxMembers) })
		return
	}
	load, err := DecodeLoad(rest)
	if err != nil {
		d.meter.refused(reasonMessage, 1)
		return
	}
	d.leave(func(n *notes) bool { return put(n.loads, from.name, received{from, load}, maxMembers) })
}

// GetBroadcasts implements memberlist.Delegate.
func (d *delegate) GetBroadcasts(overhead, limit int) [][]byte {
	return d.queue.GetBroadcasts(overhead, limit)
}

// LocalState implements memberlist.Delegate: who has left, for peers that missed the notice.
func (d *delegate) LocalState(bool) []byte { return encodeNotices(d.facts.notices()) }

// MergeRemoteState implements memberlist.Delegate.
func (d *delegate) MergeRemoteState(b []byte, _ bool) {
	left, err := decodeNotices(b)
	if err != nil {
		d.meter.refused(reasonMessage, 1)
		return
	}
	for _, from := range left {
		d.leave(func(n *notes) bool { return put(n.leaves, from.name, from, maxMembers) })
	}
}

// NotifyJoin implements memberlist.EventDelegate.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.change(n, true) }

// NotifyUpdate implements memberlist.EventDelegate.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.change(n, true) }

// NotifyLeave implements memberlist.EventDelegate: n died or left.
func (d *delegate) NotifyLeave(n *memberlist.Node) { d.change(n, false) }

func (d *delegate) change(n *memberlist.Node, alive bool) {
	m, err := memberOf(n)
	if err != nil {
		// NotifyAlive has refused every node whose metadata cannot be read.
		d.meter.refused(reasonMetadata, 1)
		return
	}
	d.leave(func(n *notes) bool { return put(n.changes, m.Name, change{m, alive}, maxMembers) })
}

// NotifyAlive implements memberlist.AliveDelegate: an error keeps the node out.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	m, err := memberOf(n)
	if err != nil {
		d.meter.refused(reasonMetadata, 1)
		return err
	}
	if m.Name == d.facts.self.Name {
		return nil
	}
	return d.admit(m)
}

// NotifyMerge implements memberlist.MergeDelegate: an error refuses the whole join.
func (d *delegate) NotifyMerge(peers []*memberlist.Node) error {
	for _, n := range peers {
		if n.Name == d.facts.self.Name || n.State == memberlist.StateDead || n.State == memberlist.StateLeft {
			continue
		}
		m, err := memberOf(n)
		if err != nil {
			d.meter.refused(reasonMetadata, 1)
			return err
		}
		if err := d.admit(m); err != nil {
			return err
		}
	}
	return nil
}

// admit says whether m may be a member.
func (d *delegate) admit(m Member) error {
	if ours := d.facts.allegiance(); ours != "" && m.Cluster != "" && m.Cluster != ours {
		d.meter.refused(reasonOtherCluster, 1)
		return fmt.Errorf("%w: %s is in %s, this node in %s", ErrOtherCluster, m.Name, m.Cluster, ours)
	}
	if !d.facts.hasRoom(m.Name) {
		d.meter.refused(reasonMembers, 1)
		return fmt.Errorf("%s: the cluster has %d members already", m.Name, maxMembers)
	}
	return nil
}

// NotifyConflict implements memberlist.ConflictDelegate.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	e, err := memberOf(existing)
	if err != nil {
		d.meter.refused(reasonMetadata, 1)
		return
	}
	o, err := memberOf(other)
	if err != nil {
		d.meter.refused(reasonMetadata, 1)
		return
	}
	d.leave(func(n *notes) bool { return put(n.conflicts, e.Name+" "+o.Addr, conflict{e, o}, maxConflicts) })
}

func (d *delegate) leave(write func(n *notes) bool) {
	if !d.inbox.leave(write) {
		d.meter.refused(reasonInbox, 1)
	}
}
