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

// MaxHistory is how many former releases of an app are kept (count).
const MaxHistory = 10

// Past is one former, or one refused, release of an app.
type Past struct {
	// App is the app as that release had it.
	App App `json:"app"`
	// Refused is why the release was refused; empty when it served.
	Refused string `json:"refused,omitempty"`
	// Since is when the release was proposed, in seconds of Unix time by the proposer's clock; 0 when it is not known.
	Since int64 `json:"since,omitempty"`
}

// For returns the app as the named node is to run it: the present release where its turn has come or the rollout is over, else the
// stable one with the present number of workers. ok is false when that release is not kept any more.
func (c *Cluster) For(app App, node string) (_ App, ok bool) {
	if !app.Rollout.Open() || slices.Contains(app.Rollout.Nodes, node) {
		return app, true
	}
	past, ok := c.Past(app.Name, app.Rollout.Stable)
	if !ok {
		return app, false
	}
	was := past.App
	was.Workers, was.Stopped, was.Learned = app.Workers, app.Stopped, app.Learned
	return was, true
}

// Past returns a former release of an app.
func (c *Cluster) Past(app string, release uint64) (Past, bool) {
	i := slices.IndexFunc(c.History[app], func(p Past) bool { return p.App.Release == release })
	if i < 0 {
		return Past{}, false
	}
	return c.History[app][i], true
}
