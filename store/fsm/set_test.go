package fsm

import (
	"errors"
	"testing"

	"meshnode/store/spec"
)

func TestSet(t *testing.T) {
	m := New(nil)
	hash := m.State().Hash()
	index := uint64(0)
	apply := func(values map[string]string) error {
		t.Helper()
		c, err := Command{Set: &Set{Values: values}}.Prepare()
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
	for what, bad := range map[string]map[string]string{"nothing": {}, "an unknown key": {"colour": "red"}, "a bad value": {"forward": "smoke"},
		"a time that is too short": {"idle_timeout": "1ms"}} {
		if err := apply(bad); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := apply(map[string]string{"forward": "plain", "idle_timeout": "90m"}); err != nil {
		t.Fatal(err)
	}
	c := m.State()
	if c.Setting(spec.SettingForward) != spec.ForwardPlain || c.IdleTimeout().Minutes() != 90 || c.Hash() == hash {
		t.Errorf("%+v", c)
	}
	b, err := EncodeState(c)
	if err != nil {
		t.Fatal(err)
	}
	again, err := DecodeState(b)
	if err != nil || again.Hash() != c.Hash() {
		t.Errorf("%+v, %v", again, err)
	}
	if err := apply(map[string]string{"forward": "tls", "idle_timeout": "0"}); err != nil {
		t.Fatal(err)
	}
	if c := m.State(); c.Hash() != hash || c.Settings != nil || c.Setting(spec.SettingForward) != spec.ForwardTLS || c.IdleTimeout() != 0 {
		t.Errorf("back at the defaults: %+v", c)
	}
}
