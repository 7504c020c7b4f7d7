package node

import (
	"context"
	"time"

	"meshnode/node/api"
	"meshnode/node/supervisor"
	"meshnode/store/fsm"
)

// peerBackend answers other nodes.
type peerBackend struct{ n *Node }

// Hello implements api.Peer. It is where two clusters under one key meet, and where a name that is taken is refused.
func (b peerBackend) Hello(_ context.Context, from api.Hello) (api.Hello, error) {
	mine := b.n.hello()
	if from.ID == mine.ID {
		return mine, nil
	}
	if from.Node == mine.Node {
		return mine, taken(from.Node, mine.Addr)
	}
	for _, m := range b.n.members() {
		// The same place with another identity is a server whose disk was wiped: it takes its place again.
		if m.Name == from.Node && m.ID != from.ID && m.Addr != from.Addr && m.Status.Up() {
			return mine, taken(from.Node, m.Addr)
		}
	}
	if yields(mine, from) {
		b.n.end(&yieldError{cluster: from.Cluster, addr: from.Addr})
	}
	return mine, nil
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
	return res.Index, asAPI(err)
}

// LocalStatus implements api.Peer.
func (b peerBackend) LocalStatus(context.Context) (api.LocalStatus, error) { return b.n.local(), nil }

// LocalLogs implements api.Peer.
func (b peerBackend) LocalLogs(ctx context.Context, q api.LogQuery, emit func(api.LogLine) error) error {
	var follower *supervisor.Follower
	if q.Follow { // before the past is read, so that no line falls between the two
		follower = b.n.sup.Follow(q.App)
		defer follower.Close()
	}
	past, err := b.n.sup.LastLines(q.App, q.Stream, q.Lines)
	if err != nil {
		return err
	}
	var seen time.Time
	for _, l := range past {
		seen = l.Time
		if err := emit(b.n.logLine(l)); err != nil {
			return err
		}
	}
	if follower == nil {
		return nil
	}
	return b.follow(ctx, follower, func(l supervisor.Line) error {
		if q.Stream != "" && l.Stream != q.Stream || !l.Time.Truncate(time.Microsecond).After(seen) {
			return nil
		}
		return emit(b.n.logLine(l))
	})
}

// follow passes on new lines until the context ends.
func (b peerBackend) follow(ctx context.Context, f *supervisor.Follower, emit func(supervisor.Line) error) error {
	for {
		select {
		case l := <-f.Lines():
			if err := emit(l); err != nil {
				return err
			}
		case <-ctx.Done():
			return nil
		}
	}
}

var _ api.Peer = peerBackend{}
