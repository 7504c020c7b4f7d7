package node

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/store/spec"
)

// purposeOf binds a sealed value to its place: that of another app or variable cannot be put there.
func purposeOf(app, name string) string { return "secret_env\x00" + app + "\x00" + name }

// seal returns a copy of app with its secret values sealed. One that is given as spec.Masked is the one that old has; one that is sealed already, as in a
// snapshot, stays as it is.
func (n *Node) seal(app, old spec.App) (spec.App, error) {
	if len(app.Process.SecretEnv) == 0 {
		return app, nil
	}
	if n.keys == nil {
		return app, api.Errorf(api.CodeInvalid, "put them into env, where anybody on the network can read them, or start the servers with a cluster key",
			"secret variables are sealed with the cluster key, and this node runs with -insecure")
	}
	app = app.Clone()
	for name, value := range app.Process.SecretEnv {
		purpose := purposeOf(app.Name, name)
		switch there, ok := old.Process.SecretEnv[name]; {
		case value == spec.Masked && ok:
			app.Process.SecretEnv[name] = there
		case value == spec.Masked:
			return app, api.Errorf(api.CodeInvalid, "give its value", "%s has no secret variable %s whose value could be kept", app.Name, name)
		case !strings.HasPrefix(value, spec.SealedPrefix):
			app.Process.SecretEnv[name] = n.keys.seal(purpose, value)
		default:
			if _, err := n.keys.open(purpose, value); err != nil {
				return app, api.Errorf(api.CodeInvalid, "give its value anew", "the secret variable %s of %s: %v", name, app.Name, err)
			}
		}
	}
	return app, nil
}

// opened returns an app's secret variables as they are handed to a worker, "NAME=value".
func (n *Node) opened(app spec.App) ([]string, error) {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(app.Process.SecretEnv)) {
		if n.keys == nil {
			return nil, fmt.Errorf("the secret variable %s is sealed with a cluster key, and this node runs with -insecure", name)
		}
		value, err := n.keys.open(purposeOf(app.Name, name), app.Process.SecretEnv[name])
		if err != nil {
			return nil, fmt.Errorf("the secret variable %s cannot be opened: %w", name, err)
		}
		out = append(out, name+"="+value)
	}
	return out, nil
}

// resealed lists the sealed values of an app and of its former releases that are not sealed with the key to and can be opened with one of from, each
// with its text under the key to.
func resealed(c *spec.Cluster, app string, from []mux.Key, to mux.Key) map[string]string {
	apps := []spec.App{c.Apps[app]}
	for _, past := range c.History[app] {
		apps = append(apps, past.App)
	}
	out := make(map[string]string)
	for _, a := range apps {
		for name, sealed := range a.Process.SecretEnv {
			for _, k := range from {
				if value, err := k.Open(purposeOf(app, name), sealed); err == nil && k != to {
					out[sealed] = to.Seal(purposeOf(app, name), value)
				}
			}
		}
	}
	return out
}

// Kept implements api.Apps.
func (b appsBackend) Kept(_ context.Context, app string, values map[string]string) ([]string, error) {
	var out []string
	have := b.n.store.State().Apps[app].Process.SecretEnv
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if sealed, ok := have[name]; ok && b.n.keys != nil && b.n.keys.holds(purposeOf(app, name), values[name], sealed) {
			out = append(out, name)
		}
	}
	return out, nil
}

// secretWarnings says which apps cannot run here because their secrets cannot be opened.
func (n *Node) secretWarnings() []api.Warning {
	var out []api.Warning
	for name, app := range n.store.State().Apps {
		if _, err := n.opened(app); err != nil {
			out = append(out, api.Warning{App: name, What: fmt.Sprintf("%s: no worker can be started on %s: %v", name, n.s.Node, err),
				Remedy: "give the value again: meshnode start or apply; the servers must have one cluster key"})
		}
	}
	return out
}
