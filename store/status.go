package store

import (
	"time"

	"github.com/hashicorp/raft"

	"meshnode/store/spec"
)

// contactLimit is how old the leader's last word may be for a follower to count on it.
const contactLimit = 2 * time.Second

// Status is what a server knows about itself and its cluster.
type Status struct {
	// State is "leader", "follower", "candidate" or "shutdown".
	State string
	// LeaderID and LeaderAddr name the leader; empty when none is known.
	LeaderID, LeaderAddr string
	// Quorum is true when changes can be made as far as this server can tell: it leads and its lease holds, or it knows a
	// leader and has heard from it within 2 s.
	Quorum bool
	// AppliedIndex is the index of the last command in State.
	AppliedIndex uint64
	// Term is Raft's term.
	Term uint64
	// LastContact is how long ago the leader was heard; 0 on the leader, negative when it never was.
	LastContact time.Duration
	// Servers is the Raft configuration.
	Servers []Server
	// Hash is State().Hash(): equal on all servers that have the same AppliedIndex.
	Hash string
	// SlowDisk is how long the last write of the log took on a disk that is slow; 0 where it is not.
	SlowDisk time.Duration
	// DiskFault says why the disk of the log takes nothing any more; nil while it does. A full disk is none.
	DiskFault error
	// Fault says why this server stopped following the configuration; nil while it does.
	Fault error
}

// Status returns what this server knows now. It does not block.
func (s *Store) Status() Status {
	state := s.State()
	addr, id := s.raft.LeaderWithID()
	st := Status{
		State:        stateName(s.raft.State()),
		LeaderID:     string(id),
		LeaderAddr:   string(addr),
		AppliedIndex: state.Index,
		Term:         s.raft.CurrentTerm(),
		Servers:      s.Servers(),
		Hash:         s.hashOf(state),
		SlowDisk:     s.disk.slowness(),
		DiskFault:    s.log.Fault(),
		Fault:        s.machine.Fault(),
	}
	last := s.raft.LastContact()
	switch {
	case s.raft.State() == raft.Leader:
		st.Quorum = id != ""
	case last.IsZero():
		st.LastContact = -1
	default:
		st.LastContact = time.Since(last)
		st.Quorum = id != "" && st.LastContact <= contactLimit
	}
	return st
}

// hashed remembers the hash of one state: status is asked for more often than the state changes.
type hashed struct {
	state *spec.Cluster
	hash  string
}

func (s *Store) hashOf(c *spec.Cluster) string {
	if h := s.hash.Load(); h != nil && h.state == c {
		return h.hash
	}
	h := &hashed{state: c, hash: c.Hash()}
	s.hash.Store(h)
	return h.hash
}

func stateName(s raft.RaftState) string {
	switch s {
	case raft.Leader:
		return "leader"
	case raft.Candidate:
		return "candidate"
	case raft.Shutdown:
		return "shutdown"
	default:
		return "follower"
	}
}
