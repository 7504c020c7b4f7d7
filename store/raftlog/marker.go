package raftlog

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// Marker is the file state.json: it says that a log belongs beside it, and whose. It appears with the first term.
type Marker struct {
	// ID is the server's Raft identity.
	ID string `json:"id"`
	// Cluster is the cluster's identity; empty until it is known.
	Cluster string `json:"cluster"`
}

// maxMarkerBytes bounds what is read as a marker.
const maxMarkerBytes = 4 << 10

// Cluster returns the identity of the cluster this log belongs to, as far as it is known.
func (l *Log) Cluster() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.marker.Cluster
}

// SetCluster records the identity of the cluster. It writes to disk when that is news.
func (l *Log) SetCluster(id string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.marker.Cluster == id {
		return nil
	}
	next := Marker{ID: l.marker.ID, Cluster: id}
	if l.marked {
		if err := writeMarker(l.dir, next); err != nil {
			return err
		}
	}
	l.marker = next
	return nil
}

// mark writes the marker if it is not there yet. It runs after the first term is on disk: the other way round, a crash
// in between would look like a lost log.
func (l *Log) mark() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.marked {
		return nil
	}
	if err := writeMarker(l.dir, l.marker); err != nil {
		return err
	}
	l.marked = true
	return nil
}

func readMarker(dir string) (Marker, bool, error) {
	path := filepath.Join(dir, markerFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Marker{}, false, nil
	}
	if err != nil {
		return Marker{}, false, fmt.Errorf("read marker: %w", err)
	}
	var m Marker
	if len(text) > maxMarkerBytes || json.Unmarshal(text, &m) != nil || m.ID == "" {
		return Marker{}, false, fmt.Errorf("marker %s cannot be read: %w", path, ErrDamaged)
	}
	return m, true, nil
}

func writeMarker(dir string, m Marker) error {
	text, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode marker: %w", err)
	}
	if err := renameio.WriteFile(filepath.Join(dir, markerFile), append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("write marker: %w", err)
	}
	return syncDir(dir)
}

// syncDir makes the new name of a file survive a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync data folder: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("sync data folder: %w", err)
	}
	return nil
}
