package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"

	"meshnode/store/fsm"
	"meshnode/store/raftlog"
	"meshnode/store/spec"
)

// keepRetry is the pause before a copy that could not be written is tried again.
const keepRetry = 5 * time.Second

// keep writes every configuration it is given to a file beside the log, the latest when they come faster than the disk,
// and ends when watch is closed. Raft alone knows after a restart only what was in the last snapshot, until a leader
// tells it what was committed since; a node that starts while the cluster has no quorum needs all of it to serve.
func (s *Store) keep(watch <-chan *spec.Cluster) {
	defer close(s.kept)
	var kept uint64
	var pending *spec.Cluster
	var retry <-chan time.Time
	for {
		select {
		case c, open := <-watch:
			if !open {
				return
			}
			pending = c
		case <-retry:
		}
		retry = nil
		if pending.Index <= kept {
			continue
		}
		if err := s.keepOne(pending); err != nil {
			s.meter.count(metricKeepFailure)
			s.logger.Warn("cannot keep a copy of the configuration, trying again", "index", pending.Index, "err", err)
			retry = time.After(keepRetry)
			continue
		}
		kept = pending.Index
	}
}

func (s *Store) keepOne(c *spec.Cluster) error {
	if c.ID != "" {
		if err := s.log.SetCluster(c.ID); err != nil {
			return err
		}
	}
	b, err := fsm.EncodeState(c)
	if err != nil {
		return fmt.Errorf("encode configuration: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(s.dir, raftlog.ConfigurationFile), b, 0o600); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	return nil
}

// recall returns the configuration kept in dir for the cluster; nil when there is none. It fails when it cannot be read,
// which costs nothing but time: raft has it all.
func recall(dir, cluster string) (*spec.Cluster, error) {
	path := filepath.Join(dir, raftlog.ConfigurationFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look at kept configuration: %w", err)
	}
	if info.Size() > fsm.MaxStateBytes {
		return nil, fmt.Errorf("kept configuration has %d bytes: %w", info.Size(), fsm.ErrTooLarge)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read kept configuration: %w", err)
	}
	c, err := fsm.DecodeState(b)
	if err != nil {
		return nil, fmt.Errorf("read kept configuration: %w", err)
	}
	if c.ID != cluster {
		return nil, fmt.Errorf("the kept configuration is of cluster %q, the log of %q", c.ID, cluster)
	}
	return c, nil
}
