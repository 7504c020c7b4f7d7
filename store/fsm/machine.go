package fsm

import (
	"fmt"
	"maps"
	"slices"
	"sync/atomic"

	"meshnode/store/spec"
)

// Result is the answer to one command.
type Result struct {
	// Index is the Raft index of the command.
	Index uint64
	// App is the app as it is afterwards, or as it was before a Delete; nil when the command was refused or is not about
	// an app. It is shared and must not be changed.
	App *spec.App
	// Err says why the command was refused; nil when it was applied.
	Err error
}

// Machine holds the state and applies commands to it.
type Machine struct {
	publish func(*spec.Cluster)
	state   atomic.Pointer[spec.Cluster]
	fault   atomic.Pointer[error]
}

// New returns an empty machine. publish, which may be nil, is called with every new state, from the goroutine that
// applies; it must not block.
func New(publish func(*spec.Cluster)) *Machine {
	if publish == nil {
		publish = func(*spec.Cluster) {}
	}
	m := &Machine{publish: publish}
	m.state.Store(&spec.Cluster{Apps: map[string]spec.App{}})
	return m
}

// State returns the state as of the last command. It is immutable and never nil.
func (m *Machine) State() *spec.Cluster { return m.state.Load() }

// Fault returns why the machine halted, nil while it runs.
func (m *Machine) Fault() error {
	if err := m.fault.Load(); err != nil {
		return *err
	}
	return nil
}

// Apply applies the command in data, which stands at index in the log. A halted machine answers ErrHalted and changes
// nothing. Every command that can be read moves the state's index, also one that is refused.
func (m *Machine) Apply(index uint64, data []byte) Result {
	if err := m.Fault(); err != nil {
		return Result{Index: index, Err: fmt.Errorf("%w: %w", ErrHalted, err)}
	}
	c, err := Decode(data)
	if err != nil {
		err = fmt.Errorf("read command %d of the log: %w", index, err)
		m.fault.Store(&err)
		return Result{Index: index, Err: fmt.Errorf("%w: %w", ErrHalted, err)}
	}
	next := *m.state.Load()
	next.Index = index
	app, err := change(&next, c)
	m.set(&next)
	return Result{Index: index, App: app, Err: err}
}

func (m *Machine) set(c *spec.Cluster) {
	m.state.Store(c)
	m.publish(c)
}

// change applies c to next, whose Index is already the command's. It replaces next.Apps instead of writing to it, for
// the map is shared with the states before.
func change(next *spec.Cluster, c Command) (*spec.App, error) {
	switch {
	case c.Found != nil:
		return nil, found(next, c.Found)
	case c.Put != nil:
		return put(next, c.Put)
	case c.Delete != nil:
		return remove(next, c.Delete)
	case c.Learn != nil:
		return learn(next, c.Learn)
	case c.Advance != nil:
		return advance(next, c.Advance)
	case c.Set != nil:
		return nil, set(next, c.Set)
	case c.Lose != nil:
		return nil, lose(next, c.Lose)
	case c.Trust != nil:
		return nil, trust(next, c.Trust)
	case c.Token != nil:
		return nil, token(next, c.Token)
	case c.Reseal != nil:
		return reseal(next, c.Reseal)
	case c.Operator != nil:
		return nil, operator(next, c.Operator)
	default:
		return refuse(next, c.Refuse)
	}
}

func found(next *spec.Cluster, f *Found) error {
	if next.ID != "" && next.ID != f.ClusterID {
		return fmt.Errorf("this is cluster %s, not %s: %w", next.ID, f.ClusterID, ErrConflict)
	}
	next.ID = f.ClusterID
	return nil
}

func put(next *spec.Cluster, p *Put) (*spec.App, error) {
	app := p.App
	old, exists := next.Apps[app.Name]
	switch {
	case exists && p.PrevModified == 0:
		return nil, fmt.Errorf("app %s: %w", app.Name, ErrExists)
	case !exists && p.PrevModified != 0 && p.PrevModified != Any:
		return nil, fmt.Errorf("app %s: %w", app.Name, ErrNotFound)
	case exists && p.PrevModified != Any && p.PrevModified != old.Modified:
		return nil, fmt.Errorf("app %s: %w", app.Name, ErrConflict)
	case !exists && len(next.Apps) >= spec.MaxApps:
		return nil, fmt.Errorf("%w apps: at most %d", ErrTooMany, spec.MaxApps)
	}
	app.Standing = old.Standing
	if !exists {
		app.Created = next.Index
	}
	if !exists || p.NewRelease || !app.SameProcess(old) {
		if err := release(next, &app, old, p); err != nil {
			return nil, err
		}
	}
	if app.Stopped {
		app.Rollout = spec.Rollout{} // nobody is left to wait for his turn
	}
	return store(next, app), nil
}

func remove(next *spec.Cluster, d *Delete) (*spec.App, error) {
	old, exists := next.Apps[d.Name]
	switch {
	case !exists:
		return nil, fmt.Errorf("app %s: %w", d.Name, ErrNotFound)
	case d.PrevModified != 0 && d.PrevModified != Any && d.PrevModified != old.Modified:
		return nil, fmt.Errorf("app %s: %w", d.Name, ErrConflict)
	}
	next.Apps = maps.Clone(next.Apps)
	delete(next.Apps, d.Name)
	if len(next.History[d.Name]) > 0 {
		next.History = maps.Clone(next.History)
		delete(next.History, d.Name)
	}
	return &old, nil
}

func learn(next *spec.Cluster, l *Learn) (*spec.App, error) {
	app, exists := next.Apps[l.App]
	if !exists {
		return nil, fmt.Errorf("app %s: %w", l.App, ErrNotFound)
	}
	merged := slices.Concat(app.Learned, l.Listen)
	slices.Sort(merged)
	merged = slices.Compact(merged)
	if len(merged) > spec.MaxListen {
		return nil, fmt.Errorf("app %s: %w learned addresses: at most %d", l.App, ErrTooMany, spec.MaxListen)
	}
	if slices.Equal(merged, app.Learned) {
		return &app, nil
	}
	app.Learned = merged
	return store(next, app), nil
}

// store puts app, modified now, into a copy of the apps.
func store(next *spec.Cluster, app spec.App) *spec.App {
	app.Modified = next.Index
	next.Apps = maps.Clone(next.Apps)
	next.Apps[app.Name] = app
	return &app
}
