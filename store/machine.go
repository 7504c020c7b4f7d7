package store

import (
	"fmt"
	"io"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"

	"meshnode/store/fsm"
	"meshnode/store/spec"
)

// machine is raft's view of the state machine. Raft calls it from one goroutine.
type machine struct {
	*fsm.Machine
	logger hclog.Logger
}

// Apply implements raft.FSM; the answer is an fsm.Result.
func (m machine) Apply(entry *raft.Log) any {
	halted := m.Fault() != nil
	result := m.Machine.Apply(entry.Index, entry.Data)
	if err := m.Fault(); err != nil && !halted {
		m.logger.Error("the configuration is halted on this node", "index", entry.Index, "err", err)
	}
	return result
}

// Snapshot implements raft.FSM. A halted machine takes none: it would hide the halt.
func (m machine) Snapshot() (raft.FSMSnapshot, error) {
	if err := m.Fault(); err != nil {
		return nil, fmt.Errorf("take snapshot: %w", err)
	}
	return snapshot{m.State()}, nil
}

// Restore implements raft.FSM.
func (m machine) Restore(r io.ReadCloser) error { return m.Machine.Restore(r) }

// snapshot is one immutable state on its way to disk.
type snapshot struct{ state *spec.Cluster }

// Persist implements raft.FSMSnapshot. Raft cancels the sink when it fails.
func (s snapshot) Persist(sink raft.SnapshotSink) error {
	b, err := fsm.EncodeState(s.state)
	if err != nil {
		return fmt.Errorf("encode snapshot: %w", err)
	}
	if _, err := sink.Write(b); err != nil {
		return fmt.Errorf("write snapshot: %w", err)
	}
	return nil
}

// Release implements raft.FSMSnapshot.
func (snapshot) Release() {}
