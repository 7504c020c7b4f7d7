// Package store is the cluster's configuration, agreed through Raft: what should run, the same on every node.
//
// A Store is one server of the Raft cluster. Any server reads from its own copy (State, Watch, WaitIndex); only the leader
// changes it (Apply), and the others say who that is. The package knows nothing of gossip, routing or workers, does not
// forward writes, and does not decide who votes: package node wires those, and store/quorum decides.
//
// Concurrency: every method of a Store may be called from any goroutine, Close included. What State and Watch give out is
// shared and immutable. Callbacks from raft only hand over; nothing blocks it.
//
// Errors: ErrNoLeader, *NotLeaderError, ErrTimeout, ErrBusy, ErrClosed and the answers of package fsm, all through
// errors.Is and errors.As. Open also gives the errors of package raftlog.
//
// Reading order: store.go (life), apply.go (writes), feed.go and read.go (reads), status.go, servers.go (who is in),
// leader.go (what only a leader does), stream.go (raft over our streams), machine.go (raft's view of the state machine),
// keeper.go (the copy for a start without quorum), snapshots.go (what
// is on disk), recover.go (going on without a lost majority), errors.go, metrics.go.
package store
