package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshnode/mesh"
	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/store"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// propose has a command committed, here or by the leader, and waits until this node has applied it. While no leader is known it waits for one, up
// to clusterWait; not at all once so many voters have failed that none can be elected.
func (n *Node) propose(ctx context.Context, c fsm.Command) (uint64, error) {
	deadline := time.Now().Add(clusterWait)
	for {
		index, err := n.proposeOnce(ctx, c)
		if !errors.Is(err, store.ErrNoLeader) && api.CodeOf(err) != api.CodeNotLeader && api.CodeOf(err) != api.CodeNoQuorum {
			return index, asAPI(err)
		}
		if time.Now().After(deadline) || n.voters().lost() {
			return 0, n.noQuorum()
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return 0, ctx.Err()
		}
	}
}

// A leader that was cut off or stopped a moment ago is the leader still to this server, until another is elected.
const (
	leaderDial   = time.Second      // how long it may take to open a stream to it
	leaderAnswer = 10 * time.Second // how long it may take to answer, beyond what raft gives up a change in
)

func (n *Node) proposeOnce(ctx context.Context, c fsm.Command) (uint64, error) {
	if n.store.State().ID == "" {
		return 0, store.ErrNoLeader
	}
	res, err := n.store.Apply(ctx, c)
	var other *store.NotLeaderError
	if !errors.As(err, &other) {
		return res.Index, err
	}
	prepared, err := c.Prepare()
	if err != nil {
		return 0, err
	}
	raw, err := fsm.Encode(prepared)
	if err != nil {
		return 0, err
	}
	reached := false
	client := api.NewClient(func(ctx context.Context) (net.Conn, error) {
		ctx, cancel := context.WithTimeout(ctx, leaderDial)
		defer cancel()
		c, err := n.mux.Dial(ctx, mux.API, other.Addr)
		reached = reached || err == nil
		return c, err
	})
	defer client.Close()
	asked, cancel := context.WithTimeout(ctx, leaderAnswer)
	defer cancel()
	index, err := client.Apply(asked, raw)
	switch {
	case err == nil:
		return index, n.store.WaitIndex(ctx, index)
	case !reached: // whether another is elected shows soon
		return 0, store.ErrNoLeader
	case api.CodeOf(err) == "": // the leader may have made the change and died: a second time it would be another one
		return 0, fmt.Errorf("%w: %w", store.ErrTimeout, err)
	}
	return 0, err
}

// noQuorum says why the configuration cannot be changed now.
func (n *Node) noQuorum() error {
	if n.store.State().ID == "" {
		return api.Errorf(api.CodeUnavailable, "see the node's own output for what it waits for", "%s", errNoCluster)
	}
	what := "no leader is elected"
	if v := n.voters(); len(v.missing) > 0 {
		what = fmt.Sprintf("only %d of %d voters can be reached (missing: %s)", v.all-len(v.missing), v.all, strings.Join(v.missing, ", "))
	}
	return api.Errorf(api.CodeNoQuorum, "bring the missing servers back, or, if they are gone for good, see: meshnode help recover; traffic goes on meanwhile", "the configuration cannot be changed: %s", what)
}

// electorate is what this node knows of the voters.
type electorate struct {
	all     int      // voters of the configuration (count)
	failed  int      // of these, those that gossip has given up (count)
	missing []string // names of those that are not known to be well
}

func (n *Node) voters() electorate {
	var v electorate
	status := make(map[string]mesh.Status)
	for _, m := range n.members() {
		status[m.ID] = m.Status
	}
	for _, s := range n.store.Servers() {
		if !s.Voter {
			continue
		}
		v.all++
		if status[s.ID] == mesh.Failed || status[s.ID] == mesh.Left {
			v.failed++
		}
		if status[s.ID] != mesh.Alive {
			v.missing = append(v.missing, serverName(s.ID))
		}
	}
	return v
}

// lost reports whether too few voters are left to elect a leader. One that was not heard of yet, as after a start of all, may come any moment.
func (v electorate) lost() bool { return v.all > 0 && v.all-v.failed < v.all/2+1 }

// asAPI gives an error of the store the code that the API answers with.
func asAPI(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fsm.ErrConflict):
		return api.Errorf(api.CodeConflict, "look at it and try again", "the app was changed by somebody else at the same time")
	case errors.Is(err, fsm.ErrExists):
		return api.Errorf(api.CodeConflict, "", "an app of that name exists already")
	case errors.Is(err, fsm.ErrRollout):
		return api.Errorf(api.CodeConflict, "wait for its end, or take it back with: meshnode rollback", "another release of the app is still being rolled out")
	case errors.Is(err, fsm.ErrNotFound):
		return api.Errorf(api.CodeNotFound, "", "there is no such app")
	case errors.Is(err, fsm.ErrInvalid), errors.Is(err, fsm.ErrTooLarge), errors.Is(err, fsm.ErrTooMany):
		return api.Errorf(api.CodeInvalid, "", "%s", err)
	case errors.Is(err, store.ErrTimeout):
		return api.Errorf(api.CodeUnavailable, "look with: meshnode status", "the change may or may not have been made")
	case errors.Is(err, store.ErrBusy), errors.Is(err, store.ErrClosed):
		return api.Errorf(api.CodeUnavailable, "try again", "%s", err)
	}
	return err
}

// appsBackend carries out the operator's changes.
type appsBackend struct{ n *Node }

// update changes an app from its present version, again if somebody else was faster.
func (b appsBackend) update(ctx context.Context, name string, change func(*spec.App) (newRelease bool, err error)) (api.Change, error) {
	var err error
	for range 5 {
		app, ok := b.n.store.State().Apps[name]
		if !ok {
			return api.Change{}, b.n.notFound(name)
		}
		app = app.Clone()
		prev := app.Modified
		var fresh bool
		if fresh, err = change(&app); err != nil {
			return api.Change{}, err
		}
		if fresh && app.Rollout.Open() {
			return api.Change{}, still(app)
		}
		put := fsm.Put{App: app, PrevModified: prev, NewRelease: fresh, Serves: fresh && b.n.serves(ctx, name), Time: time.Now().Unix()}
		var index uint64
		if index, err = b.n.propose(ctx, fsm.Command{Put: &put}); err == nil {
			return b.changed(name, index), nil
		}
		if api.CodeOf(err) != api.CodeConflict {
			break
		}
	}
	return api.Change{}, err
}

func (b appsBackend) changed(name string, index uint64) api.Change {
	return api.Change{App: name, Index: index, Release: b.n.store.State().Apps[name].Release}
}

// notFound names the app that is nearest to a mistyped name.
func (n *Node) notFound(name string) error {
	names := slices.Sorted(maps.Keys(n.store.State().Apps))
	remedy := "see: meshnode list"
	if near := config.Nearest(name, names); near != "" {
		remedy = fmt.Sprintf("did you mean %q?", near)
	}
	return api.Errorf(api.CodeNotFound, remedy, "there is no app %q", name)
}

// Start implements api.Apps.
func (b appsBackend) Start(ctx context.Context, r api.StartRequest) (api.Change, error) {
	app := r.App.WithDefaults()
	if err := app.Validate(); err != nil {
		return api.Change{}, api.Errorf(api.CodeInvalid, "", "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if fi, err := os.Stat(app.Dir); err != nil || !fi.IsDir() {
		return api.Change{}, api.Errorf(api.CodeInvalid, "copy the app to this server, to the same path on all", "the folder %s is not on this server", app.Dir)
	}
	prev := uint64(0) // must not exist
	if r.Replace {
		prev = fsm.Any
	}
	if app.Modified != 0 {
		prev = app.Modified
	}
	old, ok := b.n.store.State().Apps[app.Name]
	app, err := b.n.seal(app, old)
	if err != nil {
		return api.Change{}, err
	}
	api.Note(ctx, "changed", strings.Join(changedIn(old, app), ","))
	put := fsm.Put{App: app, PrevModified: prev, Time: time.Now().Unix()}
	if ok && prev != 0 {
		app.Learned = old.Learned
		fresh := !app.SameProcess(old)
		if fresh && old.Rollout.Open() {
			return api.Change{}, still(old)
		}
		put.Serves = fresh && b.n.serves(ctx, app.Name)
	}
	index, err := b.n.propose(ctx, fsm.Command{Put: &put})
	if err != nil {
		return api.Change{}, err
	}
	return b.changed(app.Name, index), nil
}

// Reload implements api.Apps.
func (b appsBackend) Reload(ctx context.Context, name string, order spec.Order) (api.Change, error) {
	return b.update(ctx, name, func(a *spec.App) (bool, error) {
		a.Order, a.Stopped = ordered(a.Order, order), false
		return true, nil
	})
}

// ordered is the order of a new release when the app has one and the operator asks for another, this time only; "" asks for the app's own.
func ordered(own, asked spec.Order) spec.Order {
	if own == spec.OrderRestart {
		own = spec.OrderStartFirst
	}
	if own == spec.OrderStartFirst && asked == spec.OrderStopFirst {
		return spec.OrderRestart
	}
	return own
}

// Stop implements api.Apps.
func (b appsBackend) Stop(ctx context.Context, name string) (api.Change, error) {
	return b.update(ctx, name, func(a *spec.App) (bool, error) {
		a.Stopped = true
		return false, nil
	})
}

// Delete implements api.Apps.
func (b appsBackend) Delete(ctx context.Context, name string) (api.Change, error) {
	if _, ok := b.n.store.State().Apps[name]; !ok {
		return api.Change{}, b.n.notFound(name)
	}
	index, err := b.n.propose(ctx, fsm.Command{Delete: &fsm.Delete{Name: name, PrevModified: fsm.Any}})
	if err != nil {
		return api.Change{}, err
	}
	return api.Change{App: name, Index: index}, nil
}

// Scale implements api.Apps.
func (b appsBackend) Scale(ctx context.Context, name, workers string) (api.Change, error) {
	return b.update(ctx, name, func(a *spec.App) (bool, error) {
		k, err := scaled(b.n.workersElsewhere(*a), workers)
		a.Workers = k
		return false, err
	})
}

// scaled is the new number of workers per node; "max" is 0, one per core.
func scaled(now int, to string) (int, error) {
	if to == "max" {
		return 0, nil
	}
	k, err := strconv.Atoi(to)
	if err != nil {
		return 0, api.Errorf(api.CodeInvalid, "give a number, +n, -n or max", "%q is no number of workers", to)
	}
	if to[0] == '+' || to[0] == '-' {
		k += now
	}
	if k < 1 || k > spec.MaxWorkers {
		return 0, api.Errorf(api.CodeInvalid, "to run none, use: meshnode stop", "%d workers per node is not between 1 and %d", k, spec.MaxWorkers)
	}
	return k, nil
}

var _ api.Apps = appsBackend{}
