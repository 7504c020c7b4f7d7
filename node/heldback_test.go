package node

import (
	"slices"
	"testing"
	"time"

	"meshnode/node/api"
)

func TestLinesOfSeveralNodesComeInOrder(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	var h heldBack
	var got []string
	step := func(now int, lines ...string) { // a line is its time in ms, and its name
		for _, l := range lines {
			h.push(api.LogLine{Time: at.Add(time.Duration(l[0]-'0') * 10 * time.Millisecond), Text: l}, at.Add(time.Duration(now)*time.Millisecond))
		}
		for _, l := range h.due(at.Add(time.Duration(now)*time.Millisecond), holdTime) {
			got = append(got, l.Text)
		}
	}
	step(50, "3a", "4a")
	step(60, "1b", "2b", "3b")
	step(249)
	if len(got) != 0 {
		t.Errorf("too early: %v", got)
	}
	step(250)
	step(300, "0c") // late: what was held longer is told
	step(600)
	if want := []string{"1b", "2b", "3a", "3b", "4a", "0c"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for range holdLines + 10 {
		h.push(api.LogLine{Time: at}, at)
	}
	if h.room() || len(h.due(at, holdTime)) != 10 || !h.room() {
		t.Error("more lines are held than there is room for")
	}
}
