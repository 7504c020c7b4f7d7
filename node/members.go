package node

import (
	"context"

	"meshnode/mesh"
	"meshnode/node/api"
)

// membersBackend looks after the servers of the cluster.
type membersBackend struct{ n *Node }

// ForceLeave implements api.Members. A server that runs is never taken out from elsewhere: it would only come back.
func (b membersBackend) ForceLeave(_ context.Context, node string) error {
	m, ok := b.n.members()[node]
	switch {
	case !b.n.store.Status().Quorum:
		return b.n.noQuorum()
	case !ok:
		return api.Errorf(api.CodeNotFound, "see: meshnode members", "there is no server %q", node)
	case m.Status == mesh.Failed, m.Status == mesh.Left:
		return b.n.mesh.Dismiss(node)
	}
	return api.Errorf(api.CodeConflict, "run `meshnode leave` there, or stop it first", "%s is up (%s)", node, m.Status)
}

var _ api.Members = membersBackend{}
