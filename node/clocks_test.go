package node

import (
	"testing"
	"time"

	"meshnode/node/api"
)

func TestClockWarnings(t *testing.T) {
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	const old = 0 // a release that does not tell
	for name, c := range map[string]struct {
		ahead map[string]time.Duration
		want  string
	}{
		"in order":     {map[string]time.Duration{"a": 1, "b": time.Second, "c": -900 * time.Millisecond}, ""},
		"one":          {map[string]time.Duration{"a": time.Hour}, ""},
		"behind":       {map[string]time.Duration{"a": 1, "b": -10 * 365 * 24 * time.Hour, "c": 300 * time.Millisecond}, "the clock of b is 3650 days behind the others'"},
		"ahead":        {map[string]time.Duration{"a": 1, "b": 1, "c": time.Hour}, "the clock of c is 1h0m0s ahead of the others'"},
		"two":          {map[string]time.Duration{"a": 1, "b": 90 * time.Second}, "the clocks of a, b are up to 1m30s apart"},
		"none alike":   {map[string]time.Duration{"a": 1, "b": time.Hour, "c": 3 * time.Hour}, "the clocks of a, b, c are up to 3h0m0s apart"},
		"older":        {map[string]time.Duration{"a": 1, "b": old, "c": time.Hour}, "the clocks of a, c are up to 1h0m0s apart"},
		"four, one is": {map[string]time.Duration{"a": 1, "b": 1, "c": -time.Minute, "d": 1}, "the clock of c is 1m0s behind the others'"},
	} {
		all := make(map[string]api.LocalStatus)
		for node, d := range c.ahead {
			l := api.LocalStatus{}
			if d != old {
				l.Time = now.Add(d)
			}
			all[node] = l
		}
		got := ""
		for i, w := range clockWarnings(all) {
			if i > 0 {
				got += "; "
			}
			got += w.What
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestAtOnce(t *testing.T) {
	now := time.Now()
	all := map[string]api.LocalStatus{"a": {Time: now}, "b": {Time: now.Add(time.Hour)}, "c": {}}
	atOnce(all, map[string]time.Time{"a": now.Add(-time.Minute), "b": now, "c": now})
	if d := all["a"].Time.Sub(now); d < time.Minute {
		t.Errorf("what was said a minute ago has aged by %v", d)
	}
	if !all["c"].Time.IsZero() {
		t.Error("a time came from nowhere")
	}
}
