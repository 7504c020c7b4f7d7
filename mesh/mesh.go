package mesh

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/memberlist"
)

// Dialer opens a stream to a peer's "ip:port"; it must end with its context.
type Dialer func(ctx context.Context, addr string) (net.Conn, error)

// Options says how a Mesh is opened.
type Options struct {
	// Self is this node; Status and Since are ignored. Name, ID and Addr are required, Addr being the advertised "ip:port". A zero
	// StartedAt means now.
	Self Member
	// Packets is the UDP socket on the peer port. Open takes it over, also when it fails.
	Packets net.PacketConn
	// Key encrypts gossip: 16, 24 or 32 bytes for AES. Nil runs gossip in plain text.
	Key []byte
	// AlsoKey is taken beside Key, while that is being replaced; see SetKeys. Nil is none.
	AlsoKey []byte
	// GossipListener and LoadListener bring the streams of peers. Open takes them over, also when it fails.
	GossipListener, LoadListener net.Listener
	// DialGossip and DialLoad open streams to peers. The mesh closes what they return.
	DialGossip, DialLoad Dialer
	// OnLoad is told of every new load record of a peer. It must not block; it may be nil.
	OnLoad func(peer string, l Load, receivedAt time.Time)
	// OnLink is told when a peer's load stream comes alive (after its first OnLoad) or dies: closed, or silent for 150 ms; a peer that
	// drains or is no longer alive is down too. It must not block; it may be nil.
	OnLink func(peer string, up bool)
	// OnUnreachable is told, after OnLink, that a peer's load stream has been silent for 500 ms and that its kernel has not confirmed what was sent
	// to it: its host is gone, or the way is cut in one direction or both. What is open to it or from it will not get on. A process that is stopped is
	// not told of. It must not block; it may be nil.
	OnUnreachable func(peer string)
	// OnConflict is told that other claims the name of existing, one of which may be this node. It must not block; it may be nil.
	OnConflict func(existing, other Member)
	// Logger may be nil.
	Logger hclog.Logger
	// Metrics may be nil.
	Metrics *metrics.Metrics
}

// Mesh is one node's part in gossip. Make one with Open; it needs Close.
type Mesh struct {
	facts     *facts
	list      *memberlist.Memberlist
	transport *transport
	queue     *memberlist.TransmitLimitedQueue
	keeper    *keeper
	keys      *memberlist.Keyring // nil without encryption
	meter     *meter
	log       hclog.Logger

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wait   sync.WaitGroup

	report sync.Mutex // orders reports
	seq    uint32

	life   sync.RWMutex // read: memberlist is being used; write: it is being shut down
	closed bool
}

// Open starts to gossip, alone at first, and to serve and follow load streams. It does not block on the network.
func Open(o Options) (*Mesh, error) {
	addr, err := o.check()
	if err != nil {
		o.closeSockets()
		return nil, fmt.Errorf("open the mesh: %w", err)
	}
	o.Self.Addr = net.JoinHostPort(addr.ip.String(), strconv.Itoa(addr.port))
	facts, err := newFacts(o.Self)
	if err != nil {
		o.closeSockets()
		return nil, fmt.Errorf("open the mesh: %w", err)
	}
	m := &Mesh{facts: facts, meter: &meter{sink: o.Metrics}, log: o.Logger.Named("mesh")}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	m.queue = &memberlist.TransmitLimitedQueue{
		NumNodes:       func() int { return int(facts.alive.Load()) },
		RetransmitMult: memberlist.DefaultLANConfig().RetransmitMult,
	}
	box := newInbox()
	m.transport = newTransport(o, m.meter, m.log)
	callbacks := &delegate{facts: facts, inbox: box, queue: m.queue, meter: m.meter}
	m.keeper = newKeeper(m, box, o)
	config, err := profile(o, addr, m.transport, callbacks, m.log)
	if err == nil {
		m.keys = config.Keyring
		m.list, err = memberlist.Create(config)
	}
	if err != nil {
		m.cancel()
		_ = m.transport.Shutdown()
		o.closeSockets()
		return nil, fmt.Errorf("open the mesh: start gossip: %w", err)
	}
	m.transport.begin()
	m.wait.Go(func() { m.keeper.run(m.ctx) })
	m.wait.Go(func() { serveFeeds(m.ctx, o.LoadListener, &feeds{facts: facts, meter: m.meter, log: m.log}) })
	return m, nil
}

// closeSockets closes what a failed Open had taken over; closing twice does no harm.
func (o *Options) closeSockets() {
	if o.Packets != nil {
		_ = o.Packets.Close()
	}
	for _, l := range []net.Listener{o.GossipListener, o.LoadListener} {
		if l != nil {
			_ = l.Close()
		}
	}
}

// advertised is an address that memberlist can tell to others.
type advertised struct {
	ip   net.IP
	port int
}

// check fills defaults in and reports every problem.
func (o *Options) check() (advertised, error) {
	var errs []error
	need := func(ok bool, what string) {
		if !ok {
			errs = append(errs, errors.New(what))
		}
	}
	need(o.Self.Name != "" && len(o.Self.Name) <= maxNodeName, "the node name is empty or longer than 128 bytes")
	need(o.Self.ID != "", "no node id")
	need(len(o.Self.Cluster) <= maxClusterID, "the cluster id is longer than 64 bytes")
	need(o.Packets != nil && o.GossipListener != nil && o.LoadListener != nil, "a socket is missing")
	need(o.DialGossip != nil && o.DialLoad != nil, "a dialer is missing")
	ap, err := netip.ParseAddrPort(o.Self.Addr)
	need(err == nil && !ap.Addr().IsUnspecified() && ap.Port() != 0,
		fmt.Sprintf("the advertised address %q is not an address that peers can reach: give ip:port", o.Self.Addr))
	if o.Self.StartedAt.IsZero() {
		o.Self.StartedAt = time.Now()
	}
	o.Self.StartedAt = time.UnixMilli(o.Self.StartedAt.UnixMilli())
	o.Self.Tags = maps.Clone(o.Self.Tags)
	if o.Logger == nil {
		o.Logger = hclog.NewNullLogger()
	}
	// The cluster may become known later: what we say of ourselves must fit with the longest ID.
	longest := o.Self
	longest.Cluster = longestCluster
	if _, err := encodeMetadata(longest); err != nil {
		errs = append(errs, err)
	}
	return advertised{ip: net.IP(ap.Addr().Unmap().AsSlice()), port: int(ap.Port())}, errors.Join(errs...)
}

// longestCluster stands for any cluster ID when room for it is kept.
const longestCluster = "0123456789012345678901234567890123456789012345678901234567890123"

// Members returns this node and every member it knows, sorted by name. Failed and left members stay for 24 hours, or until a node of the same
// name comes back. The slice is the caller's.
func (m *Mesh) Members() []Member { return slices.Clone(*m.facts.members.Load()) }

// Loads returns the latest load record of every peer that is alive or suspect and has sent one. The map is the caller's; the Apps in it are
// shared and must not be changed.
func (m *Mesh) Loads() map[string]PeerLoad { return maps.Clone(*m.facts.loads.Load()) }

// Watch returns a channel that holds a poke whenever Members may have changed since the last receive, and one at the beginning. It is never
// closed; it falls silent when ctx ends or the mesh is closed.
func (m *Mesh) Watch(ctx context.Context) <-chan struct{} { return m.keeper.watchers.add(ctx) }

// SetCluster says which cluster this node belongs to, once that is known, and tells the others. From then on members of another cluster are
// refused, and those already met are no longer reported. It does not wait for the network.
func (m *Mesh) SetCluster(id string) {
	m.life.RLock()
	defer m.life.RUnlock()
	if m.closed || id == m.facts.cluster() {
		return
	}
	if len(id) > maxClusterID {
		m.log.Error("the cluster id is too long to be gossiped", "what", id)
		return
	}
	if err := m.facts.setCluster(id); err != nil {
		m.log.Error("cannot gossip the cluster id", "what", id, "err", err)
		return
	}
	// The update is queued at once; how soon somebody has it is not waited for, so the only error there can be is the time-out.
	_ = m.list.UpdateNode(time.Nanosecond)
}

// Report replaces this node's own load record. It sets the record's Seq; peers with a stream have it within 50 ms. It does not block. The
// caller must not change Apps afterwards.
func (m *Mesh) Report(l Load) {
	m.report.Lock()
	defer m.report.Unlock()
	m.seq++
	l.Seq = m.seq
	if kept := fitting(l.Apps); len(kept) < len(l.Apps) {
		m.meter.refused(reasonApps, len(l.Apps)-len(kept))
		l.Apps = kept
	}
	m.facts.setLoad(l)
	m.keeper.own.Store(&l)
}

// fitting returns the apps that fit into a record.
func fitting(apps []AppLoad) []AppLoad {
	if len(apps) <= MaxApps && !slices.ContainsFunc(apps, tooLong) {
		return apps
	}
	kept := slices.DeleteFunc(slices.Clone(apps), tooLong)
	return kept[:min(len(kept), MaxApps)]
}

func tooLong(a AppLoad) bool { return len(a.App) > MaxAppName }

// Close stops gossip without a word, as a crash would: call Leave first to go in order. It closes the sockets and streams of the mesh and
// waits for its goroutines. It may be called more than once.
func (m *Mesh) Close() error {
	m.cancel()
	m.transport.interrupt()
	m.life.Lock()
	already := m.closed
	m.closed = true
	m.life.Unlock()
	if already {
		m.wait.Wait()
		return nil
	}
	err := m.list.Shutdown()
	m.wait.Wait()
	if err != nil {
		return fmt.Errorf("close the mesh: %w", err)
	}
	return nil
}
