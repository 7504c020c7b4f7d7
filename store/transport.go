package store

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Why a message of a peer is not passed on to raft.
var (
	errFalseID   = errors.New("the message is in the name of another server than the one at the other end of the stream")
	errNotServer = errors.New("this server takes no messages from that one any more")
	errNotLeader = errors.New("only the leader may ask for an election")
	errTerm      = errors.New("the term is farther ahead than elections could have taken it")
	errMalformed = errors.New("the message is malformed")
)

// farthest is how far ahead of this server's a term may be (count): more than a century of elections, one each second. Behind the last term there is none.
const farthest = 1 << 32

// transport is raft's transport. Raft believes what a message says of its sender, and its own transport does not know which stream a message came on;
// so each stream that a peer has opened is read by a transport of its own, and all that comes by it is held against whose stream it is.
type transport struct {
	*raft.NetworkTransport // for what this server asks its peers
	stream                 *stream
	may                    func(id string) bool
	server                 *atomic.Pointer[raft.Raft]
	logger                 hclog.Logger // of raft's own
	own                    hclog.Logger
	consume                chan raft.RPC
	beat                   atomic.Pointer[func(raft.RPC)]
	done                   chan struct{}
	once                   sync.Once
	told                   atomic.Int64 // when a refusal was logged, in nanoseconds of the clock
}

// newTransport reads what peers send; logger is for raft's own lines. Before raft has begun, nobody leads and there are no servers.
func newTransport(o Options, s *stream, logger hclog.Logger, server *atomic.Pointer[raft.Raft]) *transport {
	t := &transport{stream: s, may: o.May, server: server, logger: logger, own: o.Logger.Named("store"), consume: make(chan raft.RPC), done: make(chan struct{})}
	t.NetworkTransport = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Stream: outgoing{s, t.done}, MaxPool: pooledStreams, Timeout: transportTimeout, Logger: logger,
		ServerAddressProvider: addresses{self: Server{ID: o.ID, Addr: o.Addr}, lookup: o.AddrOf, servers: func() []Server { return serversOf(server.Load()) }},
	})
	go t.accept()
	return t
}

// Consumer implements raft.Transport.
func (t *transport) Consumer() <-chan raft.RPC { return t.consume }

// SetHeartbeatHandler implements raft.Transport.
func (t *transport) SetHeartbeatHandler(f func(raft.RPC)) { t.beat.Store(&f) }

// Close implements raft.WithClose.
func (t *transport) Close() error {
	t.once.Do(func() { close(t.done) })
	return t.NetworkTransport.Close()
}

// accept serves each stream of a peer until the listener is closed.
func (t *transport) accept() {
	for {
		c, err := t.stream.accept()
		if err != nil {
			return
		}
		one := &incoming{Conn: c, first: make(chan struct{}, 1), gone: make(chan struct{}), shut: make(chan struct{})}
		one.first <- struct{}{}
		in := raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{Stream: one, Timeout: transportTimeout, Logger: t.logger})
		in.SetHeartbeatHandler(func(rpc raft.RPC) { t.take(c.peer, one, rpc, t.beat.Load()) })
		go t.pass(in, one, c.peer)
	}
}

// pass takes what comes by one stream until it ends.
func (t *transport) pass(in *raft.NetworkTransport, one *incoming, peer string) {
	// An error could only be the stream's, which has ended.
	defer func() { _ = in.Close() }()
	for {
		select {
		case rpc := <-in.Consumer():
			t.take(peer, one, rpc, nil)
		case <-one.gone:
			return
		case <-t.done:
			return
		}
	}
}

// take has raft answer a message, or refuses it. A heartbeat is answered by beat, if there is one yet: it need not wait for raft's own loop.
func (t *transport) take(peer string, one *incoming, rpc raft.RPC, beat *func(raft.RPC)) {
	if err := t.judge(peer, rpc.Command); err != nil {
		t.refuse(peer, rpc, err)
		return
	}
	if beat != nil {
		(*beat)(rpc)
		return
	}
	select {
	case t.consume <- rpc:
	case <-one.gone:
	case <-t.done:
	}
}

// judge holds a message against whose stream it came by.
func (t *transport) judge(peer string, command any) error {
	if t.stream.peerOf == nil {
		return nil
	}
	m, ok := command.(raft.WithRPCHeader)
	if !ok {
		return errFalseID
	}
	if id := string(m.GetRPCHeader().ID); id != peer {
		return fmt.Errorf("%w: %q, %q", errFalseID, id, peer)
	}
	if t.may != nil && !t.may(peer) { // it might when the stream began
		return errNotServer
	}
	if _, ok := command.(*raft.TimeoutNowRequest); ok {
		if s := t.server.Load(); s != nil {
			if _, leader := s.LeaderWithID(); leader != "" && string(leader) != peer {
				return errNotLeader
			}
		}
	}
	return t.sane(command)
}

// sane refuses what raft would take at its word to the end of its terms, or end the process over.
func (t *transport) sane(command any) error {
	var term uint64
	whole := true
	switch m := command.(type) {
	case *raft.AppendEntriesRequest:
		term = m.Term
		for _, e := range m.Entries {
			whole = whole && e != nil && (e.Type != raft.LogConfiguration || readable(e.Data))
		}
	case *raft.RequestVoteRequest:
		term = m.Term
	case *raft.RequestPreVoteRequest:
		term = m.Term
	case *raft.InstallSnapshotRequest:
		term = m.Term
		whole = m.SnapshotVersion > 0 && readable(m.Configuration)
	}
	if !whole {
		return errMalformed
	}
	if s := t.server.Load(); s != nil && term > s.CurrentTerm() && term-s.CurrentTerm() > farthest {
		return errTerm
	}
	return nil
}

// readable reports whether bytes are a configuration of servers: raft panics over others.
func readable(b []byte) (ok bool) {
	defer func() { ok = recover() == nil }()
	raft.DecodeConfiguration(b)
	return true
}

// refuse answers with an error, after what else belongs to the message.
func (t *transport) refuse(peer string, rpc raft.RPC, err error) {
	t.stream.meter.count(metricFalse)
	if now, told := time.Now().UnixNano(), t.told.Load(); now-told >= int64(time.Second) && t.told.CompareAndSwap(told, now) {
		t.own.Warn("refused a message of a peer", "peer", peer, "err", err)
	}
	if rpc.Reader != nil {
		if _, rerr := io.Copy(io.Discard, rpc.Reader); rerr != nil {
			err = errors.Join(err, rerr)
		}
	}
	rpc.Respond(nil, err)
}

// outgoing is the stream layer of a transport that accepts nothing.
type outgoing struct {
	*stream
	done <-chan struct{}
}

// Accept implements net.Listener.
func (o outgoing) Accept() (net.Conn, error) {
	<-o.done
	return nil, net.ErrClosed
}

// incoming is the stream layer of a transport that has one stream. It is that stream too.
type incoming struct {
	net.Conn
	first chan struct{} // has a token until the stream was accepted
	gone  chan struct{} // closed when the stream ends
	shut  chan struct{} // closed with the layer
	over  sync.Once
	end   sync.Once
}

// Accept implements net.Listener.
func (i *incoming) Accept() (net.Conn, error) {
	select {
	case <-i.first:
		return incomingConn{i.Conn, i}, nil
	case <-i.shut:
		return nil, net.ErrClosed
	}
}

// Dial implements raft.StreamLayer.
func (i *incoming) Dial(raft.ServerAddress, time.Duration) (net.Conn, error) {
	return nil, net.ErrClosed
}

// Addr implements net.Listener.
func (i *incoming) Addr() net.Addr { return i.LocalAddr() }

// Close implements net.Listener.
func (i *incoming) Close() error {
	i.end.Do(func() { close(i.shut) })
	return i.Conn.Close()
}

// incomingConn tells when it is closed.
type incomingConn struct {
	net.Conn
	one *incoming
}

// Close implements net.Conn.
func (c incomingConn) Close() error {
	c.one.over.Do(func() { close(c.one.gone) })
	return c.Conn.Close()
}

var (
	_ raft.Transport   = (*transport)(nil)
	_ raft.WithPreVote = (*transport)(nil)
	_ raft.WithClose   = (*transport)(nil)
	_ raft.StreamLayer = (*incoming)(nil)
	_ raft.StreamLayer = outgoing{}
)
