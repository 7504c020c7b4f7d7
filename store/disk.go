package store

import (
	"context"
	"sync"
	"time"
)

// A leader whose disk is slow keeps its leadership, for heartbeats need no disk, and makes every change of the configuration as slow.
const (
	// slowWrite is how long a write of the log takes at least to count as slow: a disk in order needs some ten milliseconds.
	slowWrite = time.Second
	// slowWrites is how many in a row make a slow disk.
	slowWrites = 2
	// handOverRest is the least time between two hand-overs for that: where all disks are slow, the leadership does not go round.
	handOverRest = time.Minute
)

// disk watches how long writes of the log take.
type disk struct {
	wake chan struct{} // one place: the disk is slow

	mu     sync.Mutex
	slow   int           // slow writes in a row (count)
	last   time.Duration // the last of them
	handed time.Time     // when the leadership was last given away for it
}

func newDisk() *disk { return &disk{wake: make(chan struct{}, 1)} }

// wrote notes how long a write took.
func (d *disk) wrote(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if took < slowWrite {
		d.slow, d.last = 0, 0
		return
	}
	d.slow++
	d.last = took
	if d.slow >= slowWrites {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// slowness is how long the last write took if the disk is slow, else 0.
func (d *disk) slowness() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slow < slowWrites {
		return 0
	}
	return d.last
}

// due reports whether the leadership should be given away now, and takes note of that.
func (d *disk) due(now time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.slow < slowWrites || !d.handed.IsZero() && now.Sub(d.handed) < handOverRest {
		return false
	}
	d.handed = now
	return true
}

// watch is a leader's task: it gives the leadership away when the disk is slow.
func (d *disk) watch(ctx context.Context, s *Store) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		if !d.due(time.Now()) {
			continue
		}
		s.logger.Warn("the disk is slow, handing the leadership over", "dur", d.slowness())
		if err := s.TransferLeadership(); err != nil {
			s.logger.Warn("cannot hand over the leadership", "err", err)
		}
	}
}
