package node

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"meshnode/node/api"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// releasesBackend looks at releases and goes back to them.
type releasesBackend struct{ n *Node }

// Releases implements api.Releases.
func (b releasesBackend) Releases(ctx context.Context, name string) ([]api.Release, error) {
	state := b.n.store.State()
	app, ok := state.Apps[name]
	if !ok {
		return nil, b.n.notFound(name)
	}
	list := append(slices.Clone(state.History[name]), spec.Past{App: app})
	slices.SortFunc(list, func(x, y spec.Past) int { return cmp.Compare(x.App.Release, y.App.Release) })
	var out []api.Release
	for i, p := range list {
		r := api.Release{Release: p.App.Release, State: api.ReleaseFormer, Command: p.App.Command, Refusal: refusalOf(p, app.Release)}
		if p.App.Since != 0 {
			r.Since = time.Unix(p.App.Since, 0).UTC()
		}
		r.Changed, r.Same = compared(list[:i], p.App)
		switch {
		case p.Refused != "":
			r.State = api.ReleaseRefused
		case app.Rollout.Open() && r.Release == app.Release:
			r.State, r.Rollout = api.ReleaseRollingOut, b.n.rolloutOf(app, b.n.gather(ctx))
		case app.Stopped && r.Release == app.Release:
			r.State = api.ReleaseStopped
		case r.Release == app.Release || app.Rollout.Stable == r.Release:
			r.State = api.ReleaseServing
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out, nil
}

// compared says what a release changed against the last one before it that was not refused, and which older one it repeats.
func compared(before []spec.Past, app spec.App) (changed []string, same uint64) {
	first := true
	for _, p := range slices.Backward(before) {
		if p.Refused != "" {
			continue
		}
		if first {
			changed, first = differences(p.App, app), false
			if len(changed) == 0 {
				return nil, 0
			}
		} else if p.App.SameProcess(app) {
			return changed, p.App.Release
		}
	}
	return changed, 0
}

// differences are the fields that a worker depends on and that differ, as they are called in JSON; variables each by itself.
func differences(a, b spec.App) []string {
	return unlike(fields(a), fields(b))
}

// unlike are the keys whose values differ, sorted.
func unlike(x, y map[string]string) []string {
	var out []string
	for key, v := range y {
		if x[key] != v {
			out = append(out, key)
		}
	}
	for key := range x {
		if _, ok := y[key]; !ok {
			out = append(out, key)
		}
	}
	slices.Sort(out)
	return out
}

// changedIn are all fields in which an app is to be another, names alone. Of a new one they are those that are not as usual.
func changedIn(old, app spec.App) []string {
	if old.Name == "" {
		old = spec.App{}.WithDefaults()
	}
	old.Name, old.Standing, app.Standing = app.Name, spec.Standing{}, spec.Standing{}
	return unlike(flat(old), flat(app))
}

// fields are the fields of an app that a worker depends on.
func fields(app spec.App) map[string]string {
	app.Workers, app.Stopped, app.Order, app.Namespace, app.Standing = 0, false, "", "", spec.Standing{}
	return flat(app)
}

// flat are an app's fields as JSON text, those of objects one by one.
func flat(app spec.App) map[string]string {
	out := make(map[string]string)
	var open func(prefix string, raw json.RawMessage)
	open = func(prefix string, raw json.RawMessage) {
		var object map[string]json.RawMessage
		if json.Unmarshal(raw, &object) != nil {
			out[prefix] = string(raw)
			return
		}
		for key, v := range object {
			if prefix != "" {
				key = prefix + "." + key
			}
			open(key, v)
		}
	}
	if text, err := json.Marshal(app); err == nil {
		open("", text)
	}
	return out
}

// Rollback implements api.Releases. A rollout may come to its end at the same moment: then the release that is served is what there is to go back from.
func (b releasesBackend) Rollback(ctx context.Context, name string, release uint64) (api.Change, error) {
	change, err := b.rollback(ctx, name, release)
	if api.CodeOf(err) == api.CodeConflict && !b.n.store.State().Apps[name].Rollout.Open() {
		return b.rollback(ctx, name, release)
	}
	return change, err
}

func (b releasesBackend) rollback(ctx context.Context, name string, release uint64) (api.Change, error) {
	state := b.n.store.State()
	app, ok := state.Apps[name]
	switch {
	case !ok:
		return api.Change{}, b.n.notFound(name)
	case app.Rollout.Open() && (release == 0 || release == app.Rollout.Stable):
		return b.takeBack(ctx, app)
	case release == app.Release:
		return api.Change{}, api.Errorf(api.CodeInvalid, "for new processes of it: meshnode reload "+name, "release %d of %s is the present one", release, name)
	}
	past, ok := state.Past(name, release)
	if release == 0 {
		past, ok = state.Served(name)
	}
	switch {
	case !ok && release == 0:
		return api.Change{}, api.Errorf(api.CodeInvalid, "see: meshnode releases "+name, "%s has no former release that served", name)
	case !ok:
		return api.Change{}, api.Errorf(api.CodeInvalid, "see: meshnode releases "+name, "%s has no release %d, or it is not kept any more", name, release)
	}
	return appsBackend{b.n}.update(ctx, name, func(a *spec.App) (bool, error) {
		now := *a
		*a = past.App.Clone().Scaled(now)
		a.Stopped, a.Order, a.Standing = false, ordered(past.App.Order, ""), now.Standing
		return true, nil
	})
}

// takeBack refuses the release that is being rolled out.
func (b releasesBackend) takeBack(ctx context.Context, app spec.App) (api.Change, error) {
	index, err := b.n.propose(ctx, fsm.Command{Refuse: &fsm.Refuse{App: app.Name, Release: app.Release, Why: "taken back with meshnode rollback"}})
	if err != nil {
		return api.Change{}, err
	}
	return api.Change{App: app.Name, Index: index, Release: app.Rollout.Stable}, nil
}

var _ api.Releases = releasesBackend{}
