package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

var (
	// ErrInUse reports that another process has the data folder open.
	ErrInUse = errors.New("the data folder is in use by another process: stop that one first")
	// ErrLogLost reports a server that had a log and has none now. Its vote must not be given twice.
	ErrLogLost = errors.New("the raft log of this server is lost")
	// ErrDamaged reports a log that cannot be read in full.
	ErrDamaged = errors.New("the raft log is damaged")
	// ErrNewer reports a log with commands that this release does not know. It is whole.
	ErrNewer = errors.New("the raft log was written by a newer release")
	// ErrOtherServer reports a data folder that belongs to another server.
	ErrOtherServer = errors.New("the data folder belongs to another server: every server needs a folder of its own")
)

const (
	// lockTimeout is how long Open waits for another process to give up the folder.
	lockTimeout = time.Second
	// termRetry and termRetryMax bound the pause between attempts to write a term.
	termRetry    = 250 * time.Millisecond
	termRetryMax = 5 * time.Second
)

// termKey is raft's name for the current term in the stable store.
const termKey = "CurrentTerm"

// ownerKey holds the server's identity in the stable store.
const ownerKey = "meshnode.server"

// Options say which log to open.
type Options struct {
	// Dir is the folder; it is made, readable by its owner only, when it is missing.
	Dir string
	// ID is the server the folder must belong to.
	ID string
	// Cluster goes into the marker of a folder that has none yet; empty when it is not known.
	Cluster string
	// Check is asked about the bytes of every command in the log; an error makes Open fail with ErrDamaged, unless it wraps ErrNewer. Required.
	Check func(command []byte) error
	// Wrote is told how long each write of entries took, flushing included; it may be nil and must not block.
	Wrote func(took time.Duration)
	// Logger gets what cannot be returned. Required.
	Logger hclog.Logger
}

// Log is an open log. It implements raft.LogStore and raft.StableStore.
type Log struct {
	*database
	dir     string
	logger  hclog.Logger
	wrote   func(time.Duration)
	closing chan struct{}
	once    sync.Once
	refused atomic.Bool // the last write of entries failed, and nothing was made of that yet

	terms   sync.Mutex // held while a term is written
	highest uint64     // the highest that was

	mu     sync.Mutex
	marker Marker
	marked bool
}

// Open opens or makes the log in o.Dir and reads all of it once. It waits at most a second for another process. It
// fails with ErrInUse, ErrLogLost, ErrDamaged or ErrOtherServer.
func Open(o Options) (*Log, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder: %w", err)
	}
	marker, marked, err := readMarker(o.Dir)
	if err != nil {
		return nil, err
	}
	if marked && marker.ID != o.ID {
		return nil, fmt.Errorf("data folder %s is the one of %s, this server is %s: %w", o.Dir, marker.ID, o.ID, ErrOtherServer)
	}
	found, err := verify(o.Dir, o.Check)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(o.Dir, logFile), err)
	}
	if marked && !found {
		return nil, fmt.Errorf("open %s: %w", filepath.Join(o.Dir, logFile), ErrLogLost)
	}
	db, err := openBolt(o.Dir, false)
	if err != nil {
		return nil, err
	}
	if !marked {
		marker = Marker{ID: o.ID, Cluster: o.Cluster}
	}
	d, err := newDatabase(o, db)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	l := &Log{database: d, dir: o.Dir, logger: o.Logger, wrote: o.Wrote, closing: make(chan struct{}), marker: marker, marked: marked}
	if err := l.prove(found); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return l, nil
}

// prove writes to the folder once, so that a full or read-only disk is an error now and not a stall later.
func (l *Log) prove(found bool) error {
	if err := l.database.Set([]byte(ownerKey), []byte(l.marker.ID)); err != nil {
		return fmt.Errorf("write to raft log: %w", err)
	}
	if !found {
		return nil
	}
	return l.mark()
}

// Close releases the folder. Writes that wait for the disk are given up.
func (l *Log) Close() error {
	l.once.Do(func() { close(l.closing) })
	if err := l.database.Close(); err != nil {
		return fmt.Errorf("close raft log: %w", err)
	}
	return nil
}

// Abort makes every write that waits for the disk give up, now and from now on. It is the first step of a shutdown, so
// that raft can end while the disk does not answer; Close is still needed.
func (l *Log) Abort() { l.once.Do(func() { close(l.closing) }) }

// giveWay is how long a server whose log took no entry a moment ago waits before it takes part in an election: long enough for the others to hold theirs.
// It would win (a heartbeat needs no disk, and terms have their room), and lead to no purpose.
const giveWay = 3 * time.Second

// SetUint64 stores a number for raft. A term is retried until it is on disk or the log is closed, because raft ends the
// process when it cannot store one; meanwhile this server takes no part in elections, and nothing else stops.
func (l *Log) SetUint64(key []byte, v uint64) error {
	if string(key) != termKey {
		return l.database.SetUint64(key, v)
	}
	pause := termRetry
	if l.refused.Swap(false) {
		l.rest(giveWay)
	}
	for {
		err := l.storeTerm(key, v)
		if err == nil {
			return nil
		}
		l.logger.Error("cannot write the raft term, trying again", "term", v, "err", err, "path", l.dir)
		if l.rest(pause) {
			pause = min(2*pause, termRetryMax)
		} else {
			// Raft would panic on an error. The term is not kept, but nothing can build on it: the log and the vote are
			// refused as well from here on.
			return nil
		}
	}
}

// rest waits, and reports whether the log is open still.
func (l *Log) rest(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-l.closing:
		return false
	}
}

// storeTerm writes a term, unless a higher one is there: raft stores those that it hears of and those that it makes in two goroutines, and one of
// them may have waited for the disk.
func (l *Log) storeTerm(key []byte, v uint64) error {
	l.terms.Lock()
	defer l.terms.Unlock()
	if v < l.highest {
		return nil
	}
	if err := l.database.SetUint64(key, v); err != nil {
		return err
	}
	l.highest = v
	if v == 0 {
		return nil
	}
	return l.mark()
}

// Extend stores a term and then the entries, before raft works on the log. It does not wait for the disk as SetUint64 does, and one that
// fails can be repeated: entries without their term, or some of them alone, are never stored.
func (l *Log) Extend(term uint64, entries []*raft.Log) error {
	if err := l.storeTerm([]byte(termKey), term); err != nil {
		return fmt.Errorf("write term %d to %s: %w", term, filepath.Join(l.dir, logFile), err)
	}
	if err := l.StoreLogs(entries); err != nil {
		return fmt.Errorf("write %d entries to %s: %w", len(entries), filepath.Join(l.dir, logFile), err)
	}
	return nil
}

// Term returns the term that is stored, 0 when there is none.
func (l *Log) Term() (uint64, error) {
	term, err := l.GetUint64([]byte(termKey))
	if errors.Is(err, raftboltdb.ErrKeyNotFound) {
		return 0, nil
	}
	return term, err
}

// Bounds returns the indexes of the first and the last entry, 0 and 0 when there is none, and the term of the last.
func (l *Log) Bounds() (first, last, term uint64, err error) {
	if first, err = l.FirstIndex(); err != nil {
		return 0, 0, 0, fmt.Errorf("read the bounds of the log: %w", err)
	}
	if last, err = l.LastIndex(); err != nil || last == 0 {
		return first, last, 0, err
	}
	var entry raft.Log
	if err := l.GetLog(last, &entry); err != nil {
		return 0, 0, 0, fmt.Errorf("read entry %d: %w", last, err)
	}
	return first, last, entry.Term, nil
}

// IsMonotonic has raft leave no gap behind when it installs a leader's snapshot: the entries from before are removed. With a gap the log would be
// found damaged when it is opened again.
func (l *Log) IsMonotonic() bool { return true }

// Set stores a value for raft, a vote among them. It fails once the log is closing.
func (l *Log) Set(key, v []byte) error {
	if err := l.open(); err != nil {
		return err
	}
	return l.database.Set(key, v)
}

// StoreLog appends one entry. It fails once the log is closing.
func (l *Log) StoreLog(entry *raft.Log) error { return l.StoreLogs([]*raft.Log{entry}) }

// StoreLogs appends entries and returns when they are on disk. It fails once the log is closing.
func (l *Log) StoreLogs(entries []*raft.Log) error {
	if err := l.open(); err != nil {
		return err
	}
	begun := time.Now()
	err := l.database.StoreLogs(entries)
	if l.wrote != nil {
		l.wrote(time.Since(begun))
	}
	l.refused.Store(err != nil)
	return err
}

func (l *Log) open() error {
	select {
	case <-l.closing:
		return errors.New("the raft log is closing")
	default:
		return nil
	}
}

// openBolt opens the database and turns bolt's lock timeout into ErrInUse.
func openBolt(dir string, readOnly bool) (*raftboltdb.BoltStore, error) {
	db, err := raftboltdb.New(raftboltdb.Options{
		Path:        filepath.Join(dir, logFile),
		BoltOptions: &bbolt.Options{Timeout: lockTimeout, NoFreelistSync: true, ReadOnly: readOnly},
	})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, fmt.Errorf("open raft log in %s: %w", dir, ErrInUse)
	}
	if err != nil {
		return nil, fmt.Errorf("open raft log: %w", err)
	}
	return db, nil
}
