package proxy

import (
	"errors"
	"sync"
	"time"
)

// dialsMost is how many streams are opened to one peer at the same time for clients that wait for them (count): half of what a peer lets one host have
// of handshakes under way. All of a burst at once would be turned away there, or come too late, and the peer count as failed.
const dialsMost = 32

// errCrowd is why a connection was not passed on to a peer: too many others were on their way there. The peer is not to blame.
var errCrowd = errors.New("too many connections are on their way to the peer")

// dials bounds the streams that are being opened, for each peer.
type dials struct {
	mu sync.Mutex
	by map[string]*doorway
}

// doorway is one peer's. It is forgotten when nobody is in it.
type doorway struct {
	places chan struct{}
	in     int // who has a place or waits for one (count); guarded by the lock of dials
}

// enter waits for a place until then; false means that there was none. Each place is to be given back by leave.
func (d *dials) enter(node string, until time.Time, closing <-chan struct{}) bool {
	d.mu.Lock()
	if d.by == nil {
		d.by = make(map[string]*doorway)
	}
	w := d.by[node]
	if w == nil {
		w = &doorway{places: make(chan struct{}, dialsMost)}
		d.by[node] = w
	}
	w.in++
	d.mu.Unlock()
	select {
	case w.places <- struct{}{}:
		return true
	default:
	}
	t := time.NewTimer(time.Until(until))
	defer t.Stop()
	select {
	case w.places <- struct{}{}:
		return true
	case <-t.C:
	case <-closing:
	}
	d.forget(node, w)
	return false
}

func (d *dials) leave(node string) {
	d.mu.Lock()
	w := d.by[node]
	d.mu.Unlock()
	<-w.places
	d.forget(node, w)
}

func (d *dials) forget(node string, w *doorway) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w.in--; w.in == 0 {
		delete(d.by, node)
	}
}
