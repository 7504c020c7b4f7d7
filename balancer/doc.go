// Package balancer decides where a connection goes: to one of this node's workers, or to a peer that is less loaded.
//
// It is pure: no I/O, no clock, no goroutines. Time and entropy come in with every call, so that a simulator and a test drive
// exactly the code that serves. It opens nothing, sends nothing and knows neither gossip nor processes: package node tells it
// which workers are ready and what the peers report, package balancer/proxy carries its decisions out.
//
// Choosing and claiming are one call. A claim is given back exactly once through PickResult.Done; Counts proves it.
//
// Concurrency: all methods are safe for concurrent use and never block longer than a map look-up; each Picker has one lock.
//
// Errors: ErrNoTarget (nobody can serve this app now), ErrBusy (somebody could, and takes nothing this moment), ErrFull (all have what they
// may have: wait in the queue), ErrQueueFull (no more may wait).
//
// Read target.go and settings.go (the nouns), then picker.go (claim and release), claims.go and workers.go (what is known of this node), service.go
// (how long a connection takes), direct.go (connections that workers accept by themselves), peers.go (what peers say, and how it ages), links.go (which
// peers can be reached), view.go (what a decision looks at), policy.go and leastload.go (the decision), queue.go (who waits for room), decision.go
// and explain.go (how it came about), balancer.go (all apps together). DESIGN.md has the why.
package balancer
