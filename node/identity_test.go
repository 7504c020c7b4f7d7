package node

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"meshnode/mesh/mux"
	"meshnode/node/config"
)

func openTestFolder(t *testing.T) *folder {
	t.Helper()
	f, err := openFolder(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.close)
	return f
}

func TestFolderIsLocked(t *testing.T) {
	f := openTestFolder(t)
	if _, err := openFolder(f.path); err == nil || !strings.Contains(err.Error(), "in use by another meshnode") {
		t.Errorf("a second lock: %v", err)
	}
	if fi, err := os.Stat(f.path); err != nil || fi.Mode().Perm()&0o066 != 0 {
		t.Errorf("the folder is open to others: %v, %v", fi.Mode(), err)
	}
}

func TestIdentityStays(t *testing.T) {
	f := openTestFolder(t)
	first, err := f.identity("a")
	if err != nil {
		t.Fatal(err)
	}
	again, err := f.identity("renamed")
	if err != nil || again.ID != first.ID {
		t.Errorf("identity %q became %q, %v", first.ID, again.ID, err)
	}
	if err := os.WriteFile(f.join("identity.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.identity("a"); err == nil || !strings.Contains(err.Error(), "restore it") {
		t.Errorf("a damaged identity: %v, want the remedy", err)
	}
}

func TestResetMakesAnotherIdentity(t *testing.T) {
	f := openTestFolder(t)
	first, err := f.identity("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.reset("a"); err != nil {
		t.Fatal(err)
	}
	if second, err := f.identity("a"); err != nil || second.ID == first.ID {
		t.Errorf("after a reset: %q, %v; want another identity than %q", second.ID, err, first.ID)
	}
}

func TestClusterKey(t *testing.T) {
	key, err := mux.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := mux.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	f := openTestFolder(t)
	if _, _, err := f.clusterKey(config.Settings{}, false); !errors.Is(err, errNoKey) {
		t.Errorf("no key, no founder: %v", err)
	}
	if k, _, err := f.clusterKey(config.Settings{Insecure: true}, false); k != nil || err != nil {
		t.Errorf("-insecure: a key, %v", err)
	}
	if _, _, err := f.clusterKey(config.Settings{Key: "nonsense"}, true); err == nil || !strings.Contains(err.Error(), "MESHNODE_KEY") {
		t.Errorf("a mistyped key: %v", err)
	}
	if _, _, err := f.clusterKey(config.Settings{KeyFile: f.join("missing")}, true); err == nil || !strings.Contains(err.Error(), "-key-file") {
		t.Errorf("a missing key file: %v", err)
	}
	k, made, err := f.clusterKey(config.Settings{Key: key.String()}, false)
	if err != nil || made || k.String() != key.String() {
		t.Fatalf("a given key: made %v, %v", made, err)
	}
	if _, err := os.Stat(f.join(keyFile)); err == nil {
		t.Error("a key is kept before it has proved right")
	}
	if err := f.keepKey(*k); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(f.join(keyFile)); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key is not kept for its owner alone: %v", err)
	}
	if k, made, err := f.clusterKey(config.Settings{}, false); err != nil || made || k.String() != key.String() {
		t.Errorf("the kept key: made %v, %v", made, err)
	}
	if _, _, err := f.clusterKey(config.Settings{Key: other.String()}, true); err == nil || strings.Contains(err.Error(), other.String()) {
		t.Errorf("another key than the kept one: %v, want a refusal without the key", err)
	}
	fresh := openTestFolder(t)
	k, made, err = fresh.clusterKey(config.Settings{}, true)
	if err != nil || !made || k == nil {
		t.Errorf("a founder: made %v, %v", made, err)
	}
}
