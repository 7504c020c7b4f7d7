package store

import (
	"context"
	"fmt"

	"meshnode/store/spec"
)

// State returns the configuration as this server knows it. It never blocks, is never nil, and must not be changed. After
// a start without quorum it is the last one this server had; its index never falls.
func (s *Store) State() *spec.Cluster { return s.feed.current.Load() }

// Watch returns a channel that has the current configuration at once and then always the latest: a slow reader misses
// what came in between. It is closed when ctx or the store ends. A value may equal the one before it.
func (s *Store) Watch(ctx context.Context) <-chan *spec.Cluster { return s.feed.watch(ctx) }

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
