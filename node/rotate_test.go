package node

import (
	"errors"
	"os"
	"testing"

	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/node/config"
)

// ring is a keyring in a folder of its own, with what it had set last.
type ring struct {
	*keyring
	use  mux.Key
	also []mux.Key
}

func newRing(t *testing.T, dir *folder, key mux.Key) *ring {
	t.Helper()
	k, err := openKeyring(dir, key)
	if err != nil {
		t.Fatal(err)
	}
	r := &ring{keyring: k}
	r.use, r.also = k.keys()
	k.set = func(use mux.Key, also ...mux.Key) error { r.use, r.also = use, also; return nil }
	return r
}

func (r *ring) expect(t *testing.T, when string, use mux.Key, also ...mux.Key) {
	t.Helper()
	if r.use != use || len(r.also) != len(also) || len(also) == 1 && r.also[0] != also[0] {
		t.Errorf("%s: other keys are in effect", when)
	}
}

func TestKeyringSteps(t *testing.T) {
	dir := openTestFolder(t)
	old, next, other := *testKey(t), *testKey(t), *testKey(t)
	if err := dir.writeKey(old); err != nil {
		t.Fatal(err)
	}
	r := newRing(t, dir, old)
	step := func(what string, key mux.Key, want string) {
		t.Helper()
		if err := r.step(api.KeyStep{Step: what, Key: printOf(key), Text: key.String()}); api.CodeOf(err) != want || want == "" && err != nil {
			t.Errorf("%s: %v, want %q", what, err, want)
		}
	}
	again := func() { // the node ends and starts
		t.Helper()
		key, _, err := dir.clusterKey(config.Settings{}, false)
		if err != nil {
			t.Fatal(err)
		}
		use, also := r.use, r.also
		r = newRing(t, dir, *key)
		r.expect(t, "after a restart", use, also...)
	}
	step(api.KeyUse, next, api.CodeConflict)
	step(api.KeyRemove, next, api.CodeConflict)
	step("burn", next, api.CodeInvalid)
	r.expect(t, "before", old)
	for range 2 {
		step(api.KeyInstall, next, "")
		r.expect(t, "installed", old, next)
		again()
	}
	if fi, err := os.Stat(dir.join(nextFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	step(api.KeyInstall, other, api.CodeConflict)
	step(api.KeyRemove, next, api.CodeConflict)
	for range 2 {
		step(api.KeyUse, next, "")
		r.expect(t, "used", next, old)
		again()
	}
	for range 2 {
		step(api.KeyRemove, next, "")
		r.expect(t, "removed", next)
		again()
	}
	for _, what := range []string{api.KeyInstall, api.KeyUse} {
		step(what, next, "")
		r.expect(t, "repeated", next)
	}
	// A command line that still names the old key, and one that names a wrong one.
	if key, _, err := dir.clusterKey(config.Settings{Key: old.String()}, false); err != nil || *key != next {
		t.Errorf("the former key is given: %v", err)
	}
	if _, _, err := dir.clusterKey(config.Settings{Key: other.String()}, false); err == nil {
		t.Error("a wrong key is given, and taken")
	}
}

// TestInterruptedRemoval ends the node between its last two writes.
func TestInterruptedRemoval(t *testing.T) {
	dir := openTestFolder(t)
	next := *testKey(t)
	if err := errors.Join(dir.writeNext(next, true), dir.writeKey(next)); err != nil {
		t.Fatal(err)
	}
	newRing(t, dir, next).expect(t, "afterwards", next)
	if _, err := os.Stat(dir.join(nextFile)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the next key is left: %v", err)
	}
}

func TestChooseKey(t *testing.T) {
	old, next, other := *testKey(t), *testKey(t), *testKey(t)
	a, b, c := printOf(old), printOf(next), printOf(other)
	mine := func(next *mux.Key, using bool) *keyring { return &keyring{current: old, next: next, using: using} }
	settled := api.KeyState{Key: a}
	for name, x := range map[string]struct {
		states  []api.KeyState
		own     *keyring
		want    string // "" = a new one
		replace bool
		code    string
	}{
		"nothing begun":        {[]api.KeyState{settled, settled}, mine(nil, false), "", false, ""},
		"begun here":           {[]api.KeyState{{Key: a, Other: b}, settled}, mine(&next, false), b, true, ""},
		"begun elsewhere":      {[]api.KeyState{settled, {Key: a, Other: c}}, mine(nil, false), "", true, ""},
		"used by some":         {[]api.KeyState{{Key: a, Other: b}, {Key: b, Other: a, Using: true}}, mine(&next, false), b, false, ""},
		"removed here":         {[]api.KeyState{{Key: b}, {Key: b, Other: a, Using: true}}, &keyring{current: next}, b, false, ""},
		"another one is used":  {[]api.KeyState{settled, {Key: c, Other: a, Using: true}}, mine(nil, false), "", false, api.CodeFailed},
		"two of them are used": {[]api.KeyState{{Key: b, Other: a, Using: true}, {Key: c, Other: a, Using: true}}, mine(&next, true), "", false, api.CodeFailed},
	} {
		key, replace, err := chooseKey(x.states, x.own)
		if api.CodeOf(err) != x.code || x.code == "" && err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		fp := printOf(key)
		if known := fp == a || fp == b || fp == c; err == nil && (x.want == "" && known || x.want != "" && fp != x.want || replace != x.replace) {
			t.Errorf("%s: key %s, replace %v", name, fp, replace)
		}
	}
}
