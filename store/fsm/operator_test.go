package fsm

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"meshnode/store/spec"
)

func operatorOf(name string, created, expires int64) Command {
	return Command{Operator: &Operator{Name: name, Operator: &spec.Operator{Role: spec.OperatorViewer, Serial: name + "-1", Created: created, Expires: expires}}}
}

func TestOperators(t *testing.T) {
	m := New(nil)
	index := uint64(0)
	apply := func(c Command) error {
		t.Helper()
		c, err := c.Prepare()
		if err != nil {
			t.Fatal(err)
		}
		b, err := Encode(c)
		if err != nil || b[1] != version {
			t.Fatalf("version %d, %v", b[1], err)
		}
		index++
		return m.Apply(index, b).Err
	}
	names := func() []string { return slices.Sorted(maps.Keys(m.State().Operators)) }
	for _, c := range []Command{operatorOf("alice", 10, 20), operatorOf("bob", 10, 100)} {
		if err := apply(c); err != nil {
			t.Fatal(err)
		}
	}
	before := m.State()
	if err := apply(operatorOf("carol", 20, 30)); err != nil { // alice's time is over
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"bob", "carol"}, names()); d != "" {
		t.Errorf("operators (-want +got):\n%s", d)
	}
	if len(before.Operators) != 2 || before.Hash() == m.State().Hash() {
		t.Error("a state that was published has changed, or its hash does not tell")
	}
	for _, w := range []struct {
		name string
		want error
	}{{"bob", nil}, {"bob", ErrNotFound}, {"carol", nil}} {
		if err := apply(Command{Operator: &Operator{Name: w.name}}); !errors.Is(err, w.want) {
			t.Errorf("revoke %s: %v", w.name, err)
		}
	}
	if m.State().Operators != nil {
		t.Errorf("left: %v", names())
	}
	for i := range spec.MaxOperators {
		if err := apply(operatorOf(fmt.Sprint("op", i), 10, 20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := apply(operatorOf("more", 10, 20)); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
	if err := apply(operatorOf("op7", 11, 20)); err != nil {
		t.Errorf("another of the same name: %v", err)
	}
	b, err := EncodeState(m.State())
	if err != nil || b[1] != version {
		t.Fatalf("version %d, %v", b[1], err)
	}
	back, err := DecodeState(b)
	if d := cmp.Diff(m.State(), back); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
}

func TestOperatorsThatCannotBe(t *testing.T) {
	for name, change := range map[string]func(*Operator){
		"no name":       func(o *Operator) { o.Name = "" },
		"a path":        func(o *Operator) { o.Name = "../x" },
		"another role":  func(o *Operator) { o.Operator.Role = "root" },
		"no serial":     func(o *Operator) { o.Operator.Serial = "" },
		"over at once":  func(o *Operator) { o.Operator.Expires = o.Operator.Created },
		"for ever":      func(o *Operator) { o.Operator.Expires = o.Operator.Created + spec.MaxOperatorSeconds + 1 },
		"before it was": func(o *Operator) { o.Operator.Expires = 1 },
	} {
		c := operatorOf("alice", 10, 20)
		change(c.Operator)
		if _, err := c.Prepare(); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestSecretVariablesAreSealed: no plain value gets into the log, and a frame with a sealed one says which release can read it.
func TestSecretVariablesAreSealed(t *testing.T) {
	c := putOf("web", 0)
	c.Put.App.Process.SecretEnv = map[string]string{"TOKEN": "s3cret"}
	if _, err := c.Prepare(); !errors.Is(err, ErrInvalid) {
		t.Errorf("a plain value: %v", err)
	}
	c.Put.App.Process.SecretEnv["TOKEN"] = spec.SealedPrefix + "v1:x"
	c, err := c.Prepare()
	if err != nil {
		t.Fatal(err)
	}
	b, err := Encode(c)
	if err != nil || b[1] != version {
		t.Errorf("version %d, %v", b[1], err)
	}
	m := New(nil)
	if r := m.Apply(1, b); r.Err != nil || r.App.Process.SecretEnv["TOKEN"] != spec.SealedPrefix+"v1:x" {
		t.Errorf("%+v", r)
	}
	if b, err := EncodeState(m.State()); err != nil || b[1] != version {
		t.Errorf("a state: version %d, %v", b[1], err)
	}
}
