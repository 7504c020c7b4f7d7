package node

import (
	"context"
	"fmt"
	"time"

	"meshnode/node/api"
	"meshnode/node/supervisor"
)

// lingerLimit is how long a node that was replaced by another binary carries the connections that cross it to their end.
const lingerLimit = time.Hour

// handOver lets go of everything for a successor, and then carries what crosses this process to its end. Workers and listening sockets
// live on with the keeper; the successor takes them over. When ctx ends, what crosses has as long as in any orderly stop.
func (n *Node) handOver(ctx context.Context) error {
	n.log.Info("a new binary takes over")
	n.view.draining.Store(true)
	n.report()
	n.proxy.LetGo()
	n.passSessions()
	_ = n.datagrams.Close()          // the successor reads the same sockets
	_ = n.store.TransferLeadership() // one that does not lead has none
	n.life.cancel()
	n.sup.HandOver()
	for i := len(n.life.closers) - 1; i >= 0; i-- {
		c := n.life.closers[i]
		if c.name == partData || c.name == partWorkers || c.name == partShared { // the one carries what is left, the others go over
			continue
		}
		if err := c.close(); err != nil {
			n.log.Warn("not closed cleanly", "what", c.name, "err", err)
		}
	}
	n.life.closers = nil
	n.dir.close()
	if err := n.o.Keeper.Yielded(); err != nil {
		return fmt.Errorf("hand over to the new binary: %w", err)
	}
	limit, cancel := context.WithTimeout(context.Background(), lingerLimit)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(forwardDrain, cancel) })
	defer stop()
	if n.proxy.Carried(limit) != nil {
		n.log.Warn("connections that crossed the former binary were cut", "count", n.proxy.Crossing())
	}
	return nil
}

// versionLimit is how long a binary may take to say which version it is.
const versionLimit = 10 * time.Second

// upgradeBackend carries out the verb upgrade.
type upgradeBackend struct{ n *Node }

// Upgrade implements api.Upgrades.
func (b upgradeBackend) Upgrade(ctx context.Context, path string) (api.Upgrade, error) {
	version, err := supervisor.VersionOf(ctx, path, versionLimit)
	if err != nil {
		return api.Upgrade{}, api.Errorf(api.CodeInvalid, "the node goes on as it is", "%s is no meshnode for this server: %v", path, err)
	}
	b.n.log.Info("upgrade asked for", "path", path, "version", version)
	if err := b.n.o.Keeper.Upgrade(path); err != nil {
		return api.Upgrade{}, api.Errorf(api.CodeConflict, "the node goes on as it is", "cannot upgrade: %v", err)
	}
	return api.Upgrade{Path: path, Version: version, Running: true}, nil
}

// Outcome implements api.Upgrades.
func (b upgradeBackend) Outcome(context.Context) (api.Upgrade, error) {
	o, err := b.n.o.Keeper.Outcome()
	if err != nil {
		return api.Upgrade{}, err
	}
	return api.Upgrade{Path: o.Path, Version: b.n.o.Version, Running: o.Running, Error: o.Error}, nil
}

var _ api.Upgrades = upgradeBackend{}
