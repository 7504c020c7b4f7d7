package node

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"

	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/node/reconcile"
	"meshnode/store/fsm"
	"meshnode/store/spec"
)

func keyed(t *testing.T) (*Node, *mux.Key) {
	t.Helper()
	k, err := mux.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return &Node{access: access{keys: &keyring{current: k}}}, &k
}

func withSecrets(values map[string]string) spec.App {
	return spec.App{Name: "web", Command: []string{"x"}, Dir: "/", Env: map[string]string{"A": "b"}, Process: spec.Process{SecretEnv: values}}.WithDefaults()
}

func TestSecretsAreSealedAndOpened(t *testing.T) {
	n, _ := keyed(t)
	plain := withSecrets(map[string]string{"TOKEN": "s3cret", "OTHER": ""})
	sealed, err := n.seal(plain, spec.App{})
	if err != nil || !sealed.Sealed() || plain.Sealed() || plain.Process.SecretEnv["TOKEN"] != "s3cret" {
		t.Fatalf("%v, %v from %v", err, sealed.Process.SecretEnv, plain.Process.SecretEnv)
	}
	got, err := n.opened(sealed)
	if d := cmp.Diff([]string{"OTHER=", "TOKEN=s3cret"}, got); err != nil || d != "" {
		t.Errorf("%v (-want +got):\n%s", err, d)
	}
	again, err := n.seal(plain, sealed)
	if err != nil || !again.SameProcess(sealed) {
		t.Errorf("the same values are another release: %v", err)
	}
	kept, err := n.seal(withSecrets(map[string]string{"TOKEN": spec.Masked, "NEW": "another"}), sealed)
	if err != nil || kept.Process.SecretEnv["TOKEN"] != sealed.Process.SecretEnv["TOKEN"] || len(kept.Process.SecretEnv) != 2 {
		t.Errorf("%v, %v", err, kept.Process.SecretEnv)
	}
	if got, err := n.opened(kept); err != nil || got[0] != "NEW=another" {
		t.Errorf("%q, %v", got, err)
	}
	if back, err := n.seal(sealed, spec.App{}); err != nil || !back.SameProcess(sealed) {
		t.Errorf("out of a snapshot: %v", err)
	}
	if _, err := n.seal(withSecrets(map[string]string{"OTHER": sealed.Process.SecretEnv["TOKEN"]}), spec.App{}); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("a text that was sealed for another variable: %v", err)
	}
	if _, err := n.seal(withSecrets(map[string]string{"NEW": spec.Masked}), sealed); api.CodeOf(err) != api.CodeInvalid {
		t.Errorf("a value to be kept that is not there: %v", err)
	}
	if d := changedIn(sealed, kept); cmp.Diff([]string{"process.secret_env.NEW", "process.secret_env.OTHER"}, d) != "" {
		t.Errorf("changed: %v", d)
	}
}

func TestSecretsStayInTheirPlace(t *testing.T) {
	n, _ := keyed(t)
	sealed, err := n.seal(withSecrets(map[string]string{"TOKEN": "s3cret", "OTHER": "x"}), spec.App{})
	if err != nil {
		t.Fatal(err)
	}
	moved := sealed.Clone()
	moved.Process.SecretEnv["OTHER"] = sealed.Process.SecretEnv["TOKEN"]
	renamed := sealed.Clone()
	renamed.Name = "web2"
	other, _ := keyed(t)
	for name, c := range map[string]struct {
		n   *Node
		app spec.App
	}{"another variable": {n, moved}, "another app": {n, renamed}, "another key": {other, sealed}} {
		if got, err := c.n.opened(c.app); !errors.Is(err, mux.ErrSealed) || got != nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	insecure := &Node{}
	if _, err := insecure.seal(withSecrets(map[string]string{"A": "b"}), spec.App{}); api.CodeOf(err) != api.CodeInvalid || !strings.Contains(err.Error(), "-insecure") {
		t.Errorf("without a key: %v", err)
	}
	if _, err := insecure.opened(sealed); err == nil {
		t.Error("a node without a key opens secrets")
	}
	if app, err := insecure.seal(withSecrets(nil), spec.App{}); err != nil || len(app.Env) != 1 {
		t.Errorf("an app without secrets: %v", err)
	}
}

func TestReseal(t *testing.T) {
	old, from := keyed(t)
	fresh, to := keyed(t)
	sealed, err := old.seal(withSecrets(map[string]string{"TOKEN": "s3cret"}), spec.App{})
	if err != nil {
		t.Fatal(err)
	}
	before := maps.Clone(sealed.Process.SecretEnv)
	c := &spec.Cluster{Apps: map[string]spec.App{"web": sealed}}
	text := sealed.Process.SecretEnv["TOKEN"]
	values := resealed(c, "web", []mux.Key{*from, *to}, *to)
	if !maps.Equal(before, sealed.Process.SecretEnv) || len(values) != 1 {
		t.Fatalf("%v, or the original has changed", values)
	}
	moved := sealed.Clone()
	moved.Process.SecretEnv["TOKEN"] = values[text]
	if got, err := fresh.opened(moved); err != nil || got[0] != "TOKEN=s3cret" {
		t.Errorf("%q, %v", got, err)
	}
	if again, err := fresh.seal(withSecrets(map[string]string{"TOKEN": "s3cret"}), spec.App{}); err != nil || !again.SameProcess(moved) {
		t.Errorf("the same value is another release afterwards: %v", err)
	}
	c.Apps["web"], c.History = moved, map[string][]spec.Past{"web": {{App: sealed}}}
	if values := resealed(c, "web", []mux.Key{*from}, *to); len(values) != 1 || values[text] == "" {
		t.Errorf("of a former release: %v", values)
	}
	if other, _ := keyed(t); len(resealed(c, "web", []mux.Key{other.keys.current, *to}, *to)) != 0 {
		t.Error("what cannot be opened is sealed")
	}
	// While the key is replaced either opens.
	old.keys.next = to
	for _, app := range []spec.App{sealed, moved} {
		if got, err := old.opened(app); err != nil || got[0] != "TOKEN=s3cret" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestResealInPortions(t *testing.T) {
	if got := portions(nil); len(got) != 0 {
		t.Errorf("of nothing: %d", len(got))
	}
	values := make(map[string]string)
	for i := range 40 { // the largest one that an app can have, and many small ones
		size := spec.MaxAppBytes
		if i > 10 {
			size = 100
		}
		values[spec.SealedPrefix+fmt.Sprint(i)+strings.Repeat("f", size)] = spec.SealedPrefix + strings.Repeat("t", size)
	}
	all := make(map[string]string)
	for _, some := range portions(values) {
		c, err := fsm.Command{Reseal: &fsm.Reseal{App: "web", Values: some}}.Prepare()
		if err == nil {
			_, err = fsm.Encode(c)
		}
		if err != nil {
			t.Errorf("%d texts: %v", len(some), err)
		}
		maps.Copy(all, some)
	}
	if !maps.Equal(all, values) {
		t.Errorf("%d of %d texts are sealed anew", len(all), len(values))
	}
}

// TestSecretThatCannotBeOpened: no worker is started, and status says which app and variable; the sealed text is not shown.
func TestSecretThatCannotBeOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t)
		other, _ := keyed(t)
		mine, _ := keyed(t)
		n.keys, n.log = mine.keys, hclog.NewNullLogger()
		put := func(by *Node) spec.App {
			t.Helper()
			app, err := by.seal(withSecrets(map[string]string{"TOKEN": "s3cret"}), spec.App{})
			if err == nil {
				_, err = n.store.Apply(t.Context(), fsm.Command{Put: &fsm.Put{App: app, PrevModified: fsm.Any}})
			}
			if err != nil {
				t.Fatal(err)
			}
			return app
		}
		sealed := put(other).Process.SecretEnv["TOKEN"]
		actuator{n}.Do(reconcile.Step{App: "web"}) // it has no supervisor to start one
		all := n.secretWarnings()
		if len(all) != 1 || all[0].App != "web" || !strings.Contains(all[0].What, "no worker can be started on h2") || !strings.Contains(all[0].What, "TOKEN") || all[0].Remedy == "" ||
			strings.Contains(all[0].What, sealed) {
			t.Errorf("%+v", all)
		}
		put(n)
		if all := n.secretWarnings(); len(all) != 0 {
			t.Errorf("after the value was given again: %+v", all)
		}
	})
}
