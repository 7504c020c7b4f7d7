package fsm

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/store/spec"
)

func app(name string) spec.App {
	return spec.App{Name: name, Command: []string{"node", "server.js"}, Dir: "/srv"}.WithDefaults()
}

func putOf(name string, prev uint64) Command {
	return Command{Put: &Put{App: app(name), PrevModified: prev}}
}

// apply encodes c and applies it at index.
func apply(t *testing.T, m *Machine, index uint64, c Command) Result {
	t.Helper()
	b, err := Encode(c)
	if err != nil {
		t.Fatal(err)
	}
	return m.Apply(index, b)
}

func TestPutAndRelease(t *testing.T) {
	m := New(nil)
	with := func(change func(*Put)) Command {
		p := &Put{App: app("web"), PrevModified: Any}
		change(p)
		return Command{Put: p}
	}
	for i, tt := range []struct {
		what    string
		change  func(*Put)
		release uint64
	}{
		{"first", func(p *Put) { p.PrevModified = 0; p.App.Release, p.App.Created = 77, 77 }, 1},
		{"same again", func(p *Put) {}, 1},
		{"workers", func(p *Put) { p.App.Workers = 4 }, 1},
		{"stopped", func(p *Put) { p.App.Stopped = true }, 1},
		{"order", func(p *Put) { p.App.Order = spec.OrderStopFirst }, 1},
		{"learned is ignored", func(p *Put) { p.App.Learned = []string{":1"} }, 1},
		{"reload", func(p *Put) { p.NewRelease = true }, 2},
		{"env", func(p *Put) { p.App.Env = map[string]string{"A": "1"} }, 3},
		{"env and reload", func(p *Put) { p.NewRelease = true }, 4},
		{"exact version", func(p *Put) { p.PrevModified = 108; p.App.Dir = "/new" }, 5},
	} {
		index := uint64(100 + i)
		result := apply(t, m, index, with(tt.change))
		if result.Err != nil {
			t.Fatalf("%s: %v", tt.what, result.Err)
		}
		got := result.App
		if got.Release != tt.release || got.Modified != index || got.Created != 100 || got.Learned != nil || result.Index != index {
			t.Errorf("%s: release %d, modified %d, created %d, learned %v", tt.what, got.Release, got.Modified, got.Created, got.Learned)
		}
		if diff := cmp.Diff(m.State().Apps["web"], *got); diff != "" {
			t.Errorf("%s: the answer is not what is stored: %s", tt.what, diff)
		}
	}
}

func TestRefusals(t *testing.T) {
	m := New(nil)
	apply(t, m, 1, Command{Found: &Found{"c1"}})
	apply(t, m, 2, putOf("web", 0))
	for i := range spec.MaxApps - 1 {
		apply(t, m, 3, putOf(fmt.Sprintf("app-%d", i), 0))
	}
	full := make([]string, spec.MaxListen)
	for i := range full {
		full[i] = fmt.Sprintf(":%d", 1000+i)
	}
	apply(t, m, 4, Command{Learn: &Learn{"app-1", full}})
	hash := m.State().Hash()
	for i, tt := range []struct {
		c    Command
		want error
	}{
		{Command{Found: &Found{"c2"}}, ErrConflict},
		{putOf("web", 0), ErrExists},
		{putOf("web", 1), ErrConflict},
		{putOf("new", 7), ErrNotFound},
		{putOf("new", 0), ErrTooMany},
		{putOf("new", Any), ErrTooMany},
		{Command{Delete: &Delete{"nope", Any}}, ErrNotFound},
		{Command{Delete: &Delete{"web", 1}}, ErrConflict},
		{Command{Learn: &Learn{"nope", []string{":1"}}}, ErrNotFound},
		{Command{Learn: &Learn{"app-1", []string{":1"}}}, ErrTooMany},
	} {
		result := apply(t, m, uint64(10+i), tt.c)
		if !errors.Is(result.Err, tt.want) || result.App != nil {
			t.Errorf("%d: got %v, want %v", i, result.Err, tt.want)
		}
		if m.State().Index != uint64(10+i) || m.State().Hash() != hash {
			t.Errorf("%d: a refusal changed the state, or not the index (%d)", i, m.State().Index)
		}
	}
	if r := apply(t, m, 50, Command{Found: &Found{"c1"}}); r.Err != nil {
		t.Errorf("founding twice: %v", r.Err)
	}
}

func TestDelete(t *testing.T) {
	for prev, want := range map[uint64]error{0: nil, Any: nil, 5: nil, 4: ErrConflict} {
		m := New(nil)
		apply(t, m, 5, putOf("web", 0))
		if r := apply(t, m, 6, Command{Delete: &Delete{"web", prev}}); !errors.Is(r.Err, want) || want == nil && r.App.Name != "web" {
			t.Errorf("prev %d: %v", prev, r.Err)
		}
	}
}

func TestLearn(t *testing.T) {
	m := New(nil)
	apply(t, m, 1, putOf("web", 0))
	apply(t, m, 2, Command{Learn: &Learn{"web", []string{":3001", ":3000", ":3001"}}})
	got := m.State().Apps["web"]
	if !slices.Equal(got.Learned, []string{":3000", ":3001"}) || got.Release != 1 || got.Modified != 2 {
		t.Errorf("after learning: %+v", got)
	}
	apply(t, m, 3, Command{Learn: &Learn{"web", []string{":3000"}}})
	if m.State().Apps["web"].Modified != 2 {
		t.Error("learning nothing new counts as a change")
	}
	changed := putOf("web", Any)
	changed.Put.App.Dir = "/new"
	if r := apply(t, m, 4, changed); !slices.Equal(r.App.Learned, []string{":3000", ":3001"}) || r.App.Release != 2 {
		t.Errorf("a put lost what was learned: %+v", r.App)
	}
}

func TestPublishedStatesNeverChange(t *testing.T) {
	var states []*spec.Cluster
	var hashes []string
	m := New(func(c *spec.Cluster) { states, hashes = append(states, c), append(hashes, c.Hash()) })
	for i, b := range randomLog(t, 1, 300) {
		m.Apply(uint64(i+1), b)
	}
	if len(states) != 300 {
		t.Fatalf("%d states published", len(states))
	}
	for i, c := range states {
		if c.Hash() != hashes[i] || c.Index != uint64(i+1) {
			t.Fatalf("state %d changed after it was published", i)
		}
	}
}

// TestReplay holds the promise that consensus rests on: the same log gives the same bytes, and a snapshot followed by
// the rest of the log gives them too.
func TestReplay(t *testing.T) {
	for seed := range uint64(20) {
		log := randomLog(t, seed, 200)
		full := New(nil)
		for i, b := range log {
			full.Apply(uint64(i+1), b)
		}
		want, err := EncodeState(full.State())
		if err != nil {
			t.Fatal(err)
		}
		for _, cut := range []int{0, 1, 50, 199, 200} {
			head, tail := New(nil), New(nil)
			for i, b := range log[:cut] {
				head.Apply(uint64(i+1), b)
			}
			snapshot, err := EncodeState(head.State())
			if err != nil {
				t.Fatal(err)
			}
			if err := tail.Restore(bytes.NewReader(snapshot)); err != nil {
				t.Fatal(err)
			}
			for i, b := range log[cut:] {
				tail.Apply(uint64(cut+i+1), b)
			}
			got, err := EncodeState(tail.State())
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("seed %d, snapshot at %d: another state\n got %s\nwant %s", seed, cut, got, want)
			}
		}
	}
}

// randomLog returns n commands, many of them refused, about few apps.
func randomLog(t *testing.T, seed uint64, n int) [][]byte {
	t.Helper()
	r := rand.New(rand.NewPCG(seed, 42))
	prev := func() uint64 { return []uint64{0, Any, r.Uint64N(uint64(n))}[r.IntN(3)] }
	log := make([][]byte, n)
	for i := range log {
		name := fmt.Sprintf("app-%d", r.IntN(5))
		var c Command
		switch r.IntN(12) {
		case 8, 9:
			c.Advance = &Advance{App: name, Release: r.Uint64N(6), Nodes: []string{fmt.Sprintf("h%d", r.IntN(3))}, Done: r.IntN(3) == 0}
		case 10:
			c.Refuse = &Refuse{App: name, Release: r.Uint64N(6), Why: "broken"}
		case 0:
			c.Found = &Found{"c1"}
		case 1:
			c.Delete = &Delete{name, prev()}
		case 2, 3:
			c.Learn = &Learn{name, []string{fmt.Sprintf(":%d", 1+r.IntN(30))}}
		default:
			c = putOf(name, prev())
			c.Put.App.Workers, c.Put.NewRelease = r.IntN(4), r.IntN(4) == 0
			c.Put.Serves, c.Put.Time, c.Put.App.Stopped = r.IntN(4) > 0, r.Int64N(3), r.IntN(8) == 0
			c.Put.App.Env = map[string]string{"A": fmt.Sprint(r.IntN(2)), "B": "<&>", "C": "ü"}
		}
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		log[i] = b
	}
	return log
}

func TestHalt(t *testing.T) {
	m := New(nil)
	apply(t, m, 1, putOf("web", 0))
	snapshot, err := EncodeState(m.State())
	if err != nil {
		t.Fatal(err)
	}
	b, err := Encode(putOf("other", 0))
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)-3] ^= 1
	if r := m.Apply(2, b); !errors.Is(r.Err, ErrHalted) || !errors.Is(r.Err, ErrCorrupt) {
		t.Errorf("a damaged command: %v", r.Err)
	}
	if r := apply(t, m, 3, putOf("third", 0)); !errors.Is(r.Err, ErrHalted) || m.State().Index != 1 {
		t.Errorf("after a damaged command: %v, index %d", r.Err, m.State().Index)
	}
	if err := m.Restore(bytes.NewReader(snapshot[:20])); !errors.Is(err, ErrCorrupt) || m.Fault() == nil {
		t.Errorf("restoring half a snapshot: %v", err)
	}
	if err := m.Restore(bytes.NewReader(snapshot)); err != nil || m.Fault() != nil {
		t.Errorf("restoring a good snapshot: %v, fault %v", err, m.Fault())
	}
	if r := apply(t, m, 3, putOf("third", 0)); r.Err != nil {
		t.Errorf("after the restore: %v", r.Err)
	}
}
