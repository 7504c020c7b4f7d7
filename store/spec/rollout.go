package spec

import "slices"

// Rollout is how far a release has come over the nodes. The zero value means: everywhere.
type Rollout struct {
	// Stable is the release that the nodes which are not among Nodes go on with; 0 when all nodes run the present one.
	Stable uint64 `json:"stable,omitempty"`
	// Nodes are the names of the nodes that may run the present release, in the order of their turns.
	Nodes []string `json:"nodes,omitempty"`
}

// Open reports whether some nodes are still to come.
func (r Rollout) Open() bool { return r.Stable != 0 }

// Limits on what is kept of an app's releases.
const (
	// MaxHistory is how many former releases of an app are kept (count), MaxRefused how many of them may be refused ones.
	MaxHistory = 10
	MaxRefused = 3
	// MaxHistoryBytes is the size of them all as JSON. It holds a whole App and more.
	MaxHistoryBytes = 256 << 10
	// MaxTurns is the largest number of Rollout.Nodes.
	MaxTurns = 1024
	// MaxWhyBytes, MaxTailLines and MaxTailBytes bound Past.Refused, Past.Tail and each line of it.
	MaxWhyBytes  = 512
	MaxTailLines = 10
	MaxTailBytes = 256
)

// Past is one former, or one refused, release of an app.
type Past struct {
	// App is the app as that release had it, with no rollout.
	App App `json:"app"`
	// Refused is why the release was refused; empty when it served.
	Refused string `json:"refused,omitempty"`
	// Node is the node it failed on, Tail the last output of the worker that failed there; empty where neither is known.
	Node string   `json:"node,omitempty"`
	Tail []string `json:"tail,omitempty"`
}

// For returns the app as the named node is to run it: the present release where its turn has come or the rollout is over, else the
// stable one with the present number of workers. ok is false, and the app as it is, when that release is not kept any more.
func (c *Cluster) For(app App, node string) (_ App, ok bool) {
	if !app.Rollout.Open() || slices.Contains(app.Rollout.Nodes, node) {
		return app, true
	}
	past, ok := c.Past(app.Name, app.Rollout.Stable)
	if !ok {
		return app, false
	}
	return past.App.Scaled(app), true
}

// Scaled returns a with what belongs to no release as in now: the number of workers, whether it is stopped, what it learned.
func (a App) Scaled(now App) App {
	a.Workers, a.Stopped, a.Learned = now.Workers, now.Stopped, now.Learned
	return a
}

// Past returns a former release of an app.
func (c *Cluster) Past(app string, release uint64) (Past, bool) {
	i := slices.IndexFunc(c.History[app], func(p Past) bool { return p.App.Release == release })
	if i < 0 {
		return Past{}, false
	}
	return c.History[app][i], true
}

// Served returns the newest former release of an app that was not refused.
func (c *Cluster) Served(app string) (Past, bool) {
	for _, p := range slices.Backward(c.History[app]) {
		if p.Refused == "" {
			return p, true
		}
	}
	return Past{}, false
}
