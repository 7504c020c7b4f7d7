package fsm

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"meshnode/store/spec"
)

// release makes app, whose Standing is old's, a new release that takes the place of old, which is the zero App when there is
// none. A rollout begins where old serves: its nodes then change over one by one.
func release(next *spec.Cluster, app *spec.App, old spec.App, p *Put) error {
	if old.Rollout.Open() {
		return fmt.Errorf("app %s, release %d: %w", old.Name, old.Release, ErrRollout)
	}
	app.Release = max(old.Release, old.Newest) + 1
	app.Newest, app.Since = app.Release, p.Time
	if old.Release == 0 || p.Time == 0 {
		return nil
	}
	past := spec.Past{App: old}
	switch {
	case p.Serves && !old.Stopped && !app.Stopped:
		app.Rollout = spec.Rollout{Stable: old.Release}
	case !p.Serves && !old.Stopped:
		past.Refused = fmt.Sprintf("no worker of it was ready when release %d came", app.Release)
	}
	file(next, past, app.Rollout.Stable)
	return nil
}

func advance(next *spec.Cluster, a *Advance) (*spec.App, error) {
	app, err := rolling(next, a.App, a.Release)
	if err != nil {
		return nil, err
	}
	nodes := slices.Clone(app.Rollout.Nodes)
	for _, node := range a.Nodes {
		if !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	switch {
	case a.Done:
		app.Rollout = spec.Rollout{}
	case len(nodes) > spec.MaxTurns:
		return nil, fmt.Errorf("app %s: %w turns: at most %d", a.App, ErrTooMany, spec.MaxTurns)
	default:
		app.Rollout.Nodes = nodes
	}
	return store(next, app), nil
}

func refuse(next *spec.Cluster, r *Refuse) (*spec.App, error) {
	app, err := rolling(next, r.App, r.Release)
	if err != nil {
		return nil, err
	}
	stable, ok := next.Past(r.App, app.Rollout.Stable)
	if !ok {
		return nil, fmt.Errorf("app %s, release %d: %w", r.App, app.Rollout.Stable, ErrNotFound)
	}
	back := stable.App.Scaled(app)
	back.Newest = max(app.Newest, app.Release)
	if back.Order == spec.OrderRestart {
		back.Order = spec.OrderStartFirst // it was asked for once, and that is over
	}
	app.Rollout = spec.Rollout{}
	next.History = maps.Clone(next.History)
	next.History[r.App] = slices.DeleteFunc(slices.Clone(next.History[r.App]), func(p spec.Past) bool { return p.App.Release == back.Release })
	file(next, spec.Past{App: app, Refused: r.Why, Node: r.Node, Tail: r.Tail}, 0)
	return store(next, back), nil
}

// rolling returns the app if that release of it is being rolled out.
func rolling(next *spec.Cluster, name string, release uint64) (spec.App, error) {
	app, exists := next.Apps[name]
	switch {
	case !exists:
		return app, fmt.Errorf("app %s: %w", name, ErrNotFound)
	case app.Release != release || !app.Rollout.Open():
		return app, fmt.Errorf("app %s: release %d is not being rolled out: %w", name, release, ErrConflict)
	}
	return app, nil
}

// file keeps a release in a copy of the history, and drops what is over the limits: refused ones beyond their share, then the
// oldest, but never the one that nodes still run.
func file(next *spec.Cluster, past spec.Past, needed uint64) {
	name := past.App.Name
	list := append(slices.Clone(next.History[name]), past)
	slices.SortFunc(list, func(a, b spec.Past) int { return cmp.Compare(a.App.Release, b.App.Release) })
	refused := func(p spec.Past) bool { return p.Refused != "" && p.App.Release != needed }
	for count(list, refused) > spec.MaxRefused {
		i := slices.IndexFunc(list, refused)
		list = slices.Delete(list, i, i+1)
	}
	for len(list) > spec.MaxHistory || bytesOf(list) > spec.MaxHistoryBytes {
		i := slices.IndexFunc(list, func(p spec.Past) bool { return p.App.Release != needed })
		if i < 0 {
			break
		}
		list = slices.Delete(list, i, i+1)
	}
	history := make(map[string][]spec.Past, len(next.History)+1)
	maps.Copy(history, next.History)
	history[name] = list
	next.History = history
}

func count(list []spec.Past, is func(spec.Past) bool) (n int) {
	for _, p := range list {
		if is(p) {
			n++
		}
	}
	return n
}

// bytesOf is the size of the releases as they are stored.
func bytesOf(list []spec.Past) int {
	text, err := json.Marshal(list)
	if err != nil {
		return 0 // nothing that was read can fail here
	}
	return len(text)
}
