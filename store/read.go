package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/hashicorp/raft"

	"meshnode/store/spec"
)

// State returns the configuration as this server knows it. It never blocks, is never nil, and must not be changed. After
// a start without quorum it is the last one this server had; its index never falls.
func (s *Store) State() *spec.Cluster { return s.feed.current.Load() }

// Watch returns a channel that has the current configuration at once and then always the latest: a slow reader misses
// what came in between. It is closed when ctx or the store ends. A value may equal the one before it.
func (s *Store) Watch(ctx context.Context) <-chan *spec.Cluster { return s.feed.watch(ctx) }

// ReadIndex returns the index of the last command that was committed before the call: whoever has applied it (WaitIndex) sees all changes that
// were acknowledged by then. It writes an entry to the log to know that this server still leads, and works on the leader only, else it fails with
// *NotLeaderError or ErrNoLeader.
func (s *Store) ReadIndex(ctx context.Context) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fmt.Errorf("read index: %w", err)
	}
	if s.raft.State() != raft.Leader {
		return 0, s.notLeader()
	}
	done, err := s.begin()
	if err != nil {
		return 0, err
	}
	defer done()
	if err := s.raft.Barrier(enqueueTimeout).Error(); err != nil {
		if err = s.translate(err); errors.Is(err, ErrTimeout) {
			err = s.notLeader() // nothing was to be changed, so nothing is open
		}
		return 0, fmt.Errorf("read index: %w", err)
	}
	return s.machine.State().Index, nil
}

// WaitIndex blocks until this server has applied the command at index, which must be the index of a command: one from
// fsm.Result or from Status. It fails with the error of ctx, or with ErrClosed.
func (s *Store) WaitIndex(ctx context.Context, index uint64) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	last := uint64(0)
	for c := range s.feed.watch(ctx) {
		if last = c.Index; last >= index {
			return nil
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("wait for index %d, at %d: %w", index, last, err)
	}
	return ErrClosed
}
