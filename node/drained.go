package node

import (
	"context"
	"slices"
	"time"

	"meshnode/node/supervisor"
)

// shutLimit is how long a worker has to close its own listening socket when the node stops. One that does not answer loses what waits in it.
const shutLimit = time.Second

// shut has all workers close the listening sockets of their own, and returns when they have: from then on everything comes in by the node's. They are
// chosen and offered connections as before.
func (r *routes) shut() {
	r.mu.Lock()
	var asked []supervisor.Worker
	for _, w := range r.takes {
		if w.Channel != nil && r.n.proxy.Shares(w.App, w.ID) && w.Channel.Shut() == nil {
			asked = append(asked, w)
		}
	}
	r.mu.Unlock()
	look := time.NewTicker(drainLook)
	defer look.Stop()
	shares := func(w supervisor.Worker) bool { return r.n.proxy.Shares(w.App, w.ID) }
	for end := time.Now().Add(shutLimit); slices.ContainsFunc(asked, shares) && time.Now().Before(end); {
		<-look.C
	}
}

// drainLook is how often it is looked whether a worker that leaves accepts nothing by itself any more.
const drainLook = 20 * time.Millisecond

// Drained implements supervisor.Router.
func (r *routes) Drained(ctx context.Context, w supervisor.Worker) error {
	p := r.n.bal.Picker(w.App)
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for {
		changed := p.Changed()
		if p.Open(w.ID) == 0 && !r.n.proxy.Shares(w.App, w.ID) {
			return nil
		}
		select {
		case <-changed:
		case <-look.C: // that it accepts nothing by itself any more is no change of the picker's
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
