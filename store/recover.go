package store

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/google/renameio/v2"
	"github.com/hashicorp/raft"

	"meshnode/store/fsm"
	"meshnode/store/raftlog"
)

const (
	// recoveryTerms is by how much a recovery raises the term: above what servers that are lost, or cannot be reached, may have got to in
	// elections that nobody here has heard of. No two entries of one index may ever have one term.
	recoveryTerms = 1 << 10
	// recoveryAge is how old what was asked for may be when it is carried out: later the cluster may have found itself again.
	recoveryAge = 15 * time.Minute
	// maxRecoveryBytes bounds what is read as one.
	maxRecoveryBytes = 1 << 20
)

// Recovery is what an operator has decided about a cluster whose majority is gone for good: one survivor goes on as the only voter.
type Recovery struct {
	// ID is the server that goes on.
	ID string `json:"id"`
	// Cluster is the cluster it belongs to.
	Cluster string `json:"cluster"`
	// Others are the survivors beside it. They become non-voters, whatever they were; store/quorum gives them votes again.
	Others []Server `json:"others"`
	// Lost are the servers that are given up.
	Lost []string `json:"lost"`
	// Term is the highest term that any of the survivors knows of.
	Term uint64 `json:"term"`
	// Asked is when it was decided, on this server's clock.
	Asked time.Time `json:"asked"`
}

// AskRecovery has the server in dir carry out r when it is opened the next time. CancelRecovery takes that back.
func AskRecovery(dir string, r Recovery) error {
	if r.ID == "" || len(r.Lost) == 0 || slices.Contains(r.Lost, r.ID) {
		return fmt.Errorf("ask for a recovery: server %q goes on without %d lost ones", r.ID, len(r.Lost))
	}
	text, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encode recovery: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, raftlog.RecoveryFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("ask for a recovery: %w", err)
	}
	return nil
}

// CancelRecovery takes AskRecovery back. There need not be one.
func CancelRecovery(dir string) error {
	if err := os.Remove(filepath.Join(dir, raftlog.RecoveryFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("take back a recovery: %w", err)
	}
	return nil
}

// recovered is what came of AskRecovery.
type recovered struct {
	recovery    *Recovery
	recoveryErr error
}

// Recovered returns the recovery that was asked for when this store was opened, nil when there was none, and why it was not carried out.
func (s *Store) Recovered() (*Recovery, error) { return s.recovery, s.recoveryErr }

// asked reads what AskRecovery wrote; nil when there is nothing, or nothing that may be carried out any more.
func (s *Store) asked() (*Recovery, error) {
	path := filepath.Join(s.dir, raftlog.RecoveryFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var r Recovery
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %s: %w", path, err)
	case len(text) > maxRecoveryBytes || json.Unmarshal(text, &r) != nil:
		return nil, fmt.Errorf("%s cannot be read", path)
	case r.ID != s.id || r.Cluster != s.log.Cluster():
		return nil, fmt.Errorf("%s is of server %s in cluster %s, this is %s in %s", path, r.ID, r.Cluster, s.id, s.log.Cluster())
	}
	if age := time.Since(r.Asked); age < -recoveryAge || age > recoveryAge {
		return &r, fmt.Errorf("it was asked for at %s, which is too long ago", r.Asked.Format(time.RFC3339))
	}
	return &r, nil
}

// recover carries out what was asked for, before raft starts. What was asked for is forgotten after that is on disk, so that a crash in between
// repeats it; one that fails is forgotten too, and the server starts as it is: it serves its traffic, and the operator can ask again.
//
// raft.RecoverCluster is not used. It moves the whole log into a snapshot, which a survivor that has other entries behind the same
// index does not follow: it takes the snapshot, keeps its entries, and refuses what comes next. Entries that are added to the log are
// agreed on as any others: with a higher term they win.
func (s *Store) recover(last entry) error {
	r, err := s.asked()
	if err == nil && r != nil {
		err = s.goOnAlone(r, last)
	}
	s.recovery, s.recoveryErr = r, err
	switch {
	case err != nil:
		s.logger.Error("the cluster is not recovered", "err", err)
	case r != nil:
		s.logger.Warn("going on without the lost servers, as the only voter", "count", len(r.Lost), "index", last.index+2)
	default:
		return nil
	}
	return CancelRecovery(s.dir)
}

// goOnAlone adds to the log a configuration of the servers in which this one is the only voter, and the names of those that are lost.
func (s *Store) goOnAlone(r *Recovery, last entry) error {
	known, err := s.log.Term()
	if err != nil {
		return fmt.Errorf("read the term: %w", err)
	}
	term := max(known, last.term, r.Term) + recoveryTerms
	servers := []raft.Server{{Suffrage: raft.Voter, ID: raft.ServerID(s.id), Address: raft.ServerAddress(s.stream.addr)}}
	for _, o := range r.Others {
		servers = append(servers, raft.Server{Suffrage: raft.Nonvoter, ID: raft.ServerID(o.ID), Address: raft.ServerAddress(o.Addr)})
	}
	lose, err := encodeLose(r.Lost)
	if err != nil {
		return fmt.Errorf("give servers up: %w", err)
	}
	return s.log.Extend(term, []*raft.Log{
		{Index: last.index + 1, Term: term, Type: raft.LogConfiguration, Data: raft.EncodeConfiguration(raft.Configuration{Servers: servers})},
		{Index: last.index + 2, Term: term, Type: raft.LogCommand, Data: lose},
	})
}

func encodeLose(lost []string) ([]byte, error) {
	c, err := fsm.Command{Lose: &fsm.Lose{Servers: lost}}.Prepare()
	if err != nil {
		return nil, err
	}
	return fsm.Encode(c)
}

// Last returns the place of the last entry of the log, committed or not: of two servers the one with the higher term, or at the same term the
// higher index, has all that the other has of what was agreed on. Term is the server's own.
func (s *Store) Last() (index, lastTerm, term uint64) {
	stats := s.raft.Stats()
	number := func(key string) uint64 {
		v, _ := strconv.ParseUint(stats[key], 10, 64) // raft says that they are numbers
		return v
	}
	index, lastTerm, term = number("last_log_index"), number("last_log_term"), number("term")
	if snapshot := number("last_snapshot_index"); snapshot > index {
		index, lastTerm = snapshot, number("last_snapshot_term")
	}
	return index, lastTerm, term
}
