package node

import (
	"context"
	"errors"
	"regexp"

	"meshnode/node/api"
	"meshnode/node/supervisor/output"
	"meshnode/store"
	"meshnode/store/fsm"
)

// peerBackend answers other nodes.
type peerBackend struct{ n *Node }

// Hello implements api.Peer. It is where two clusters under one key meet, and where a name that is taken is refused.
func (b peerBackend) Hello(ctx context.Context, from api.Hello) (api.Hello, error) {
	mine := b.n.hello()
	mine.Unseen = !b.n.sees(from)
	if err := b.n.sameCaller(ctx, from); err != nil {
		return mine, err
	}
	if err := otherProtocol(mine, from); err != nil {
		b.n.log.Warn("refused a server of another release", "peer", from.Node, "addr", from.Addr, "version", from.Version, "reason", err)
		return mine, err
	}
	if from.ID == mine.ID {
		return mine, copied(from, mine)
	}
	if b.n.gaveUp(from.ID) {
		return mine, api.Errorf(api.CodeGivenUp, "stop it, empty its data folder and start it again", "this server (%s) was given up by `meshnode recover`", from.ID)
	}
	if from.Node == mine.Node {
		return mine, taken(from.Node, mine.Addr)
	}
	for _, m := range b.n.members() {
		// The same place with another identity is a server whose disk was wiped: it takes its place again.
		if m.Name == from.Node && m.ID != from.ID && m.Addr != from.Addr && m.Status.Up() {
			return mine, taken(from.Node, m.Addr)
		}
		// It may have moved. Whoever still answers at the old address says whether he is the same.
		if m.ID == from.ID && m.Addr != from.Addr && m.Status.Up() {
			if err := b.n.stillThere(ctx, from, m.Addr); err != nil {
				return mine, err
			}
		}
	}
	if yields(mine, from) {
		b.n.end(&yieldError{cluster: from.Cluster, addr: from.Addr})
	}
	return mine, nil
}

// sees reports whether the server that greets is a living member at the address that it says.
func (n *Node) sees(from api.Hello) bool {
	m, ok := n.members()[from.Node]
	return ok && m.ID == from.ID && m.Addr == from.Addr && m.Status.Up()
}

// otherProtocol is an error if two servers do not speak the same version of the peers' protocol.
func otherProtocol(a, b api.Hello) error {
	if a.Protocol == b.Protocol {
		return nil
	}
	return api.Errorf(api.CodeInvalid, "use the same release of meshnode on all servers", "%s (%s) speaks version %d of the peer protocol, %s (%s) speaks version %d",
		a.Node, a.Version, a.Protocol, b.Node, b.Version, b.Protocol)
}

// oldPlaceLimit is how long a server's former address is asked; the one that greets waits for helloLimit.
const oldPlaceLimit = helloLimit / 2

// stillThere is an error if another server answers at the former address of the one that greets, with the same identity.
func (n *Node) stillThere(ctx context.Context, from api.Hello, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, oldPlaceLimit)
	defer cancel()
	other, err := n.greetPeer(ctx, addr)
	if err != nil {
		return nil
	}
	return copied(from, other)
}

// copied is an error if the one that greets and another one, which is up, are two servers with one identity.
func copied(from, other api.Hello) error {
	if from.ID != other.ID || from.Addr == other.Addr {
		return nil
	}
	return api.Errorf(api.CodeExpelled, "empty its data folder, all but cluster.key, and start it again as a new server",
		"this server's data folder is a copy: %s is up at %s with the same identity", other.ID, other.Addr)
}

func taken(node, addr string) error {
	return api.Errorf(api.CodeConflict, "start this one with another name: -node <name>", "a server named %s is a member already, at %s", node, addr)
}

// Apply implements api.Peer.
func (b peerBackend) Apply(ctx context.Context, command []byte) (uint64, error) {
	c, err := fsm.Decode(command)
	if err != nil {
		return 0, api.Errorf(api.CodeInvalid, "use the same release on all servers", "%s", err)
	}
	if st := b.n.store.Status(); st.State != "leader" {
		return 0, api.Errorf(api.CodeNotLeader, "", "this server is not the leader")
	}
	res, err := b.n.store.Apply(ctx, c)
	var other *store.NotLeaderError
	if errors.As(err, &other) || errors.Is(err, store.ErrNoLeader) { // not any more: nothing was changed
		return 0, api.Errorf(api.CodeNotLeader, "", "%s", err)
	}
	return res.Index, asAPI(err)
}

// LocalStatus implements api.Peer.
func (b peerBackend) LocalStatus(context.Context) (api.LocalStatus, error) { return b.n.local(), nil }

// LocalLogs implements api.Peer.
func (b peerBackend) LocalLogs(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error {
	want := output.Query{Apps: q.Apps, Worker: q.Worker, Stream: q.Stream, Lines: q.Lines, Since: q.Since, Follow: q.Follow}
	if q.Grep != "" {
		re, err := regexp.Compile(q.Grep)
		if err != nil {
			return api.Errorf(api.CodeInvalid, "", "the pattern is no regular expression: %v", err)
		}
		want.Grep = re
	}
	return b.n.sup.Lines(ctx, want, func(l output.Line) error { return emit(b.n.logLine(l)) })
}

// TendLocal implements api.Peer.
func (b peerBackend) TendLocal(_ context.Context, o api.Order) error {
	switch o.What {
	case api.OrderFlush:
		return b.n.sup.FlushLogs(o.App)
	case api.OrderReopen:
		return b.n.sup.ReopenLogs(o.App)
	case api.OrderReset:
		b.n.sup.ResetRestarts(o.App)
		return nil
	case api.OrderSignal:
		if err := b.n.sup.Signal(o.App, o.Signal); err != nil {
			return api.Errorf(api.CodeInvalid, "", "%v", err)
		}
		return nil
	}
	return api.Errorf(api.CodeInvalid, "", "nothing is known of the order %q", o.What)
}

var _ api.Peer = peerBackend{}
