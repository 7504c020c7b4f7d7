package admit

import (
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
