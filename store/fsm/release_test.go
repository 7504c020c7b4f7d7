package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"meshnode/store/spec"
)

// ship proposes a new release of web, as a proposer does that sees workers serve.
func ship(t *testing.T, m *Machine, change func(*Put)) Result {
	t.Helper()
	p := &Put{App: app("web"), PrevModified: Any, NewRelease: true, Serves: true, Time: 1000}
	if old, ok := m.State().Apps["web"]; ok {
		p.App = old.Clone()
		p.App.Standing = spec.Standing{}
	}
	if change != nil {
		change(p)
	}
	return apply(t, m, m.State().Index+1, Command{Put: p})
}

func step(t *testing.T, m *Machine, c Command) error {
	t.Helper()
	return apply(t, m, m.State().Index+1, c).Err
}

func closeRollout(t *testing.T, m *Machine) {
	t.Helper()
	if err := step(t, m, Command{Advance: &Advance{App: "web", Release: m.State().Apps["web"].Release, Done: true}}); err != nil {
		t.Fatal(err)
	}
}

func releases(m *Machine) []uint64 {
	var out []uint64
	for _, p := range m.State().History["web"] {
		out = append(out, p.App.Release)
	}
	return out
}

func env(v string) func(*Put) {
	return func(p *Put) { p.App.Env = map[string]string{"V": v} }
}

func TestWhenARolloutBegins(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(*Put)
		change func(*Put)
		stable uint64
		kept   []uint64
	}{
		{"it serves", nil, nil, 1, []uint64{1}},
		{"nobody serves", nil, func(p *Put) { p.Serves = false }, 0, []uint64{1}},
		{"it was stopped", func(p *Put) { p.App.Stopped = true }, func(p *Put) { p.App.Stopped = false }, 0, []uint64{1}},
		{"it is to be stopped", nil, func(p *Put) { p.App.Stopped = true }, 0, []uint64{1}},
		{"scaled", nil, func(p *Put) { p.App.Workers, p.NewRelease = 4, false }, 0, nil},
		{"proposed by version 1", nil, func(p *Put) { p.Time = 0 }, 0, nil},
	} {
		m := New(nil)
		if r := ship(t, m, tt.before); r.App.Rollout.Open() || r.App.Release != 1 || r.App.Since != 1000 {
			t.Errorf("%s: first release: %+v", tt.name, r.App.Standing)
		}
		r := ship(t, m, tt.change)
		if r.Err != nil || r.App.Rollout.Stable != tt.stable || !slices.Equal(releases(m), tt.kept) {
			t.Errorf("%s: %v, %+v, kept %v", tt.name, r.Err, r.App.Rollout, releases(m))
		}
	}
}

func TestTurns(t *testing.T) {
	m := New(nil)
	ship(t, m, nil)
	ship(t, m, env("2"))
	runs := func(node string) string {
		app, ok := m.State().For(m.State().Apps["web"], node)
		return fmt.Sprintf("%d %t %s", app.Release, ok, app.Env["V"])
	}
	if runs("h1") != "1 true " || runs("h2") != "1 true " {
		t.Errorf("before the first turn: %s, %s", runs("h1"), runs("h2"))
	}
	for range 2 { // twice is once
		if err := step(t, m, Command{Advance: &Advance{App: "web", Release: 2, Nodes: []string{"h2"}}}); err != nil {
			t.Fatal(err)
		}
	}
	if runs("h1") != "1 true " || runs("h2") != "2 true 2" || len(m.State().Apps["web"].Rollout.Nodes) != 1 {
		t.Errorf("after the first turn: %s, %s", runs("h1"), runs("h2"))
	}
	if r := ship(t, m, env("3")); !errors.Is(r.Err, ErrRollout) {
		t.Errorf("a release in the middle of another: %v", r.Err)
	}
	if r := ship(t, m, func(p *Put) { p.App.Workers, p.NewRelease = 7, false }); r.Err != nil || !r.App.Rollout.Open() {
		t.Errorf("scale in the middle: %v", r.Err)
	}
	if app, _ := m.State().For(m.State().Apps["web"], "h1"); app.Workers != 7 || app.Release != 1 {
		t.Errorf("the others are not scaled: %+v", app)
	}
	closeRollout(t, m)
	if runs("h9") != "2 true 2" {
		t.Errorf("at the end: %s", runs("h9"))
	}
	if err := step(t, m, Command{Advance: &Advance{App: "web", Release: 2, Done: true}}); !errors.Is(err, ErrConflict) {
		t.Errorf("a turn without a rollout: %v", err)
	}
	if err := step(t, m, Command{Advance: &Advance{App: "none", Release: 2, Done: true}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a turn without an app: %v", err)
	}
}

func TestTurnsAreBounded(t *testing.T) {
	m := New(nil)
	ship(t, m, nil)
	ship(t, m, nil)
	many := make([]string, spec.MaxTurns)
	for i := range many {
		many[i] = fmt.Sprint("n", i)
	}
	if err := step(t, m, Command{Advance: &Advance{App: "web", Release: 2, Nodes: many}}); err != nil {
		t.Fatal(err)
	}
	if err := step(t, m, Command{Advance: &Advance{App: "web", Release: 2, Nodes: []string{"one more"}}}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one turn too many: %v", err)
	}
}

func TestRefusedReleaseGoesBack(t *testing.T) {
	m := New(nil)
	ship(t, m, env("1"))
	ship(t, m, func(p *Put) { env("2")(p); p.App.Order = spec.OrderRestart })
	closeRollout(t, m)
	ship(t, m, func(p *Put) { env("3")(p); p.App.Workers = 5 })
	if err := step(t, m, Command{Refuse: &Refuse{App: "web", Release: 2, Why: "w"}}); !errors.Is(err, ErrConflict) {
		t.Errorf("refusing another release: %v", err)
	}
	if err := step(t, m, Command{Refuse: &Refuse{App: "web", Release: 3, Why: "exit 1", Node: "h2", Tail: []string{"boom"}}}); err != nil {
		t.Fatal(err)
	}
	got := m.State().Apps["web"]
	if got.Release != 2 || got.Env["V"] != "2" || got.Workers != 5 || got.Rollout.Open() || got.Order != spec.OrderStartFirst || got.Newest != 3 || got.Modified != m.State().Index {
		t.Errorf("after the refusal: %+v", got)
	}
	past, ok := m.State().Past("web", 3)
	if !ok || past.Refused != "exit 1" || past.Node != "h2" || past.Tail[0] != "boom" || past.App.Env["V"] != "3" || past.App.Rollout.Open() {
		t.Errorf("what is kept of it: %+v", past)
	}
	if !slices.Equal(releases(m), []uint64{1, 3}) {
		t.Errorf("kept: %v", releases(m))
	}
	if served, _ := m.State().Served("web"); served.App.Release != 1 {
		t.Errorf("the last that served before is %d", served.App.Release)
	}
	if r := ship(t, m, env("4")); r.App.Release != 4 || r.App.Rollout.Stable != 2 {
		t.Errorf("the number of a refused release was used again: %+v", r.App.Standing)
	}
}

func TestStopAndDeleteEndARollout(t *testing.T) {
	m := New(nil)
	ship(t, m, nil)
	ship(t, m, nil)
	if r := ship(t, m, func(p *Put) { p.App.Stopped, p.NewRelease = true, false }); r.Err != nil || r.App.Rollout.Open() || r.App.Release != 2 {
		t.Errorf("stop: %v %+v", r.Err, r.App)
	}
	if err := step(t, m, Command{Delete: &Delete{Name: "web"}}); err != nil || m.State().History["web"] != nil {
		t.Errorf("delete: %v, kept %v", err, releases(m))
	}
}

func TestHistoryIsBounded(t *testing.T) {
	m := New(nil)
	ship(t, m, nil)
	for range 30 {
		ship(t, m, nil)
		if r := m.State().Apps["web"]; r.Release%3 == 0 {
			if err := step(t, m, Command{Refuse: &Refuse{App: "web", Release: r.Release, Why: "w"}}); err != nil {
				t.Fatal(err)
			}
		} else {
			closeRollout(t, m)
		}
	}
	list := m.State().History["web"]
	refused := count(list, func(p spec.Past) bool { return p.Refused != "" })
	if len(list) != spec.MaxHistory || refused > spec.MaxRefused || !slices.IsSorted(releases(m)) {
		t.Errorf("kept %v, %d of them refused", releases(m), refused)
	}
	// Large ones: the one that nodes still run is never dropped.
	big := func(p *Put) { p.App.Env = map[string]string{"A": strings.Repeat("x", 100<<10)} }
	for range 4 {
		if r := ship(t, m, big); r.Err != nil {
			t.Fatal(r.Err)
		}
		app := m.State().Apps["web"]
		if _, ok := m.State().For(app, "h1"); !ok || bytesOf(m.State().History["web"]) > spec.MaxHistoryBytes {
			t.Errorf("release %d, stable %d, kept %v: %d bytes", app.Release, app.Rollout.Stable, releases(m), bytesOf(m.State().History["web"]))
		}
		closeRollout(t, m)
	}
	b, err := EncodeState(m.State())
	if err != nil {
		t.Fatal(err)
	}
	if err := New(nil).Restore(bytes.NewReader(b)); err != nil {
		t.Errorf("what was kept cannot be read: %v", err)
	}
}

// TestVersionOneLog holds that a log of version 1 gives what it gave: no history, no rollout.
func TestVersionOneLog(t *testing.T) {
	m := New(nil)
	body := `{"app":{"name":"web","command":["x"],"dir":"/","workers":0,"mode":"auto","timeouts":{"listen_seconds":30,"drain_seconds":30,"kill_seconds":10},` +
		`"order":"start-first","release":0,"created":0,"modified":0},"prev_modified":18446744073709551615,"new_release":true}`
	for i := range uint64(3) {
		if r := m.Apply(i+1, frame(kindPut, 1, body)); r.Err != nil || r.App.Release != i+1 {
			t.Fatalf("%+v", r)
		}
	}
	if s := m.State(); s.History != nil || s.Apps["web"].Rollout.Open() {
		t.Errorf("%+v", s)
	}
	state := `{"id":"c","index":3,"apps":{"web":{"name":"web","command":["x"],"dir":"/","workers":0,"mode":"auto","timeouts":{"listen_seconds":30,` +
		`"drain_seconds":30,"kill_seconds":10},"order":"start-first","release":7,"created":1,"modified":3}}}`
	if err := m.Restore(bytes.NewReader(frame(kindState, 1, state))); err != nil {
		t.Fatal(err)
	}
	if r := ship(t, m, nil); r.App.Release != 8 || r.App.Rollout.Stable != 7 || !slices.Equal(releases(m), []uint64{7}) {
		t.Errorf("the first release after the upgrade: %+v, kept %v", r.App.Standing, releases(m))
	}
}
