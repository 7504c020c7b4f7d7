package node

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"meshnode/mesh"
	"meshnode/node/api"
)

// clusterBackend answers the operator's questions about the whole cluster: it asks every living member for its part.
type clusterBackend struct{ n *Node }

// gather asks all living members at once for what they know of themselves. A member that does not answer in time is missing.
func (n *Node) gather(ctx context.Context) map[string]api.LocalStatus {
	out := map[string]api.LocalStatus{n.s.Node: n.local()}
	said := map[string]time.Time{n.s.Node: time.Now()} // when they said it, by the clock of this server
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for name, m := range n.members() {
		if name == n.s.Node || !m.Status.Up() {
			continue
		}
		wg.Go(func() {
			begun := time.Now()
			l, err := n.view.clients.get(n.mux, name, m.Addr).LocalStatus(ctx)
			took := time.Since(begun)
			if err != nil {
				n.log.Debug("a member did not answer", "peer", name, "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[name], said[name] = l, begun.Add(took/2)
		})
	}
	wg.Wait()
	atOnce(out, said)
	return out
}

// Status implements api.Cluster.
func (b clusterBackend) Status(ctx context.Context) (api.Status, error) {
	n := b.n
	all := n.gather(ctx)
	st, state := n.store.Status(), n.store.State()
	out := api.Status{Cluster: state.ID, Quorum: st.Quorum, Index: state.Index, Members: []api.MemberStatus{}, Apps: []api.AppStatus{}, Warnings: []api.Warning{}}
	out.Settings = settingsOf(state)
	roles := make(map[string]string)
	for _, s := range st.Servers {
		roles[s.ID] = "non-voter"
		if s.Voter {
			roles[s.ID] = "voter"
		}
		if s.ID == st.LeaderID {
			roles[s.ID] = "leader"
		}
	}
	loads := n.mesh.Loads()
	for name, m := range n.members() {
		l, answered := all[name]
		s := l.Member
		if !answered {
			s = api.MemberStatus{Cores: m.Cores, Zone: m.Zone, Tags: m.Tags, Version: m.Version, AppliedIndex: loads[name].AppliedIndex,
				ForwardedIn: loads[name].ForwardedIn, ForwardedOut: loads[name].ForwardedOut}
		}
		s.Node, s.Addr, s.Status, s.Role = name, m.Addr, string(m.Status), roles[m.ID]
		s.Trusted = trusted(state, m.ID, s.Trusted)
		if s.Tags == nil {
			s.Tags = map[string]string{}
		}
		if m.ID == st.LeaderID && st.LeaderID != "" {
			out.Leader = name
		}
		out.Members = append(out.Members, s)
		out.Warnings = append(out.Warnings, l.Warnings...)
	}
	slices.SortFunc(out.Members, func(a, b api.MemberStatus) int { return cmp.Compare(a.Node, b.Node) })
	for _, name := range slices.Sorted(maps.Keys(state.Apps)) {
		out.Apps = append(out.Apps, n.appStatus(name, all))
	}
	out.Warnings = append(out.Warnings, failedApps(all)...)
	out.Warnings = append(out.Warnings, clockWarnings(all)...)
	out.Warnings = append(out.Warnings, n.clusterWarnings(out)...)
	return out, nil
}

// failedApps says which apps fail, once for all servers where they fail in the same way.
func failedApps(all map[string]api.LocalStatus) []api.Warning {
	type failure struct{ app, why string }
	where := make(map[failure][]string)
	for _, node := range slices.Sorted(maps.Keys(all)) {
		for app, p := range all[node].Progress {
			if p.State == api.StateFailed {
				f := failure{app, p.Error}
				where[f] = append(where[f], node)
			}
		}
	}
	var out []api.Warning
	for f, nodes := range where {
		out = append(out, api.Warning{What: fmt.Sprintf("%s on %s: %s", f.app, strings.Join(nodes, ", "), f.why),
			Remedy: fmt.Sprintf("see: meshnode logs %s; mend it, then: meshnode reload %s", f.app, f.app)})
	}
	slices.SortFunc(out, func(a, b api.Warning) int { return cmp.Compare(a.What, b.What) })
	return out
}

func (n *Node) appStatus(name string, all map[string]api.LocalStatus) api.AppStatus {
	app := n.store.State().Apps[name]
	s := api.AppStatus{App: name, Namespace: app.Namespace, Release: app.Release, Stopped: app.Stopped, Listen: slices.Concat([]string{}, app.Listen, app.Learned), Rollout: n.rolloutOf(app, all)}
	for _, l := range all {
		p := l.Progress[name]
		s.Workers += p.Want
		for _, w := range l.Workers {
			if w.App != name {
				continue
			}
			s.Restarts += w.Restarts
			s.Connections += w.Connections
			if w.Status == "ready" {
				s.Ready++
			}
		}
	}
	return s
}

func (n *Node) clusterWarnings(s api.Status) []api.Warning {
	var out []api.Warning
	if s.Cluster == "" {
		return []api.Warning{{What: "this server is not part of a cluster yet", Remedy: "see the node's own output for what it waits for"}}
	}
	if !s.Quorum {
		e := n.noQuorum().(*api.Error)
		out = append(out, api.Warning{What: e.Message, Remedy: e.Remedy})
	}
	for _, m := range s.Members {
		switch {
		case m.Status != string(mesh.Failed):
		case n.gaveUp(n.members()[m.Node].ID):
			out = append(out, api.Warning{What: fmt.Sprintf("%s (%s) was given up", m.Node, m.Addr), Remedy: "empty its data folder before it is started again"})
		default:
			out = append(out, api.Warning{What: fmt.Sprintf("%s (%s) has failed", m.Node, m.Addr), Remedy: "start it again; its place and its configuration are kept"})
		}
	}
	return out
}

// Workers implements api.Cluster.
func (b clusterBackend) Workers(ctx context.Context, app string) ([]api.WorkerStatus, error) {
	if err := b.known(app); err != nil {
		return nil, err
	}
	out := []api.WorkerStatus{}
	for _, l := range b.n.gather(ctx) {
		for _, w := range l.Workers {
			if app == "" || w.App == app {
				w.Namespace = b.n.store.State().Apps[w.App].Namespace
				out = append(out, w)
			}
		}
	}
	slices.SortFunc(out, func(a, b api.WorkerStatus) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Node, b.Node), cmp.Compare(len(a.Worker), len(b.Worker)), cmp.Compare(a.Worker, b.Worker))
	})
	return out, nil
}

// known returns an error that names the nearest app if there is none of that name; "" stands for all.
func (b clusterBackend) known(app string) error {
	if _, ok := b.n.store.State().Apps[app]; app != "" && !ok {
		return b.n.notFound(app)
	}
	return nil
}

// Describe implements api.Cluster.
func (b clusterBackend) Describe(ctx context.Context, app string) (api.Description, error) {
	if err := b.known(app); err != nil {
		return api.Description{}, err
	}
	all := b.n.gather(ctx)
	d := api.Description{App: b.n.store.State().Apps[app], Status: b.n.appStatus(app, all)}
	if past, ok := b.n.store.State().Past(app, d.App.Newest); ok && d.App.Newest > d.App.Release {
		d.Refused = refusalOf(past, d.App.Release)
	}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		l := all[name]
		w := api.NodeWorkers{Node: name, Progress: l.Progress[app], Clients: l.Clients[app]}
		for _, x := range l.Workers {
			if x.App == app {
				w.Workers = append(w.Workers, x)
			}
		}
		d.Nodes = append(d.Nodes, w)
		for _, x := range l.Exits {
			if x.App == app {
				d.Exits = append(d.Exits, x)
			}
		}
		for _, x := range l.Listeners {
			if x.App == app {
				d.Listeners = append(d.Listeners, x)
			}
		}
		for _, x := range l.Warnings {
			if x.App == app {
				d.Warnings = append(d.Warnings, x)
			}
		}
	}
	slices.SortStableFunc(d.Exits, func(a, b api.Exit) int { return b.Time.Compare(a.Time) })
	d.Exits = d.Exits[:min(len(d.Exits), exitsKept)]
	return d, nil
}

// Progress implements api.Cluster.
func (b clusterBackend) Progress(ctx context.Context, app string, release uint64) (api.Progress, error) {
	out := api.Progress{App: app, Release: release}
	state := b.n.store.State()
	a, wanted := state.Apps[app]
	since := a.Modified // the change that is waited for; a deletion has left no trace but the configuration's own index
	if !wanted {
		since = state.Index
	}
	rolling := release != 0 && a.Release == release && a.Rollout.Open()
	if past, ok := state.Past(app, release); ok && a.Release != release {
		out.Refused = refusalOf(past, a.Release)
	}
	out.Done = !rolling
	for _, l := range b.n.gather(ctx) {
		p, ok := l.Progress[app]
		heard := l.Member.AppliedIndex >= since
		if heard && !ok && !wanted {
			continue // gone there
		}
		if !heard || !ok {
			out.Done = false // it has not heard of the change yet
			continue
		}
		if p.State == api.StateWorking && (release != 0 || !p.Scaled) { // whom a rollout goes on with is not waited for
			out.Done = false
		}
		if rolling && !slices.Contains(a.Rollout.Nodes, p.Node) {
			p.State = api.StateWaiting
		}
		out.Nodes = append(out.Nodes, p)
	}
	slices.SortFunc(out.Nodes, func(a, b api.NodeProgress) int { return cmp.Compare(a.Node, b.Node) })
	return out, nil
}

// leaveWait is how long a leaving node waits for the others to hear of it.
const leaveWait = 5 * time.Second

// Leave implements api.Cluster.
func (b clusterBackend) Leave(ctx context.Context) error {
	n := b.n
	if n.aliveMembers() <= 1 {
		return api.Errorf(api.CodeInvalid, "stop the node instead; its configuration is kept", "this is the last server of the cluster, and the configuration would be lost")
	}
	n.drain()
	ctx, cancel := context.WithTimeout(ctx, leaveWait)
	defer cancel()
	if err := n.mesh.Leave(ctx); err != nil {
		return fmt.Errorf("say goodbye to the others: %w", err)
	}
	n.end(errLeft)
	return nil
}

var _ api.Cluster = clusterBackend{}
