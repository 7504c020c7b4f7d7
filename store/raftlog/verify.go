package raftlog

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// verify reads the whole log in dir and reports whether there is one: a term or an entry. A missing or empty file is no
// log. It fails with ErrDamaged or ErrInUse.
//
// It opens the file read-only, because bolt panics in a goroutine of its own when it opens a damaged file for writing.
func verify(dir string, check func([]byte) error) (found bool, err error) {
	info, err := os.Stat(filepath.Join(dir, logFile))
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look at raft log: %w", err)
	}
	// A file that was cut is mapped beyond its end: reading there is a fault, not an error.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var db *raftboltdb.BoltStore
	defer func() {
		if r := recover(); r != nil {
			found, err = false, fmt.Errorf("pages of it are missing or wrong (%v): %w", r, ErrDamaged)
		}
		if db != nil {
			err = errors.Join(err, db.Close())
		}
	}()
	db, err = openBolt(dir, true)
	if errors.Is(err, ErrInUse) {
		return false, err
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", err, ErrDamaged)
	}
	return readAll(db, check)
}

// readAll reads term, vote and every entry of db.
func readAll(db *raftboltdb.BoltStore, check func([]byte) error) (bool, error) {
	term, err := db.GetUint64([]byte(termKey))
	if err != nil && !errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return false, fmt.Errorf("read raft term: %w: %w", err, ErrDamaged)
	}
	first, err := db.FirstIndex()
	if err != nil {
		return false, fmt.Errorf("read raft log: %w: %w", err, ErrDamaged)
	}
	last, err := db.LastIndex()
	if err != nil {
		return false, fmt.Errorf("read raft log: %w: %w", err, ErrDamaged)
	}
	if last != 0 && term == 0 {
		return false, fmt.Errorf("the log holds entries but no term: %w", ErrDamaged)
	}
	for index := first; index != 0 && index <= last; index++ {
		var entry raft.Log
		if err := db.GetLog(index, &entry); err != nil {
			return false, fmt.Errorf("read entry %d of %d: %w: %w", index, last, err, ErrDamaged)
		}
		if entry.Index != index || entry.Term > term {
			return false, fmt.Errorf("entry %d says index %d, term %d: %w", index, entry.Index, entry.Term, ErrDamaged)
		}
		if entry.Type != raft.LogCommand {
			continue
		}
		switch err := check(entry.Data); {
		case errors.Is(err, ErrNewer):
			return false, fmt.Errorf("command at %d: %w", index, err)
		case err != nil:
			return false, fmt.Errorf("command at %d: %w: %w", index, err, ErrDamaged)
		}
	}
	return term > 0, nil
}
