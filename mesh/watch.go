package mesh

import (
	"context"
	"sync"
)

// watchers are the channels given out by Watch.
type watchers struct {
	mu  sync.Mutex
	all map[chan struct{}]struct{}
}

func newWatchers() *watchers { return &watchers{all: make(map[chan struct{}]struct{})} }

// add returns a new channel, poked once already; it is forgotten when ctx ends.
func (w *watchers) add(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	ch <- struct{}{}
	w.mu.Lock()
	w.all[ch] = struct{}{}
	w.mu.Unlock()
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		delete(w.all, ch)
		w.mu.Unlock()
	})
	return ch
}

// poke tells every watcher; one that has not looked yet is told once.
func (w *watchers) poke() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for ch := range w.all {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}
