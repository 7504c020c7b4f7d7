package api

import (
	"context"

	"meshnode/store/spec"
)

// Cluster answers the operator's questions. Methods return when ctx ends, and *Error where the operator can act on it.
type Cluster interface {
	// Status returns the whole cluster as this node sees it.
	Status(ctx context.Context) (Status, error)
	// Workers returns the workers of app on every node, of every app when app is empty.
	Workers(ctx context.Context, app string) ([]WorkerStatus, error)
	// Describe returns everything about app.
	Describe(ctx context.Context, app string) (Description, error)
	// Progress returns how far the nodes are with release of app, and at once; 0 stands for what each is to run now, rolled
	// out or not. An app that does not exist any more is
	// done where none of its workers is left, and is no error. A node that has not yet applied the configuration index of
	// the asked node is still working, so that what Apps has just committed is never called done too early.
	Progress(ctx context.Context, app string, release uint64) (Progress, error)
	// Leave takes this node out of the cluster. It returns once the node is removed from the configuration and gets no new
	// connections; draining and the end of the process follow on their own, after the answer is sent.
	Leave(ctx context.Context) error
	// Set changes settings of the cluster by their keys.
	Set(ctx context.Context, values map[string]string) (Change, error)
}

// Members looks after the servers of the cluster.
type Members interface {
	// ForceLeave takes a server that has failed out of the cluster, as if it had left.
	ForceLeave(ctx context.Context, node string) error
}

// Apps carries out the operator's changes. Each returns once the change is committed; the nodes follow on their own.
type Apps interface {
	// Start creates or replaces an app.
	Start(ctx context.Context, request StartRequest) (Change, error)
	// Reload makes a new release of the app and replaces its workers in the given order; empty = the app's own order.
	Reload(ctx context.Context, name string, order spec.Order) (Change, error)
	// Stop ends the workers and keeps the app.
	Stop(ctx context.Context, name string) (Change, error)
	// Delete ends the workers and forgets the app.
	Delete(ctx context.Context, name string) (Change, error)
	// Scale sets the workers per node: "4", "+1", "-1" or "max".
	Scale(ctx context.Context, name, workers string) (Change, error)
	// Kept returns the names of the secret variables whose value would stay the same, so that a change that is none can be told. It
	// changes nothing. Whoever may ask may also have the app print them.
	Kept(ctx context.Context, name string, values map[string]string) ([]string, error)
}

// Logs reads the output of workers over the whole cluster, and tends to them.
type Logs interface {
	// Logs calls emit for every line, one call at a time, the oldest first. It returns emit's error as it is, and when
	// ctx ends.
	Logs(ctx context.Context, query LogQuery, emit func(LogLine) error) error
	// Tend carries out an order on every node.
	Tend(ctx context.Context, o Order) ([]OrderAnswer, error)
}

// Explains says how connections are placed, on the node asked about: this one where none is named.
type Explains interface {
	Explain(ctx context.Context, q ExplainQuery) (Explanation, error)
}

// Peer answers other nodes.
type Peer interface {
	// Hello greets a node that asks and says who this one is.
	Hello(ctx context.Context, from Hello) (Hello, error)
	// Apply proposes an encoded command of a node that is not the leader. Only the leader does; CodeNotLeader otherwise.
	Apply(ctx context.Context, command []byte) (index uint64, err error)
	// LocalStatus returns what this node knows about itself.
	LocalStatus(ctx context.Context) (LocalStatus, error)
	// LocalLogs is Logs for this node's own workers. Where it follows, a KindNow stands between the past and what comes.
	LocalLogs(ctx context.Context, query LogQuery, emit func(LogLine) error) error
	// TendLocal is Tend for this node.
	TendLocal(ctx context.Context, o Order) error
}

// Upgrades replaces the node's own binary.
type Upgrades interface {
	// Upgrade starts the binary at path beside this node, which lets go when that is able to take over.
	Upgrade(ctx context.Context, path string) (Upgrade, error)
	// Outcome tells how the last one went.
	Outcome(ctx context.Context) (Upgrade, error)
}
