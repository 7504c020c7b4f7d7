package node

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"meshnode/node/api"
	"meshnode/store"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// rescueBackend is for the day on which servers are lost.
type rescueBackend struct {
	n     *Node
	ctx   context.Context // of the node
	asked *atomic.Bool    // this process is to be replaced for a recovery
}

// Snapshot implements api.Rescue. A command that changes nothing is agreed on first, so that what this node has then is the present.
func (b rescueBackend) Snapshot(ctx context.Context) (api.Snapshot, error) {
	n := b.n
	id := n.store.State().ID
	if id == "" {
		return api.Snapshot{}, n.noQuorum()
	}
	_, err := n.propose(ctx, fsm.Command{Found: &fsm.Found{ClusterID: id}})
	if code := api.CodeOf(err); err != nil && code != api.CodeNoQuorum && code != api.CodeUnavailable {
		return api.Snapshot{}, err
	}
	state := n.store.State()
	raw, stateErr := fsm.EncodeState(state)
	return api.Snapshot{Node: n.s.Node, Cluster: id, Index: state.Index, Current: err == nil, State: raw}, stateErr
}

// ReadSnapshot returns the configuration that is in the bytes of a snapshot. The error is for the operator.
func ReadSnapshot(b []byte) (*spec.Cluster, error) {
	c, err := fsm.DecodeState(b)
	if errors.Is(err, fsm.ErrUnsupported) {
		return nil, fmt.Errorf("it was written by a newer release of meshnode (%w)", err)
	}
	return c, err
}

// Recover implements api.Rescue. The node takes its own place, as in an upgrade: what was asked for is carried out when the configuration is
// opened, and the workers and listening sockets cross over.
func (b rescueBackend) Recover(ctx context.Context, q api.RecoverRequest) (api.Recovery, error) {
	n := b.n
	if n.store.State().ID == "" {
		return api.Recovery{}, n.noQuorum()
	}
	j, err := judge(n.who.ID, n.askServers(ctx), q.Lost)
	if err != nil {
		return api.Recovery{}, err
	}
	out := api.Recovery{Node: n.s.Node, Others: namesOf(j.others), Voters: j.voters, Index: n.store.State().Index}
	r := store.Recovery{ID: n.who.ID, Cluster: n.store.State().ID, Term: j.term, Asked: time.Now()}
	for _, s := range j.lost {
		out.Lost = append(out.Lost, api.LostServer{Node: s.name, ID: s.ID, Addr: s.Addr})
		r.Lost = append(r.Lost, s.ID)
	}
	for _, s := range j.others {
		r.Others = append(r.Others, s.Server)
	}
	if q.DryRun {
		return out, nil
	}
	if err := store.AskRecovery(n.dir.join("raft"), r); err != nil {
		return api.Recovery{}, fmt.Errorf("nothing was changed: %w", err)
	}
	n.log.Warn("giving up the servers that a majority was lost with, as was asked for", "count", len(r.Lost))
	// The link to this process's own program is open as long as this process is there.
	if err := n.o.Keeper.Upgrade(fmt.Sprintf("/proc/%d/exe", os.Getpid())); err != nil {
		return api.Recovery{}, errors.Join(refuse("nothing was changed, try again", "cannot start anew: %v", err), store.CancelRecovery(n.dir.join("raft")))
	}
	b.asked.Store(true)
	n.life.wg.Go(b.follow)
	out.Running = true
	return out, nil
}

// followEvery is the pause between two looks at whether this node is replaced.
const followEvery = 200 * time.Millisecond

// follow takes back what was asked for when this node is not replaced: nobody would expect it any more.
func (b rescueBackend) follow() {
	t := time.NewTicker(followEvery)
	defer t.Stop()
	for {
		select {
		case <-b.ctx.Done():
			return
		case <-t.C:
		}
		if o, err := b.n.o.Keeper.Outcome(); err == nil && !o.Running {
			if err := store.CancelRecovery(b.n.dir.join("raft")); err != nil {
				b.n.log.Error("the recovery is not taken back, and would be carried out at the next start", "err", err)
			}
			return
		}
	}
}

// Recovered implements api.Rescue.
func (b rescueBackend) Recovered(context.Context) (api.Recovery, error) {
	n := b.n
	if b.asked.Load() { // it is this process's successor that carries it out
		o, err := n.o.Keeper.Outcome()
		return api.Recovery{Running: o.Error == "", Error: o.Error}, err
	}
	r, failed := n.store.Recovered()
	if r == nil && failed == nil {
		return api.Recovery{}, nil
	}
	out := api.Recovery{Node: n.s.Node, Index: n.store.State().Index}
	if r != nil {
		for _, id := range r.Lost {
			out.Lost = append(out.Lost, api.LostServer{Node: serverName(id), ID: id})
		}
		for _, s := range r.Others {
			out.Others = append(out.Others, serverName(s.ID))
		}
		slices.Sort(out.Others)
	}
	if failed != nil {
		out.Error = failed.Error()
		return out, nil
	}
	out.Running = !n.store.Status().Quorum
	return out, nil
}

// gaveUp reports whether the server with that identity was given up for good. What this node has just been told counts before it is agreed on.
func (n *Node) gaveUp(id string) bool {
	r, err := n.store.Recovered()
	return n.store.State().GaveUp(id) || err == nil && r != nil && slices.Contains(r.Lost, id)
}

// givenUpFile says, in the folder of the configuration, that this server was given up: it does not start with that any more.
const givenUpFile = "raft/given-up"

// givenUp is why a server ends that the others have given up.
func (f *folder) givenUp() error {
	return fmt.Errorf("this server was given up with meshnode recover and is no part of the cluster any more; to have it join as a new one: rm -r %s %s, then start it again",
		f.join("raft"), f.join(identityFile))
}

// beGivenUp has this server end, and not start again: going on would be a second configuration beside the others'.
func (n *Node) beGivenUp() {
	if err := os.WriteFile(n.dir.join(givenUpFile), nil, 0o600); err != nil {
		n.log.Warn("it is not noted that this server was given up", "err", err)
	}
	n.end(n.dir.givenUp())
}

var _ api.Rescue = rescueBackend{}
