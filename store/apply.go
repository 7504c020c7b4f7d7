package store

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/hashicorp/raft"

	"meshnode/store/fsm"
)

const (
	// maxProposals bounds the changes under way on this server.
	maxProposals = 256
	// enqueueTimeout is how long a proposal may wait for raft to take it.
	enqueueTimeout = 5 * time.Second
)

// Apply proposes c and blocks until this server's state machine has answered, or ctx ends. Defaults of an app are filled
// in. The fields of Result are set whenever the command got an index, also when it was refused; the error is then
// Result.Err too.
//
// It fails with fsm.ErrInvalid or fsm.ErrTooLarge before anything is proposed; with *NotLeaderError, ErrNoLeader, ErrBusy
// or ErrClosed when nothing was changed; with ErrTimeout when that is not known; and with the answer of package fsm.
func (s *Store) Apply(ctx context.Context, c fsm.Command) (fsm.Result, error) {
	c, err := c.Prepare()
	if err != nil {
		return fsm.Result{}, err
	}
	data, err := fsm.Encode(c)
	if err != nil {
		return fsm.Result{}, err
	}
	if err := ctx.Err(); err != nil {
		return fsm.Result{}, fmt.Errorf("propose: %w", err)
	}
	if s.raft.State() != raft.Leader {
		return fsm.Result{}, s.notLeader()
	}
	done, err := s.begin()
	if err != nil {
		return fsm.Result{}, err
	}
	answer := make(chan proposal, 1)
	go func() {
		defer done()
		answer <- s.propose(data)
	}()
	select {
	case p := <-answer:
		return p.result, p.err
	case <-ctx.Done():
		return fsm.Result{}, fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
}

// proposal is the outcome of one.
type proposal struct {
	result fsm.Result
	err    error
}

// propose blocks until the outcome is known. Raft always comes back: the command is committed, or this server stops
// leading because no majority answers.
func (s *Store) propose(data []byte) proposal {
	defer s.meter.since(metricApply, time.Now())
	future := s.raft.Apply(data, enqueueTimeout)
	if err := future.Error(); err != nil {
		return proposal{err: fmt.Errorf("propose: %w", s.translate(err))}
	}
	result, ok := future.Response().(fsm.Result)
	if !ok {
		return proposal{err: fmt.Errorf("the state machine answered %T", future.Response())}
	}
	return proposal{result: result, err: result.Err}
}

// begin claims one of the places for changes under way; done gives it back. Close waits until all are back, because raft
// forgets some of its promises when it is shut down.
func (s *Store) begin() (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, ErrClosed
	}
	if s.proposals >= maxProposals {
		s.meter.count(metricRefused)
		return nil, ErrBusy
	}
	s.proposals++
	s.wg.Add(1)
	return func() {
		s.mu.Lock()
		s.proposals--
		s.mu.Unlock()
		s.wg.Done()
	}, nil
}

// translate turns raft's errors into ours.
func (s *Store) translate(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return s.notLeader()
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return ErrBusy
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrAbortedByRestore):
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	case errors.Is(err, raft.ErrRaftShutdown):
		return ErrClosed
	case errors.As(err, new(syscall.Errno)):
		// The log was not written, or not in full. Some of it may be there all the same, and be agreed on when this server leads again.
		return fmt.Errorf("%w: %w", ErrTimeout, err)
	default:
		return err
	}
}

// notLeader names the leader, or says why there is none.
func (s *Store) notLeader() error {
	addr, id := s.raft.LeaderWithID()
	if id != "" && string(id) != s.id {
		return &NotLeaderError{ID: string(id), Addr: string(addr)}
	}
	voters, mine := 0, false
	for _, server := range s.Servers() {
		if server.Voter {
			voters++
			mine = mine || server.ID == s.id
		}
	}
	if voters == 0 {
		return fmt.Errorf("%w: this node has not joined a cluster yet", ErrNoLeader)
	}
	if voters == 1 && mine {
		return fmt.Errorf("%w: this node is the only voter and has not won its election yet", ErrNoLeader)
	}
	return fmt.Errorf("%w: %d of %d voters must be up and reach each other", ErrNoLeader, voters/2+1, voters)
}
