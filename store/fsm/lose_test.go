package fsm

import (
	"fmt"
	"slices"
	"testing"

	"meshnode/store/spec"
)

func TestLose(t *testing.T) {
	m := New(nil)
	apply(t, m, 1, Command{Found: &Found{ClusterID: "c1"}})
	hash := m.State().Hash()
	for i, lost := range [][]string{{"h1-1", "h3-3"}, {"h3-3"}, {"h4-4", "h4-4"}} {
		if r := apply(t, m, uint64(2+i), Command{Lose: &Lose{Servers: lost}}); r.Err != nil {
			t.Fatal(r.Err)
		}
	}
	c := m.State()
	if !slices.Equal(c.Lost, []string{"h1-1", "h3-3", "h4-4"}) || !c.GaveUp("h3-3") || c.GaveUp("h2-2") || c.Hash() == hash {
		t.Errorf("%+v", c)
	}
	b, err := EncodeState(c)
	if err != nil || b[1] != version {
		t.Fatalf("version %d, %v", b[1], err)
	}
	if again, err := DecodeState(b); err != nil || again.Hash() != c.Hash() {
		t.Errorf("%+v, %v", again, err)
	}
	before := slices.Clone(c.Lost)
	many := make([]string, spec.MaxLost-1)
	for i := range many {
		many[i] = fmt.Sprint("x-", i)
	}
	apply(t, m, 9, Command{Lose: &Lose{Servers: many}})
	if after := m.State(); len(after.Lost) != spec.MaxLost || after.GaveUp("h1-1") || !after.GaveUp("h4-4") || !after.GaveUp("x-0") {
		t.Errorf("%d are remembered: %v", len(after.Lost), after.Lost[:3])
	}
	if !slices.Equal(c.Lost, before) {
		t.Error("a published state was changed")
	}
}
