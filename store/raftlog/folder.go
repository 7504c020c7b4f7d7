package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Names in the data folder.
const (
	logFile      = "raft.db"
	markerFile   = "state.json"
	snapshotsDir = "snapshots"
	// ConfigurationFile is where package store keeps its copy of the last configuration.
	ConfigurationFile = "configuration.bin"
	// RecoveryFile is where package store keeps what is to be done about a lost majority at the next start.
	RecoveryFile = "recovery.json"
)

// HasState reports whether dir belongs to a server that has taken part in a cluster, or did before its log was lost.
// A damaged log counts, and so does one another process has open: it is Open's part to complain.
func HasState(dir string) (bool, error) {
	_, marked, err := readMarker(dir)
	if marked || errors.Is(err, ErrDamaged) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	found, err := verify(dir, func([]byte) error { return nil })
	if errors.Is(err, ErrDamaged) || errors.Is(err, ErrInUse) {
		return true, nil
	}
	return found, err
}

// Remove deletes everything that belongs to a log from dir, the marker last, and leaves other files alone. The log must
// not be open.
func Remove(dir string) error {
	for _, name := range []string{RecoveryFile, ConfigurationFile, snapshotsDir, logFile, markerFile} {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove raft state: %w", err)
		}
	}
	return nil
}
