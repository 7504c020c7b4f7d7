package store

import (
	"context"
	"sync"
	"sync/atomic"

	"meshnode/store/spec"
)

// feed hands the latest configuration to readers and watchers. Its index never falls.
type feed struct {
	current atomic.Pointer[spec.Cluster]
	meter   meter

	mu       sync.Mutex
	watchers map[*watcher]struct{}
	closed   bool
}

// watcher holds at most one value nobody has taken yet: the latest.
type watcher struct {
	ch   chan *spec.Cluster
	stop func() bool
}

func newFeed(m meter) *feed {
	f := &feed{meter: m, watchers: make(map[*watcher]struct{})}
	f.current.Store(&spec.Cluster{Apps: map[string]spec.App{}})
	return f
}

// publish makes c the latest, unless what readers have already seen is newer: at a start the log is applied again from
// the last snapshot, while the copy of the configuration may hold its end already.
func (f *feed) publish(c *spec.Cluster) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || c.Index < f.current.Load().Index {
		return
	}
	f.current.Store(c)
	f.meter.gauge(metricIndex, float32(c.Index))
	for w := range f.watchers {
		w.offer(c)
	}
}

// offer is only called under the feed's lock, so the sender is the only one and the second send finds room.
func (w *watcher) offer(c *spec.Cluster) {
	select {
	case <-w.ch:
	default:
	}
	w.ch <- c
}

// watch returns a channel that has the current value and then always the latest. It is closed when ctx or the feed ends.
func (f *feed) watch(ctx context.Context) <-chan *spec.Cluster {
	w := &watcher{ch: make(chan *spec.Cluster, 1)}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.offer(f.current.Load())
	if f.closed {
		close(w.ch)
		return w.ch
	}
	f.watchers[w] = struct{}{}
	w.stop = context.AfterFunc(ctx, func() { f.drop(w) })
	return w.ch
}

func (f *feed) drop(w *watcher) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.watchers[w]; ok {
		delete(f.watchers, w)
		close(w.ch)
	}
}

// close ends every watch. A value that was not taken yet can still be.
func (f *feed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for w := range f.watchers {
		w.stop()
		delete(f.watchers, w)
		close(w.ch)
	}
}
