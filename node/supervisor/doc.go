// Package supervisor runs the worker processes of this node: it starts them, knows when they are ready, starts them again when they
// die, replaces them one by one on a new release, has their output kept, and ends them so that nothing of theirs is left behind.
//
// It decides nothing about how many workers there should be (node/reconcile does) nor where connections go (balancer does). It is the
// only package that starts processes.
//
// The order that everything here serves: a worker is taken out of the routing before it is told to stop, and is told to stop only
// when its connections are done or the drain deadline has passed. Because one process knows the workers and the routing, there is
// no delay to tune.
//
// Concurrency: each slot (one place for a worker of an app) is one goroutine that owns its processes; all others send it commands and
// read published snapshots. Processes are forked by the keeper, a process of its own, which outlives the node: a worker lives on when
// the node dies or is replaced, and is taken over by the next.
//
// Errors: Start errors come back through Status, as a worker that failed; nothing here ends the node.
//
// Read supervisor.go (slots by app), spec.go (what a worker is started with), slot.go and outcomes.go (one slot's life), retire.go (how a
// worker is ended), process.go, baggage.go and environ.go (how one process is started), watch.go and starved.go (its life and end), adopt.go (taking
// over, handing over), minder.go, health.go and files.go (what replaces a worker that nobody asked to end), cgroups.go (what holds
// all that a worker starts), notify.go (when it is ready), backoff.go, output.go (what it writes), orphans.go (what was left behind),
// cores.go (how many workers fit), version.go, tend.go, metrics.go, evaluate.go (programs that are no workers).
package supervisor
