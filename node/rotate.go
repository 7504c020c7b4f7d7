package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"meshnode/mesh"
	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/store"
	"meshnode/store/fsm"
)

// stepLimit is how long a node may take for one step of a rotation; there are four rounds in all.
const stepLimit = 5 * time.Second

// keysBackend answers the verb key, and the node that replaces the cluster key.
type keysBackend struct{ n *Node }

// KeyState implements api.Keys.
func (b keysBackend) KeyState(context.Context) (api.KeyState, error) {
	if b.n.keys == nil {
		return api.KeyState{}, errNoKeyToRotate()
	}
	return b.n.keys.state(b.n.s.Node), nil
}

// StepKey implements api.Keys.
func (b keysBackend) StepKey(_ context.Context, s api.KeyStep) error {
	if b.n.keys == nil {
		return errNoKeyToRotate()
	}
	err := b.n.keys.step(s)
	if err != nil {
		b.n.log.Warn("a step to a new cluster key was not made", "what", s.Step, "err", err)
		return err
	}
	b.n.log.Info("a step to a new cluster key", "what", s.Step)
	return nil
}

func errNoKeyToRotate() error {
	return api.Errorf(api.CodeInvalid, "", "this cluster runs with -insecure and has no key")
}

// RotateKey implements api.Keys: the leader does it, so that there is one at a time.
func (b keysBackend) RotateKey(ctx context.Context, force bool) (api.Rotation, error) {
	r, err := b.LeadRotation(ctx, force)
	if api.CodeOf(err) != api.CodeNotLeader {
		return r, err
	}
	st := b.n.store.Status()
	for name, m := range b.n.members() {
		if m.ID == st.LeaderID {
			return b.n.view.clients.get(b.n.mux, name, m.Addr).LeadRotation(ctx, force)
		}
	}
	return r, b.n.noQuorum()
}

// LeadRotation implements api.Keys.
func (b keysBackend) LeadRotation(ctx context.Context, force bool) (api.Rotation, error) {
	n := b.n
	switch {
	case n.keys == nil:
		return api.Rotation{}, errNoKeyToRotate()
	case n.store.Status().State != "leader":
		return api.Rotation{}, api.Errorf(api.CodeNotLeader, "", "this server is not the leader")
	case !n.door.rotating.TryLock():
		return api.Rotation{}, api.Errorf(api.CodeConflict, "wait for its end", "the cluster key is being replaced already")
	}
	defer n.door.rotating.Unlock()
	if err := n.oneRelease(); err != nil {
		return api.Rotation{}, err
	}
	r := &rotation{n: n}
	if err := r.find(force); err != nil {
		return api.Rotation{}, err
	}
	return r.run(ctx)
}

// rotation takes all servers from one key to the next.
type rotation struct {
	n     *Node
	names []string               // of the servers that take part, sorted
	peers map[string]mesh.Member // by name, without this node
	left  []string
}

// find lists who takes part: every server of the configuration and every living member.
func (r *rotation) find(force bool) error {
	r.peers = make(map[string]mesh.Member)
	up := map[string]bool{r.n.who.ID: true}
	for name, m := range r.n.members() {
		if m.Status.Up() {
			up[m.ID] = true
			if name != r.n.s.Node {
				r.peers[name] = m
			}
		}
	}
	for _, s := range r.n.store.Servers() {
		if !up[s.ID] {
			r.left = append(r.left, r.nameOf(s))
		}
	}
	slices.Sort(r.left)
	if len(r.left) > 0 && !force {
		return api.Errorf(api.CodeConflict, "bring them back, or leave them out with -force: they must then be admitted again",
			"the cluster key is not replaced while servers are down: %s", strings.Join(r.left, ", "))
	}
	r.names = slices.Sorted(maps.Keys(r.peers))
	r.names = append(r.names, r.n.s.Node)
	slices.Sort(r.names)
	return nil
}

func (r *rotation) nameOf(s store.Server) string {
	for name, m := range r.n.members() {
		if m.ID == s.ID {
			return name
		}
	}
	return s.ID
}

// run makes the steps, each on all before the next on any.
func (r *rotation) run(ctx context.Context) (api.Rotation, error) {
	states, err := r.states(ctx)
	if err != nil {
		return api.Rotation{}, err
	}
	key, replace, err := chooseKey(states, r.n.keys)
	if err != nil {
		return api.Rotation{}, err
	}
	fingerprint := printOf(key)
	own, _ := r.n.keys.keys()
	former := append(r.n.keys.others(), own) // with what they are now: the old one is forgotten on the way
	r.n.log.Info("replacing the cluster key", "count", len(r.names))
	for _, step := range []api.KeyStep{
		{Step: api.KeyInstall, Key: fingerprint, Text: key.String(), Replace: replace},
		{Step: api.KeyUse, Key: fingerprint},
		{Step: api.KeyRemove, Key: fingerprint},
	} {
		if name := r.newcomer(); name != "" {
			return api.Rotation{}, api.Errorf(api.CodeConflict, "repeat it: it goes on from where it is", "%s came while the cluster key was being replaced", name)
		}
		if step.Step == api.KeyRemove {
			err = r.n.reseal(ctx, former, key)
		}
		if err == nil {
			err = r.everywhere(func(name string, c steppable) error {
				if err := c.StepKey(ctx, step); err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				return nil
			})
		}
		if err != nil {
			return api.Rotation{}, stopped(step.Step, err)
		}
	}
	// What was sealed by somebody who did not use the new key yet, and came late.
	if err := r.n.reseal(ctx, former, key); err != nil {
		r.n.log.Warn("secret variables may be sealed with the former cluster key; give their values anew", "err", err)
	}
	out := api.Rotation{Key: fingerprint, Nodes: r.names, Left: r.left, Operators: r.n.revokeOperators(ctx)}
	r.n.revokeTokens(ctx)
	r.n.log.Info("the cluster key is replaced", "count", len(r.names))
	return out, nil
}

// reseal has all secret variables of the configuration sealed with another key.
func (n *Node) reseal(ctx context.Context, from []mux.Key, to mux.Key) error {
	c := n.store.State()
	for app := range c.Apps {
		for _, values := range portions(resealed(c, app, from, to)) {
			if _, err := n.propose(ctx, fsm.Command{Reseal: &fsm.Reseal{App: app, Values: values}}); err != nil && api.CodeOf(err) != api.CodeNotFound {
				return fmt.Errorf("seal the secret variables of %s: %w", app, err)
			}
		}
	}
	return nil
}

// portions divides texts into as many as one command holds: those of an app and of all its former releases can be more. Two texts of the largest app
// always fit.
func portions(values map[string]string) (out []map[string]string) {
	const most, around = fsm.MaxCommandBytes * 3 / 4, 16
	size := most
	for _, from := range slices.Sorted(maps.Keys(values)) {
		more := len(from) + len(values[from]) + around
		if size+more > most {
			out, size = append(out, make(map[string]string)), 0
		}
		out[len(out)-1][from], size = values[from], size+more
	}
	return out
}

// revokeOperators forgets all operators, whose certificates nobody takes any more, and names them.
func (n *Node) revokeOperators(ctx context.Context) []string {
	names := slices.Sorted(maps.Keys(n.store.State().Operators))
	for _, name := range names {
		if _, err := n.propose(ctx, fsm.Command{Operator: &fsm.Operator{Name: name}}); err != nil {
			n.log.Warn("an operator of the former cluster key is still listed", "what", name, "err", err)
		}
	}
	return names
}

// stopped says how far it has come.
func stopped(step string, err error) error {
	return api.Errorf(api.CodeConflict, "all servers reach each other as before; repeat it: it goes on from where it is",
		"the cluster key is not replaced, it stopped at the step %q: %s", step, strings.ReplaceAll(err.Error(), "\n", "; "))
}

// newcomer names a living member that does not take part.
func (r *rotation) newcomer() string {
	for name, m := range r.n.members() {
		if _, known := r.peers[name]; !known && name != r.n.s.Node && m.Status.Up() {
			return name
		}
	}
	return ""
}

// states asks all how far they are.
func (r *rotation) states(ctx context.Context) ([]api.KeyState, error) {
	var mu sync.Mutex
	var out []api.KeyState
	err := r.everywhere(func(name string, c steppable) error {
		s, err := c.KeyState(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		mu.Lock()
		defer mu.Unlock()
		out = append(out, s)
		return nil
	})
	if err != nil {
		return nil, stopped("ask", err)
	}
	return out, nil
}

// steppable is what one node is asked, over the network or here.
type steppable interface {
	KeyState(ctx context.Context) (api.KeyState, error)
	StepKey(ctx context.Context, s api.KeyStep) error
}

// limited bounds what a node may take.
type limited struct{ steppable }

// KeyState implements steppable.
func (l limited) KeyState(ctx context.Context) (api.KeyState, error) {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	return l.steppable.KeyState(ctx)
}

// StepKey implements steppable.
func (l limited) StepKey(ctx context.Context, s api.KeyStep) error {
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	return l.steppable.StepKey(ctx, s)
}

// everywhere asks all that take part at once.
func (r *rotation) everywhere(ask func(name string, c steppable) error) error {
	var mu sync.Mutex
	var errs []error
	var wait sync.WaitGroup
	for _, name := range r.names {
		var c steppable = keysBackend{r.n}
		if m, ok := r.peers[name]; ok {
			c = r.n.view.clients.get(r.n.mux, name, m.Addr)
		}
		wait.Go(func() {
			if err := ask(name, limited{c}); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wait.Wait()
	return errors.Join(errs...)
}

// chooseKey goes on with the new key that was begun with, as far as this node has it, or makes one. replace says that another one, which nobody uses,
// may be installed somewhere.
func chooseKey(states []api.KeyState, own *keyring) (key mux.Key, replace bool, err error) {
	used, begun := map[string]bool{}, false
	for _, s := range states {
		begun = begun || s.Other != ""
		if s.Using {
			used[s.Key] = true
		}
	}
	use, also := own.keys()
	for _, k := range append(also, use) {
		if used[printOf(k)] && len(used) == 1 {
			return k, false, nil // all have it by then
		}
	}
	if len(used) > 0 {
		return mux.Key{}, false, api.Errorf(api.CodeFailed, "look at cluster.key and cluster.key.next of all servers", "%d new keys are in use, and not the one that is known here", len(used))
	}
	if len(also) > 0 {
		return also[0], true, nil
	}
	k, err := mux.NewKey()
	return k, begun, err
}
