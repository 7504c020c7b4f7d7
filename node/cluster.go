package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"meshnode/balancer"
	"meshnode/mesh"
	"meshnode/mesh/mux"
	"meshnode/store"
	"meshnode/store/quorum"
	"meshnode/store/spec"
)

// openStore opens the configuration, founding a cluster if this server may.
func (n *Node) openStore(context.Context) error {
	found := ""
	if n.who.founder {
		id, err := newClusterID()
		if err != nil {
			return err
		}
		found = id
	}
	raft := &guarded{Listener: n.mux.Listen(mux.Raft), allow: func(who mux.Identity) bool { return n.mayRaft(who.ID) }, ready: make(chan struct{})}
	st, err := store.Open(store.Options{ID: n.who.ID, Addr: n.who.addr, Dir: n.dir.join("raft"), Listener: raft,
		Dial:   func(ctx context.Context, addr string) (net.Conn, error) { return n.mux.Dial(ctx, mux.Raft, addr) },
		PeerOf: func(c net.Conn) string { who, _ := mux.PeerOf(c); return who.ID }, May: n.mayRaft,
		AddrOf: n.addrOfID, Found: found, LeaderTasks: []store.LeaderTask{n.keepVoters, n.keepRollouts}, Logger: n.log, Metrics: n.tele.Metrics})
	if err != nil {
		return n.openError(err)
	}
	n.store = st
	raft.open()
	n.closeLater("configuration", st.Close)
	return nil
}

// openError says what to do about a configuration that cannot be opened.
func (n *Node) openError(err error) error {
	dir := n.dir.join("raft")
	switch {
	case store.Newer(err):
		return fmt.Errorf("%w; nothing is wrong with the data folder, and nothing was changed in it: start this server with the meshnode that it had before, or a newer one", err)
	case store.Unusable(err):
		kept := dir + ".damaged"
		return fmt.Errorf("%w; this server must not go on with it: mv %s %s && rm %s, then start it with -join <another server>, and it joins as a new one; "+
			"where there is no other, start it without -join and give it what is left: meshnode snapshot restore %s/configuration.bin", err, dir, kept, n.dir.join(identityFile), kept)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w; free some space on the disk of %s, then start it again", err, dir)
	}
	return err
}

// guarded passes on only the streams of peers that may use it.
type guarded struct {
	net.Listener
	allow func(mux.Identity) bool
	ready chan struct{} // closed when allow may be asked
	once  sync.Once
}

func (g *guarded) open() { g.once.Do(func() { close(g.ready) }) }

// Close implements net.Listener.
func (g *guarded) Close() error {
	g.open()
	return g.Listener.Close()
}

// Accept implements net.Listener.
func (g *guarded) Accept() (net.Conn, error) {
	<-g.ready
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if who, ok := mux.PeerOf(c); ok && g.allow(who) {
			return c, nil
		}
		c.Close()
	}
}

// mayRaft reports whether a peer may speak Raft to this server: the servers of the configuration, members of the cluster that are up (the
// configuration here may be old), and anyone who holds the key while this server has no configuration yet; but none that was given up.
func (n *Node) mayRaft(id string) bool {
	if n.gaveUp(id) {
		return false
	}
	if len(n.store.Servers()) == 0 || n.store.IsServer(id) {
		return true
	}
	for _, m := range n.members() {
		if m.ID == id && m.Status.Up() {
			return true
		}
	}
	return false
}

// addrOfID is the present address of the member with that identity.
func (n *Node) addrOfID(id string) (string, bool) {
	for _, m := range n.members() {
		if m.ID == id {
			return m.Addr, true
		}
	}
	return "", false
}

// members are all members by name, as of the last change.
func (n *Node) members() map[string]mesh.Member {
	if m := n.view.members.Load(); m != nil {
		return *m
	}
	return nil
}

// keepVoters is the leader's task: voters follow the members.
func (n *Node) keepVoters(ctx context.Context, s *store.Store) {
	wake := make(chan struct{}, 1)
	n.life.wg.Go(func() { n.eachChange(ctx, func() { poke(wake) }) })
	l := &quorum.Loop{Raft: s, LeaderID: n.who.ID, Members: func() []quorum.Member { return n.quorumMembers(s) }, Wake: wake, Logger: n.log.Named("quorum"), Metrics: n.tele.Metrics}
	l.Run(ctx)
}

// eachChange calls f at every change of the members until the context ends.
func (n *Node) eachChange(ctx context.Context, f func()) {
	if n.view.members.Load() == nil {
		return // gossip is not open yet: who asks looks again by the clock
	}
	changes := n.mesh.Watch(ctx)
	for {
		select {
		case <-changes:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// poke wakes the reader of c unless it is to wake already.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (n *Node) quorumMembers(s *store.Store) []quorum.Member {
	var out []quorum.Member
	state := s.State()
	for _, m := range n.members() {
		if m.Cluster != "" && m.Cluster != state.ID || state.GaveUp(m.ID) {
			continue
		}
		out = append(out, quorum.Member{ID: m.ID, Name: m.Name, Addr: m.Addr, Zone: m.Zone, Since: m.Since,
			Alive: m.Status.Up(), Left: m.Status == mesh.Left})
	}
	return out
}

// openMesh opens gossip on the peer port and starts to follow it.
func (n *Node) openMesh(ctx context.Context) error {
	packets, err := net.ListenPacket("udp", n.mux.Addr().String())
	if err != nil {
		return fmt.Errorf("the peer port %s (UDP) cannot be opened: %w; choose another with -bind", n.mux.Addr(), err)
	}
	o := mesh.Options{Packets: packets, Logger: n.log, Metrics: n.tele.Metrics,
		Self: mesh.Member{Name: n.s.Node, ID: n.who.ID, Addr: n.who.addr, Cluster: n.store.State().ID, Version: n.o.Version, Zone: n.s.Zone, Weight: n.s.Weight,
			Tags: n.s.Tags, Cores: n.who.cores, StartedAt: n.who.started},
		GossipListener: n.mux.Listen(mux.Gossip), LoadListener: n.mux.Listen(mux.Load),
		DialGossip: func(ctx context.Context, addr string) (net.Conn, error) { return n.mux.Dial(ctx, mux.Gossip, addr) },
		DialLoad:   func(ctx context.Context, addr string) (net.Conn, error) { return n.mux.Dial(ctx, mux.Load, addr) },
		OnLoad:     n.onLoad, OnLink: n.onLink, OnUnreachable: n.onUnreachable,
		OnConflict: n.onConflict}
	if n.keys != nil {
		use, also := n.keys.keys()
		o.Key = use.Gossip()
		if len(also) > 0 {
			o.AlsoKey = also[0].Gossip()
		}
	}
	m, err := mesh.Open(o)
	if err != nil {
		packets.Close()
		return err
	}
	n.mesh = m
	n.followKeys()
	n.closeLater("gossip", m.Close)
	n.refreshMembers()
	n.life.wg.Go(func() { n.eachChange(ctx, n.refreshMembers) })
	return nil
}

// refreshMembers publishes the members for all that look them up, and forgets who is gone.
func (n *Node) refreshMembers() {
	now := make(map[string]mesh.Member)
	for _, m := range n.mesh.Members() {
		now[m.Name] = m
		n.noteMember(m)
		if m.Name != n.s.Node {
			n.bal.SetNode(m.Name, balancer.Node{Zone: m.Zone, Weight: m.Weight})
		}
		if m.Status == mesh.Failed || m.Status == mesh.Left {
			n.bal.Forget(m.Name)
		}
	}
	for name := range n.members() {
		if _, ok := now[name]; !ok {
			n.bal.Forget(name)
			n.routes.part(name, false, 0)
			n.view.clients.drop(name)
		}
	}
	n.view.members.Store(&now)
}

// noteMember says once what became of a member, and resets what was relayed to or from one that failed. Once and no more: where a partition has
// ended, the other may see us, and pass connections on, a moment before we see it.
func (n *Node) noteMember(m mesh.Member) {
	old, known := n.members()[m.Name]
	switch {
	case m.Name == n.s.Node || known && old.Status == m.Status && old.ID == m.ID:
	case m.Status == mesh.Failed:
		n.log.Warn("member failed", "peer", m.Name, "addr", m.Addr)
		n.proxy.CutPeer(m.Name)
	case m.Status == mesh.Left:
		n.log.Info("member left", "peer", m.Name, "addr", m.Addr)
	case m.Status == mesh.Alive && !(known && old.Status == mesh.Suspect && old.ID == m.ID):
		n.log.Info("member joined", "peer", m.Name, "addr", m.Addr)
	}
}

// onLink notes whether a peer is heard.
func (n *Node) onLink(peer string, up bool) {
	n.bal.SetLink(peer, up)
	if !up {
		n.proxy.DropStreams(peer)
	}
}

// onUnreachable resets what is relayed to a peer or came from it, for its clients wait in vain.
func (n *Node) onUnreachable(peer string) {
	n.log.Warn("nothing gets through to a peer, or back; what was relayed between the two is reset", "peer", peer)
	n.proxy.CutPeer(peer)
}

// onConflict says that a name is claimed twice, or that a server has moved.
func (n *Node) onConflict(existing, other mesh.Member) {
	if existing.ID == other.ID {
		n.log.Info("a server comes back with another address; it is a member there when its old one has failed", "peer", existing.Name, "addr", other.Addr)
		return
	}
	n.log.Error("two servers have the same name; start one of them with another -node", "node", existing.Name, "addr", existing.Addr, "peer", other.Addr)
}

// dialForward opens a forward stream to a node.
func (n *Node) dialForward(ctx context.Context, node string) (net.Conn, error) {
	m, ok := n.members()[node]
	if !ok {
		return nil, fmt.Errorf("%s is no member", node)
	}
	if n.store.State().Setting(spec.SettingForward) == spec.ForwardPlain {
		c, err := n.mux.DialSigned(ctx, m.Addr)
		if !errors.Is(err, mux.ErrPeerSecure) {
			return c, err
		}
		n.log.Debug("a peer of an older release takes forwards over TLS only", "peer", node)
	}
	return n.mux.Dial(ctx, mux.Forward, m.Addr)
}

// followCluster tells gossip the cluster's identity as soon as the configuration has it, and keeps the key that led there.
func (n *Node) followCluster(ctx context.Context) {
	known := ""
	for c := range n.store.Watch(ctx) {
		if c.ID != "" && c.ID != known {
			known = c.ID
			n.mesh.SetCluster(known)
			if err := n.keepKey(); err != nil {
				n.log.Error("the cluster key is not kept; it must be given at every start", "err", err)
			}
			n.log.Info("part of the cluster", "what", known)
		}
	}
}

// compile-time: what the pillars need of each other fits.
var (
	_ quorum.Raft  = (*store.Store)(nil)
	_ net.Listener = (*guarded)(nil)
)

// errNoCluster means that this server is not part of a cluster yet.
var errNoCluster = errors.New("this server is not part of a cluster yet")

// clusterWait is how long a change waits for a leader before it is refused.
const clusterWait = 5 * time.Second
