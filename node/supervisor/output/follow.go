package output

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Streams of a Line.
const (
	StreamOut = "out"
	StreamErr = "err"
)

// Bounds of what waits for one slow follower.
const (
	followLines = 8192
	followBytes = 1 << 20
)

// Line is one line of a worker's output, or a gap in a followed log.
type Line struct {
	Time    time.Time
	App     string
	Worker  string // Worker is the slot's number; "" where the app's workers share a file.
	Stream  string // Stream is StreamOut or StreamErr.
	Text    string
	Dropped uint64 // Dropped is set in place of all but Time: so many lines are missing here (count).
	Now     bool   // Now is set in place of all but Time: where a query follows, the past ends here.
}

// hub passes new lines to those who follow a log.
type hub struct {
	mu        sync.Mutex
	followers atomic.Pointer[[]*Follower] // never changed in place
	missed    atomic.Uint64
}

// Follower receives lines from the moment it was made. It never holds up a worker: lines that it has no room for are counted.
type Follower struct {
	hub   *hub
	query Query
	wake  chan struct{}

	mu      sync.Mutex
	since   int64 // stamps up to this are of the past
	lines   []Line
	bytes   int
	dropped uint64
}

// follow returns a follower; everything stamped up to the time it returns is not the follower's.
func (h *hub) follow(q Query, stamp func() int64) (*Follower, int64) {
	f := &Follower{hub: h, query: q, wake: make(chan struct{}, 1)}
	f.mu.Lock() // a gulp that is stamped later waits to be told what is of the past
	defer f.mu.Unlock()
	h.change(func(all []*Follower) []*Follower { return append(all, f) })
	f.since = stamp()
	return f, f.since
}

func (h *hub) change(do func([]*Follower) []*Follower) {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []*Follower
	if p := h.followers.Load(); p != nil {
		all = slices.Clone(*p)
	}
	all = do(all)
	h.followers.Store(&all)
}

// wanting are the followers of a gulp.
func (h *hub) wanting(app, worker, stream string, stamp int64) []*Follower {
	p := h.followers.Load()
	if p == nil || len(*p) == 0 {
		return nil
	}
	var out []*Follower
	for _, f := range *p {
		if f.query.wants(app, worker, stream) && f.follows(stamp) {
			out = append(out, f)
		}
	}
	return out
}

func (f *Follower) follows(stamp int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return stamp > f.since
}

func (f *Follower) add(at time.Time, s *sink, line []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// After a gap all is dropped until the follower has seen it: what it sees is in order.
	if f.dropped > 0 || len(f.lines) >= followLines || f.bytes+len(line) > followBytes {
		f.dropped++
		f.hub.missed.Add(1)
		return
	}
	f.lines = append(f.lines, Line{Time: at, App: s.app, Worker: s.worker, Stream: s.stream, Text: string(line)})
	f.bytes += len(line)
}

// Next waits for lines. The last of them may be a gap.
func (f *Follower) Next(ctx context.Context) ([]Line, error) {
	for {
		if lines := f.grab(); len(lines) > 0 {
			return lines, nil
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (f *Follower) grab() []Line {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := f.lines
	if f.dropped > 0 {
		lines = append(lines, Line{Time: lines[len(lines)-1].Time, Dropped: f.dropped})
	}
	f.lines, f.bytes, f.dropped = nil, 0, 0
	return lines
}

// Close ends the following.
func (f *Follower) Close() {
	f.hub.change(func(all []*Follower) []*Follower {
		return slices.DeleteFunc(all, func(g *Follower) bool { return g == f })
	})
}
