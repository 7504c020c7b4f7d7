package admit

import (
	"maps"
	"net/netip"
	"sync"
	"time"
)

// Bounds on guesses: so many wrong ones within triesWindow, and then none at all for triesPause.
const (
	maxTries    = 5
	triesWindow = time.Minute
	triesPause  = time.Minute
)

// Tries bounds how often a wrong code or token may be tried. The zero value is ready.
type Tries struct {
	mu    sync.Mutex
	wrong []time.Time // the latest, at most maxTries
	until time.Time   // none before
}

// Allowed reports whether another try may be made at now.
func (t *Tries) Allowed(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !now.Before(t.until)
}

// Wrong counts a try that was wrong.
func (t *Tries) Wrong(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.wrong = append(t.wrong, now)
	if len(t.wrong) < maxTries {
		return
	}
	if now.Sub(t.wrong[len(t.wrong)-maxTries]) < triesWindow {
		t.until, t.wrong = now.Add(triesPause), nil
		return
	}
	t.wrong = t.wrong[1:]
}

// idle reports whether nothing that was counted matters any more.
func (t *Tries) idle(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !now.Before(t.until) && (len(t.wrong) == 0 || now.Sub(t.wrong[len(t.wrong)-1]) >= triesWindow)
}

// maxHosts bounds the table of TriesBy.
const maxHosts = 1024

// TriesBy is Tries for each host. While its table is full a host that is not in it may not try at all. The zero value is ready.
type TriesBy struct {
	mu     sync.Mutex
	byHost map[netip.Addr]*Tries
}

// Allowed reports whether a host may try at now.
func (t *TriesBy) Allowed(host netip.Addr, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if h := t.byHost[host]; h != nil {
		return h.Allowed(now)
	}
	return t.room(now)
}

// Wrong counts a try of a host that was wrong.
func (t *TriesBy) Wrong(host netip.Addr, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.byHost[host]
	if h == nil {
		if !t.room(now) {
			return
		}
		if t.byHost == nil {
			t.byHost = make(map[netip.Addr]*Tries)
		}
		h = &Tries{}
		t.byHost[host] = h
	}
	h.Wrong(now)
}

// room makes room for one more host if there is any to be made.
func (t *TriesBy) room(now time.Time) bool {
	if len(t.byHost) >= maxHosts {
		maps.DeleteFunc(t.byHost, func(_ netip.Addr, h *Tries) bool { return h.idle(now) })
	}
	return len(t.byHost) < maxHosts
}
