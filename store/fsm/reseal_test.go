package fsm

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReseal(t *testing.T) {
	m := New(nil)
	apply := applier(t, m)
	put := func(secret string) {
		t.Helper()
		c := putOf("web", Any)
		c.Put.App.Process.SecretEnv = map[string]string{"TOKEN": secret, "OTHER": "sealed:other"}
		c.Put.Time = 1
		if err := apply(c); err != nil {
			t.Fatal(err)
		}
	}
	put("sealed:old")
	put("sealed:newer")
	before := m.State()
	for what, bad := range map[string]Reseal{"nothing": {App: "web"}, "no app": {Values: map[string]string{"sealed:a": "sealed:b"}},
		"a plain text": {App: "web", Values: map[string]string{"sealed:a": "b"}}, "of a plain text": {App: "web", Values: map[string]string{"a": "sealed:b"}}} {
		if err := apply(Command{Reseal: &bad}); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	values := map[string]string{"sealed:old": "sealed:1", "sealed:newer": "sealed:2", "sealed:gone": "sealed:3"}
	if err := apply(Command{Reseal: &Reseal{App: "api", Values: values}}); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if err := apply(Command{Reseal: &Reseal{App: "web", Values: values}}); err != nil {
		t.Fatal(err)
	}
	after := m.State()
	web, old := after.Apps["web"], after.History["web"][0].App
	if d := cmp.Diff(map[string]string{"TOKEN": "sealed:2", "OTHER": "sealed:other"}, web.Process.SecretEnv); d != "" {
		t.Error(d)
	}
	if old.Process.SecretEnv["TOKEN"] != "sealed:1" || web.Release != before.Apps["web"].Release || web.Newest != before.Apps["web"].Newest {
		t.Errorf("%+v, %+v", old.Process.SecretEnv, web.Standing)
	}
	if before.Apps["web"].Process.SecretEnv["TOKEN"] != "sealed:newer" || before.History["web"][0].App.Process.SecretEnv["TOKEN"] != "sealed:old" {
		t.Error("the state before has changed")
	}
	sameAfterSnapshot(t, m)
	if b, err := Encode(Command{Reseal: &Reseal{App: "web", Values: map[string]string{"sealed:a": "sealed:b"}}}); err != nil || b[0] != 12 || b[1] != version ||
		string(b[10:]) != `{"app":"web","values":{"sealed:a":"sealed:b"}}` {
		t.Errorf("%q, %v", b, err)
	}
}
