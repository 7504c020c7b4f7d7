package fsm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"meshnode/store/spec"
)

// applier prepares, encodes and applies commands to a machine.
func applier(t *testing.T, m *Machine) func(Command) error {
	index := uint64(0)
	return func(c Command) error {
		t.Helper()
		c, err := c.Prepare()
		if err != nil {
			return err
		}
		b, err := Encode(c)
		if err != nil {
			t.Fatal(err)
		}
		index++
		return m.Apply(index, b).Err
	}
}

func hashOf(i int) string { return fmt.Sprintf("%064x", i) }

func TestTokens(t *testing.T) {
	m := New(nil)
	empty := m.State().Hash()
	apply := applier(t, m)
	change := func(c Token) error { t.Helper(); return apply(Command{Token: &c}) }
	a := &spec.Token{Made: 100, Expires: 200, Uses: 2}
	for what, bad := range map[string]Token{"no hash": {Make: a, Time: 100}, "capitals": {Hash: strings.Repeat("A", 64), Make: a, Time: 100},
		"nothing": {Hash: hashOf(1), Time: 100}, "two things": {Hash: hashOf(1), Use: true, Drop: true, Time: 100}, "no time": {Hash: hashOf(1), Make: a},
		"no uses": {Hash: hashOf(1), Make: &spec.Token{Made: 1, Expires: 2}, Time: 1}, "for ever": {Hash: hashOf(1), Make: &spec.Token{Made: 1, Expires: 1 << 40, Uses: 1}, Time: 1}} {
		if err := change(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, step := range []struct {
		what string
		c    Token
		want error
	}{
		{"a use of none", Token{Hash: hashOf(1), Use: true, Time: 100}, ErrNotFound},
		{"the first", Token{Hash: hashOf(1), Make: a, Time: 100}, nil},
		{"it again", Token{Hash: hashOf(1), Make: a, Time: 100}, ErrExists},
		{"a use", Token{Hash: hashOf(1), Use: true, For: "a-1", Time: 199}, nil},
		{"one too late", Token{Hash: hashOf(1), Use: true, Time: 200}, ErrConflict},
		{"the last use", Token{Hash: hashOf(1), Use: true, Time: 150}, nil},
		{"one too many", Token{Hash: hashOf(1), Use: true, Time: 150}, ErrConflict},
		{"another", Token{Hash: hashOf(2), Make: a, Time: 200 + tokenKept - 1}, nil},
		{"the first is remembered", Token{Hash: hashOf(1), Use: true, Time: 150}, ErrConflict},
		{"a third, a day later", Token{Hash: hashOf(3), Make: &spec.Token{Made: 1, Expires: 1000, Uses: 1}, Time: 200 + tokenKept}, nil},
		{"the first is forgotten", Token{Hash: hashOf(1), Use: true, Time: 150}, ErrNotFound},
		{"drop", Token{Hash: hashOf(3), Drop: true, Time: 300}, nil},
		{"drop it again", Token{Hash: hashOf(3), Drop: true, Time: 300}, ErrNotFound},
	} {
		if err := change(step.c); !errors.Is(err, step.want) || step.want == nil && err != nil {
			t.Errorf("%s: %v, want %v", step.what, err, step.want)
		}
	}
	if m.State().Trusted["a-1"] != (spec.Trusted{Since: 199, By: spec.TrustedByToken}) {
		t.Errorf("%+v", m.State().Trusted)
	}
	if err := apply(Command{Trust: &Trust{Drop: []string{"a-1"}}}); err != nil {
		t.Fatal(err)
	}
	if m.State().Hash() != empty || m.State().Tokens != nil {
		t.Errorf("%+v is left", m.State())
	}
	for i := range spec.MaxTokens {
		if err := change(Token{Hash: hashOf(i), Make: &spec.Token{Made: 1, Expires: 1000, Uses: 1}, Time: 1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := change(Token{Hash: hashOf(1000), Make: a, Time: 1}); !errors.Is(err, ErrTooMany) {
		t.Error(err)
	}
	if err := change(Token{Hash: hashOf(7), Use: true, Time: 1}); err != nil {
		t.Fatal(err)
	}
	if err := change(Token{Hash: hashOf(1000), Make: a, Time: 1}); err != nil {
		t.Errorf("one that is used up has not made room: %v", err)
	}
	sameAfterSnapshot(t, m)
}

func sameAfterSnapshot(t *testing.T, m *Machine) {
	t.Helper()
	b, err := EncodeState(m.State())
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeState(b)
	if err != nil || again.Hash() != m.State().Hash() {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestTrust(t *testing.T) {
	m := New(nil)
	empty := m.State().Hash()
	apply := applier(t, m)
	change := func(c Trust) error { t.Helper(); return apply(Command{Trust: &c}) }
	first := map[string]spec.Trusted{"a-1": {Since: 100, By: spec.TrustedByCode}}
	for what, bad := range map[string]Trust{"nothing": {}, "no way in": {Add: map[string]spec.Trusted{"a": {Since: 1}}}, "no time": {Add: map[string]spec.Trusted{"a": {By: spec.TrustedByToken}}}} {
		if err := change(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := change(Trust{Add: first}); err != nil {
		t.Fatal(err)
	}
	if err := change(Trust{Add: map[string]spec.Trusted{"a-1": {Since: 200, By: spec.TrustedByToken}}}); err != nil || m.State().Trusted["a-1"] != first["a-1"] {
		t.Errorf("%+v, %v", m.State().Trusted, err)
	}
	sameAfterSnapshot(t, m)
	many := make(map[string]spec.Trusted)
	for i := range spec.MaxTrusted {
		many[hashOf(i)] = first["a-1"]
	}
	if err := change(Trust{Add: many}); !errors.Is(err, ErrTooMany) || len(m.State().Trusted) != 1 {
		t.Error(err)
	}
	if err := change(Trust{Drop: []string{"a-1", "b-1"}}); err != nil || m.State().Hash() != empty {
		t.Errorf("%+v, %v", m.State(), err)
	}
}
