package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"meshnode/store/quorum"
)

// Server is one server of the Raft configuration.
type Server = quorum.Server

// changeTimeout is how long a change of the servers may wait for the one before it.
const changeTimeout = 5 * time.Second

// Servers returns the Raft configuration as this server knows it, in its order. Empty before this server joined. The
// caller owns the slice.
func (s *Store) Servers() []Server { return serversOf(s.raft) }

// IsServer reports whether id is in the Raft configuration this server knows.
func (s *Store) IsServer(id string) bool {
	for _, server := range s.Servers() {
		if server.ID == id {
			return true
		}
	}
	return false
}

// AddServer adds a server, or changes the address or the vote of one that is there; it never takes a vote. It blocks
// until the change is committed, and works on the leader only, else it fails with *NotLeaderError or ErrNoLeader. A voter
// that cannot be reached can cost the cluster its quorum: store/quorum decides who is safe.
func (s *Store) AddServer(ctx context.Context, server Server) error {
	id, addr := raft.ServerID(server.ID), raft.ServerAddress(server.Addr)
	return s.change(ctx, "add server", func() raft.IndexFuture {
		if server.Voter {
			return s.raft.AddVoter(id, addr, 0, changeTimeout)
		}
		return s.raft.AddNonvoter(id, addr, 0, changeTimeout)
	})
}

// DemoteVoter takes a server's vote. It blocks and fails like AddServer.
func (s *Store) DemoteVoter(ctx context.Context, id string) error {
	return s.change(ctx, "demote voter", func() raft.IndexFuture {
		return s.raft.DemoteVoter(raft.ServerID(id), 0, changeTimeout)
	})
}

// RemoveServer takes a server out of the configuration; one that is not in it is no error. It blocks and fails like
// AddServer. The leader cannot remove itself: transfer the leadership first.
func (s *Store) RemoveServer(ctx context.Context, id string) error {
	if id == s.id {
		return errors.New("remove server: a leader cannot remove itself: transfer the leadership first")
	}
	return s.change(ctx, "remove server", func() raft.IndexFuture {
		return s.raft.RemoveServer(raft.ServerID(id), 0, changeTimeout)
	})
}

// TransferLeadership gives the leadership to the voter that has most of the log, and blocks until it has it. It fails
// with *NotLeaderError or ErrNoLeader where this server does not lead, and when there is no other voter.
func (s *Store) TransferLeadership() error {
	if s.raft.State() != raft.Leader {
		return s.notLeader()
	}
	done, err := s.begin()
	if err != nil {
		return err
	}
	defer done()
	if err := s.raft.LeadershipTransfer().Error(); err != nil {
		return fmt.Errorf("transfer leadership: %w", s.translate(err))
	}
	return nil
}

// change runs one change of the configuration. Raft answers by itself when the leadership is lost, so ctx is only looked
// at before: giving up in between would leave the outcome open for nothing.
func (s *Store) change(ctx context.Context, what string, do func() raft.IndexFuture) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	done, err := s.begin()
	if err != nil {
		return err
	}
	defer done()
	if err := do().Error(); err != nil {
		return fmt.Errorf("%s: %w", what, s.translate(err))
	}
	return nil
}

func serversOf(r *raft.Raft) []Server {
	if r == nil {
		return nil
	}
	// This future is answered before it is returned and never fails.
	servers := r.GetConfiguration().Configuration().Servers
	out := make([]Server, 0, len(servers))
	for _, server := range servers {
		out = append(out, Server{ID: string(server.ID), Addr: string(server.Address), Voter: server.Suffrage == raft.Voter})
	}
	return out
}
