package node

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"meshnode/mesh"
	"meshnode/node/api"
	"meshnode/node/reconcile"
	"meshnode/store"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

const (
	// rolloutEvery is how often the leader looks at the nodes while a release is being rolled out.
	rolloutEvery = 100 * time.Millisecond
	// rolloutSlack is what a node may take beyond the time limits of its workers.
	rolloutSlack = 10 * time.Second
)

// roller leads releases over the nodes while this node leads the cluster. All it goes by is in the configuration and in what the nodes
// say of themselves, so that the next leader goes on where this one ended. One goroutine owns it.
type roller struct {
	n     *Node
	store *store.Store
	since map[string]time.Time // since when a node has been seen at work, by app, release and node
}

// keepRollouts is the leader's task: it gives the nodes their turns.
func (n *Node) keepRollouts(ctx context.Context, s *store.Store) {
	r := roller{n: n, store: s, since: make(map[string]time.Time)}
	changes := s.Watch(ctx)
	for {
		var again <-chan time.Time
		if r.round(ctx) {
			again = time.After(rolloutEvery)
		}
		select {
		case <-changes:
		case <-again:
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// round takes every open rollout one step on, and reports whether there are any.
func (r roller) round(ctx context.Context) bool {
	var open []spec.App
	c := r.store.State()
	for _, app := range c.Apps {
		if app.Rollout.Open() {
			open = append(open, app)
		}
	}
	if len(open) == 0 {
		clear(r.since)
		return false
	}
	// Before the mesh is open nobody can be asked, and a node that is stopping leaves it to the next leader.
	if r.n.members() == nil || r.n.view.draining.Load() {
		return true
	}
	all := r.n.gather(ctx)
	for _, app := range open {
		if err := r.step(ctx, app, all); err != nil && ctx.Err() == nil && !errors.Is(err, fsm.ErrConflict) {
			r.n.log.Warn("cannot take the rollout on, trying again", "app", app.Name, "release", app.Release, "err", err)
		}
	}
	return true
}

func (r roller) step(ctx context.Context, app spec.App, all map[string]api.LocalStatus) error {
	move, node, why := reconcile.Next(reconcile.Rolling{Turns: app.Rollout.Nodes, Peers: r.peers(app, all), Leader: r.n.s.Node})
	if move == reconcile.Turn && len(app.Rollout.Nodes) >= spec.MaxTurns {
		move = reconcile.Finish // where so many have it, the rest may take it at once
	}
	var c fsm.Command
	switch move {
	case reconcile.Turn:
		c.Advance = &fsm.Advance{App: app.Name, Release: app.Release, Nodes: []string{node}}
	case reconcile.Finish:
		c.Advance = &fsm.Advance{App: app.Name, Release: app.Release, Done: true}
	case reconcile.Refuse:
		// Cut to size here too: what does not fit is never taken, and a peer of another version may say more.
		c.Refuse = &fsm.Refuse{App: app.Name, Release: app.Release, Node: node, Tail: tailOf(all[node].Progress[app.Name].Tail),
			Why: cmp.Or(clipped(why, spec.MaxWhyBytes), "it does not run")}
		r.n.log.Error("release refused, all nodes go back", "app", app.Name, "release", app.Release, "node", node, "reason", why)
	default:
		return nil
	}
	_, err := r.store.Apply(ctx, c)
	return err
}

// peers is the picture of the nodes. A member counts once it is a server of the configuration: until then it cannot know the release.
func (r roller) peers(app spec.App, all map[string]api.LocalStatus) []reconcile.Peer {
	var out []reconcile.Peer
	for name, m := range r.n.members() {
		if !r.store.IsServer(m.ID) {
			continue
		}
		p := reconcile.Peer{Name: name, Left: m.Status == mesh.Left, Why: "it does not answer"}
		if !m.Status.Up() {
			p.Down = max(time.Since(m.Since), 1)
		}
		want := max(app.Workers, 1)
		if l, ok := all[name]; ok && l.Member.AppliedIndex >= app.Modified {
			now := l.Progress[app.Name]
			p.Done, p.Failed, p.Why = now.State == api.StateDone, now.State == api.StateFailed, now.Error
			if want = max(now.Want, 1); !p.Failed {
				p.Why = fmt.Sprintf("%d of %d workers ready", now.Ready, now.Want)
			}
		}
		p.Limit = turnLimit(app.Timeouts, want)
		p.Working = r.working(fmt.Sprint(app.Name, "/", app.Release, "/", name), !p.Done && slices.Contains(app.Rollout.Nodes, name))
		out = append(out, p)
	}
	return out
}

// working is for how long a node has been seen at work.
func (r roller) working(key string, now bool) time.Duration {
	if !now {
		delete(r.since, key)
		return 0
	}
	if _, ok := r.since[key]; !ok {
		r.since[key] = time.Now()
	}
	return time.Since(r.since[key])
}

// turnLimit is how long a node may take for its workers, one after the other.
func turnLimit(t spec.Timeouts, workers int) time.Duration {
	return seconds(t.Listen+max(t.Watch, 0)+t.Drain+t.Kill)*time.Duration(workers) + rolloutSlack
}

// tailOf is the end of a worker's output, without empty lines, within what is kept of it.
func tailOf(lines []string) []string {
	var out []string
	for _, l := range lines {
		if strings.TrimSpace(l) != "" {
			out = append(out, clipped(l, spec.MaxTailBytes))
		}
	}
	return out[max(0, len(out)-spec.MaxTailLines):]
}

func clipped(s string, limit int) string { return strings.ToValidUTF8(s[:min(len(s), limit)], "") }

// rolloutOf tells how far an app's rollout is; nil when there is none.
func (n *Node) rolloutOf(app spec.App, all map[string]api.LocalStatus) *api.Rollout {
	if !app.Rollout.Open() {
		return nil
	}
	out := &api.Rollout{Stable: app.Rollout.Stable, Nodes: len(all)}
	for i, name := range app.Rollout.Nodes {
		l, ok := all[name]
		switch done := ok && l.Member.AppliedIndex >= app.Modified && l.Progress[app.Name].State == api.StateDone; {
		case done:
			out.Done++
		case i == len(app.Rollout.Nodes)-1:
			out.Node = name
		}
	}
	return out
}

// refusalOf tells why a release was refused, if it was; kept is the release that goes on.
func refusalOf(p spec.Past, kept uint64) *api.Refusal {
	if p.Refused == "" {
		return nil
	}
	return &api.Refusal{Release: p.App.Release, Kept: kept, Node: p.Node, Reason: p.Refused, Tail: slices.Concat([]string{}, p.Tail)}
}

// still is the refusal of a second release while one is being rolled out.
func still(app spec.App) error {
	at := "no node has it yet"
	if k := len(app.Rollout.Nodes); k > 0 {
		at = app.Rollout.Nodes[k-1] + " is at it"
	}
	return api.Errorf(api.CodeConflict, "wait for its end, or take it back: meshnode rollback "+app.Name,
		"release %d of %s is still being rolled out, %s", app.Release, app.Name, at)
}

// serves reports whether a worker of the app is ready anywhere, as far as this node can see.
func (n *Node) serves(ctx context.Context, app string) bool {
	ready := func(l api.LocalStatus) bool {
		return slices.ContainsFunc(l.Workers, func(w api.WorkerStatus) bool { return w.App == app && w.Status == "ready" })
	}
	return ready(n.local()) || slices.ContainsFunc(slices.Collect(maps.Values(n.gather(ctx))), ready)
}
