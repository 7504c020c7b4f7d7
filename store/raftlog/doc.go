// Package raftlog keeps a server's Raft log, its vote and the marker that tells whose they are, on disk.
//
// It wraps raft-boltdb and adds what no log store does by itself: the data folder belongs to one server and to one
// process at a time; a log that was emptied, cut or damaged is noticed when it is opened instead of silently giving the
// server its vote back; a term that cannot be written for a while (full disk) stalls consensus on this server instead
// of ending the process; one whose disk has failed is read from the disk anew before anything is built on it. Snapshots are not here: raft's own file store keeps them beside the log.
//
// Layout of the folder: raft.db (log, term, vote), state.json (the marker), snapshots/ (raft's), configuration.bin and
// recovery.json (package store's).
//
// Concurrency: a Log is used by raft's goroutines as raft sees fit; every method may be called from any of them.
//
// Errors: ErrInUse, ErrLogLost, ErrDamaged, ErrNewer and ErrOtherServer, each with the place in the message.
//
// Reading order: log.go (the store), database.go (bolt, and what a failed disk means), verify.go (what is checked on opening), marker.go, folder.go.
package raftlog
