// Package fsm is the state machine of the cluster: the commands that change a spec.Cluster, their bytes in the Raft log,
// and the rules by which each is applied.
//
// It is deterministic and pure: the same commands at the same indexes give the same bytes on every node. It knows no
// Raft, no files and no clock; package store feeds it.
//
// Concurrency: Machine.Apply and Machine.Restore are called from one goroutine at a time. Machine.State and Machine.Fault
// may be called from any goroutine, and what they return is immutable.
//
// Errors: a refused command answers with ErrConflict, ErrNotFound, ErrExists, ErrRollout or ErrTooMany and changes nothing
// but the index. A command that cannot be read (ErrCorrupt, ErrUnsupported) halts the machine: every later command answers with
// ErrHalted until a good snapshot is restored, because guessing would make this node differ from the others in silence.
//
// Reading order: command.go (what can be asked), codec.go (bytes), machine.go (rules), release.go (rules of releases and
// their rollout), set.go, lose.go, trust.go, reseal.go, operator.go, state.go (snapshots), errors.go.
package fsm
