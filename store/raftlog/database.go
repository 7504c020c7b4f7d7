package raftlog

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
	"golang.org/x/sys/unix"
)

// mendEvery is the least time between two attempts to open a database anew whose disk has failed.
const mendEvery = time.Second

// database is bolt's. When its disk has failed once (any error but a full disk), what is in memory of it may look as if it were on the disk and not be: the
// kernel reports a failed flush once, and forgets. Then nothing more is written through it, and with the next attempt it is closed, what the kernel
// remembers of the file is dropped, and what is really on the disk is checked in full, before anything is built on it. What was there before can be
// read all the time.
type database struct {
	dir    string
	check  func(command []byte) error
	logger hclog.Logger

	fault atomic.Pointer[error] // why nothing is written; nil = all is well

	writing sync.Mutex // held by whoever writes, however long the disk takes; guards the two below
	tried   time.Time  // when it was tried last to open it anew
	last    uint64     // the last entry that is known to be on disk

	mu   sync.RWMutex // guards bolt: held for reading by all who use it, for writing while it is opened anew
	bolt *raftboltdb.BoltStore
}

func newDatabase(o Options, bolt *raftboltdb.BoltStore) (*database, error) {
	last, err := bolt.LastIndex()
	if err != nil {
		return nil, fmt.Errorf("read the bounds of the log: %w", err)
	}
	return &database{dir: o.Dir, check: o.Check, logger: o.Logger, bolt: bolt, last: last}, nil
}

// Fault is why the disk takes no entries and no votes; nil while it does. A full disk is none. It does not block.
func (d *database) Fault() error {
	if err := d.fault.Load(); err != nil {
		return *err
	}
	return nil
}

func (d *database) failed(err error) error {
	d.fault.Store(&err)
	d.tried = time.Now()
	return err
}

// failing reports whether an error means that the disk has failed.
func failing(err error) bool {
	var errno syscall.Errno
	return errors.As(err, &errno) && errno != syscall.ENOSPC && errno != syscall.EDQUOT
}

// write does something that writes.
func (d *database) write(do func(*raftboltdb.BoltStore) error) error {
	d.writing.Lock()
	defer d.writing.Unlock()
	if d.Fault() != nil {
		if err := d.mend(); err != nil {
			return err
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	err := do(d.bolt)
	if failing(err) {
		d.logger.Error("the disk has failed; this server takes no part in changes until what is on it has been read anew", "path", d.dir, "err", err)
		_ = d.failed(fmt.Errorf("write %s: %w", filepath.Join(d.dir, logFile), err))
	}
	return err
}

// mend opens the database anew, if it was not tried a moment ago.
func (d *database) mend() error {
	if time.Since(d.tried) < mendEvery {
		return d.Fault()
	}
	path := filepath.Join(d.dir, logFile)
	if err := flush(path); err != nil { // it fails still
		return d.failed(fmt.Errorf("flush %s: %w", path, err))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.bolt.Close(); err != nil {
		d.logger.Warn("the log is not closed cleanly", "path", path, "err", err)
	}
	bolt, err := d.again(path)
	if err != nil {
		d.logger.Error("the log cannot be opened anew", "path", path, "err", err)
		if readable, err := openBolt(d.dir, true); err == nil { // what is there can be read on
			d.bolt = readable
		}
		return d.failed(fmt.Errorf("open %s anew: %w", path, err))
	}
	d.bolt = bolt
	d.fault.Store(nil)
	d.logger.Info("the disk is in order again, and so is the log", "path", path)
	return nil
}

// again opens what is on the disk, if all is there that was.
func (d *database) again(path string) (*raftboltdb.BoltStore, error) {
	if err := forget(path); err != nil {
		return nil, err
	}
	found, err := verify(d.dir, d.check)
	if err == nil && !found {
		err = ErrLogLost
	}
	if err != nil {
		return nil, err
	}
	bolt, err := openBolt(d.dir, false)
	if err != nil {
		return nil, err
	}
	last, err := bolt.LastIndex()
	if err == nil && last < d.last {
		err = fmt.Errorf("it ends at entry %d, and entry %d was confirmed: %w", last, d.last, ErrLogLost)
	}
	if err != nil {
		return nil, errors.Join(err, bolt.Close())
	}
	return bolt, nil
}

// flush has the file on disk.
func flush(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// forget has the kernel read the file from the disk the next time.
func forget(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
		return fmt.Errorf("drop what is remembered of %s: %w", path, err)
	}
	return nil
}

// FirstIndex implements raft.LogStore.
func (d *database) FirstIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bolt.FirstIndex()
}

// LastIndex implements raft.LogStore.
func (d *database) LastIndex() (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bolt.LastIndex()
}

// GetLog implements raft.LogStore.
func (d *database) GetLog(index uint64, entry *raft.Log) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bolt.GetLog(index, entry)
}

// StoreLogs implements raft.LogStore: it returns when the entries are on disk.
func (d *database) StoreLogs(entries []*raft.Log) error {
	return d.write(func(b *raftboltdb.BoltStore) error {
		err := b.StoreLogs(entries)
		if err == nil && len(entries) > 0 {
			d.last = max(d.last, entries[len(entries)-1].Index)
		}
		return err
	})
}

// DeleteRange implements raft.LogStore.
func (d *database) DeleteRange(from, to uint64) error {
	return d.write(func(b *raftboltdb.BoltStore) error {
		if to >= d.last {
			d.last = 0 // a part of them may be gone, whatever comes of it
		}
		return b.DeleteRange(from, to)
	})
}

// Set implements raft.StableStore.
func (d *database) Set(key, value []byte) error {
	return d.write(func(b *raftboltdb.BoltStore) error { return b.Set(key, value) })
}

// Get implements raft.StableStore.
func (d *database) Get(key []byte) ([]byte, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bolt.Get(key)
}

// SetUint64 implements raft.StableStore.
func (d *database) SetUint64(key []byte, value uint64) error {
	return d.write(func(b *raftboltdb.BoltStore) error { return b.SetUint64(key, value) })
}

// GetUint64 implements raft.StableStore.
func (d *database) GetUint64(key []byte) (uint64, error) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.bolt.GetUint64(key)
}

// Close closes it.
func (d *database) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.bolt.Close()
}
