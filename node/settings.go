package node

import (
	"context"

	"meshnode/node/api"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// Set implements api.Cluster.
func (b clusterBackend) Set(ctx context.Context, values map[string]string) (api.Change, error) {
	index, err := b.n.propose(ctx, fsm.Command{Set: &fsm.Set{Values: values}})
	return api.Change{Index: index}, err
}

// settingsOf lists all settings, with their defaults.
func settingsOf(c *spec.Cluster) map[string]string {
	out := make(map[string]string)
	for _, key := range spec.SettingKeys() {
		out[key] = c.Setting(key)
	}
	return out
}

// followSettings has the data path follow the settings of the cluster.
func (n *Node) followSettings(ctx context.Context) {
	forward := ""
	for c := range n.store.Watch(ctx) {
		n.proxy.SetIdle(c.IdleTimeout())
		if f := c.Setting(spec.SettingForward); f != forward {
			forward = f
			n.proxy.DropStreams("") // those that wait for use are of the other kind
		}
	}
}
