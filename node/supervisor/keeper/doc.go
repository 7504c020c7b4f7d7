// Package keeper is the small process that stays: it forks the node and, for the node, the workers, and keeps a duplicate of every
// descriptor that must outlive the node: listening sockets, workers' IPC channels, the pipes of their output.
//
// A node that dies leaves its workers serving and its listening sockets open; the next one takes them over. An upgrade is the same,
// in good order. The keeper knows nothing of apps, connections or the cluster, and reads nothing of what it keeps; that is
// why it has next to no reason to fail. When it dies the kernel ends node and workers with it (parent-death signal).
//
// Concurrency: one goroutine, that of Run, owns everything in a Keeper; it must be locked to the main thread, because the kernel ties a
// child's parent-death signal to the thread that forked it. A Client is safe for concurrent use.
//
// Errors: a Client's calls fail with ErrGone once the keeper is gone; there is nothing to be done then but to end.
//
// Read wire.go (messages with descriptors), keeper.go (what is kept, and the loop), fork.go (starting processes), children.go
// (their ends), guard.go (the life of the node), upgrade.go (its replacement by another binary), main.go (the process), client.go (the node's side).
package keeper
