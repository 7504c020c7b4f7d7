package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/hashicorp/raft"

	"meshnode/store/fsm"
	"meshnode/store/raftlog"
)

const (
	// snapshotsDir is where raft has its snapshots, below the data folder.
	snapshotsDir = "snapshots"
	// unfinished ends the names of snapshots that raft does not look at.
	unfinished = ".tmp"
	// setAside is what a damaged snapshot is called behind its name.
	setAside = ".damaged" + unfinished
)

// entry is a place in the log.
type entry struct{ index, term uint64 }

// stored is one snapshot on disk.
type stored struct {
	entry
	path   string
	damage error
}

// reach returns the last entry that this server has, in its log or in a snapshot, and fails where it has had more: kept is the index of
// the configuration that was kept, which was committed. By itself raft goes back to an older snapshot without a word, or panics where the log does not
// go on from there. A damaged snapshot that the log makes up for is set aside.
func (s *Store) reach(snapshots raft.SnapshotStore, kept uint64) (entry, error) {
	all, err := readSnapshots(filepath.Join(s.dir, snapshotsDir), snapshots)
	if err != nil {
		return entry{}, err
	}
	first, last, term, err := s.log.Bounds()
	if err != nil {
		return entry{}, err
	}
	var have entry
	for _, snapshot := range all {
		if snapshot.damage == nil && snapshot.index > have.index {
			have = snapshot.entry
		}
	}
	switch {
	case last > have.index && first > have.index+1:
		return have, fmt.Errorf("the log in %s begins at entry %d, and what is before it is in no snapshot that can be read%s: %w", s.dir, first, named(all), ErrSnapshotLost)
	case last > have.index:
		have = entry{last, term}
	case last > 0 && last < have.index: // a crash in the middle of taking a leader's snapshot
		if err := s.log.DeleteRange(first, last); err != nil {
			return have, fmt.Errorf("remove entries that a snapshot holds: %w", err)
		}
	}
	for _, snapshot := range all {
		switch {
		case snapshot.damage == nil:
		case snapshot.index > have.index:
			return have, fmt.Errorf("%s, up to entry %d, cannot be read, and the log ends at entry %d: %w: %w", snapshot.path, snapshot.index, have.index, snapshot.damage, ErrSnapshotLost)
		default:
			s.logger.Error("a snapshot is damaged and set aside; the log holds all that was in it", "path", snapshot.path+setAside, "err", snapshot.damage)
			if err := os.Rename(snapshot.path, snapshot.path+setAside); err != nil {
				return have, fmt.Errorf("set a damaged snapshot aside: %w", err)
			}
		}
	}
	if kept > have.index {
		return have, fmt.Errorf("what is in %s ends at entry %d, and entry %d was confirmed: %w", s.dir, have.index, kept, raftlog.ErrLogLost)
	}
	return have, nil
}

// named tells of the damaged ones among snapshots, for an error.
func named(all []stored) string {
	var out strings.Builder
	for _, snapshot := range all {
		if snapshot.damage != nil {
			fmt.Fprintf(&out, "; %s: %v", snapshot.path, snapshot.damage)
		}
	}
	return out.String()
}

// readSnapshots reads every finished snapshot below dir whole. Those that cannot be read are among them, with the reason.
func readSnapshots(dir string, snapshots raft.SnapshotStore) ([]stored, error) {
	folders, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("look for snapshots: %w", err)
	}
	var out []stored
	for _, f := range folders {
		if !f.IsDir() || strings.HasSuffix(f.Name(), unfinished) {
			continue
		}
		one := stored{path: filepath.Join(dir, f.Name())}
		one.entry, one.damage = readSnapshot(f.Name(), snapshots)
		if errors.Is(one.damage, fsm.ErrUnsupported) {
			return nil, fmt.Errorf("%s: %w: start this server with that release", one.path, one.damage)
		}
		if one.damage != nil && one.index == 0 {
			one.entry = placeOf(f.Name())
		}
		out = append(out, one)
	}
	return out, nil
}

func readSnapshot(name string, snapshots raft.SnapshotStore) (entry, error) {
	meta, r, err := snapshots.Open(name)
	if err != nil {
		return entry{}, err
	}
	defer r.Close()
	at := entry{meta.Index, meta.Term}
	b, err := io.ReadAll(io.LimitReader(r, fsm.MaxStateBytes+1))
	if err != nil {
		return at, err
	}
	_, err = fsm.DecodeState(b)
	return at, err
}

// placeOf is the place that a snapshot's name, "term-index-time", speaks of. One that does not is beyond everything.
func placeOf(name string) entry {
	parts := strings.Split(name, "-")
	if len(parts) == 3 {
		term, err := strconv.ParseUint(parts[0], 10, 64)
		index, err2 := strconv.ParseUint(parts[1], 10, 64)
		if err == nil && err2 == nil {
			return entry{index, term}
		}
	}
	return entry{^uint64(0), 0}
}
