package node

import (
	"container/heap"
	"time"

	"meshnode/node/api"
)

// Bounds of what is held back to be put into order.
const (
	holdTime  = 200 * time.Millisecond
	holdLines = 4096
)

// heldBack puts lines of several nodes into time order: each is held for a moment after it came. One that comes later than that comes late.
type heldBack struct{ lines byTime }

type heldLine struct {
	api.LogLine
	came time.Time
	n    int // the order in which they came
}

func (h *heldBack) push(l api.LogLine, now time.Time) {
	h.lines.n++
	heap.Push(&h.lines, heldLine{LogLine: l, came: now, n: h.lines.n})
}

func (h *heldBack) room() bool { return len(h.lines.held) <= holdLines }

// due takes out the lines that have waited for hold, and those before them in time, and the oldest of too many.
func (h *heldBack) due(now time.Time, hold time.Duration) []api.LogLine {
	ripe := 0
	for _, l := range h.lines.held {
		if now.Sub(l.came) >= hold {
			ripe++
		}
	}
	var out []api.LogLine
	for ripe > 0 || !h.room() {
		l := heap.Pop(&h.lines).(heldLine)
		if now.Sub(l.came) >= hold {
			ripe--
		}
		out = append(out, l.LogLine)
	}
	return out
}

// byTime is a heap of lines.
type byTime struct {
	held []heldLine
	n    int
}

func (b *byTime) Len() int { return len(b.held) }
func (b *byTime) Less(i, j int) bool {
	x, y := b.held[i], b.held[j]
	return x.Time.Before(y.Time) || x.Time.Equal(y.Time) && x.n < y.n
}
func (b *byTime) Swap(i, j int) { b.held[i], b.held[j] = b.held[j], b.held[i] }
func (b *byTime) Push(v any)    { b.held = append(b.held, v.(heldLine)) }

func (b *byTime) Pop() any {
	last := len(b.held) - 1
	v := b.held[last]
	b.held[last] = heldLine{}
	b.held = b.held[:last]
	return v
}
