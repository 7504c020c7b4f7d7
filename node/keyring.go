package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/renameio/v2"

	"meshnode/mesh/mux"
	"meshnode/node/api"
)

// Files of a cluster key that is being replaced, and of what came before.
const (
	nextFile   = "cluster.key.next"   // the new key; behind it, where it is used already, the line usingLine
	formerFile = "cluster.key.former" // fingerprints of keys that were replaced
	usingLine  = "using"
	maxFormer  = 16
)

// installGrace is for how long a new key that was installed is not replaced by another: whoever installed it may be at work.
const installGrace = 2 * time.Minute

// keyring is the cluster key, and beside it a new one while that takes its place.
type keyring struct {
	dir *folder
	// set has all that is encrypted and signed follow.
	set func(use mux.Key, also ...mux.Key) error

	mu        sync.Mutex
	current   mux.Key
	next      *mux.Key // nil = none
	using     bool     // next is signed with, current is only taken
	installed time.Time
}

// openKeyring reads what is left of a rotation that was interrupted.
func openKeyring(dir *folder, current mux.Key) (*keyring, error) {
	k := &keyring{dir: dir, current: current, set: func(mux.Key, ...mux.Key) error { return nil }}
	raw, err := os.ReadFile(dir.join(nextFile))
	if errors.Is(err, os.ErrNotExist) {
		return k, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the next cluster key %s: %w", dir.join(nextFile), bare(err))
	}
	text, rest, _ := strings.Cut(string(raw), "\n")
	next, err := mux.ParseKey(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir.join(nextFile), err)
	}
	if next.String() == current.String() { // it was stored in its place, and then the node ended
		return k, dir.forgetNext()
	}
	k.next, k.using = &next, strings.TrimSpace(rest) == usingLine
	return k, nil
}

// openKeys reads the keys of this node, none where there is no key.
func (n *Node) openKeys(key *mux.Key) (use *mux.Key, also []mux.Key, err error) {
	if key == nil {
		return nil, nil, nil
	}
	if n.keys, err = openKeyring(n.dir, *key); err != nil {
		return nil, nil, err
	}
	first, also := n.keys.keys()
	return &first, also, nil
}

// followKeys has gossip and the peer port follow the keys from now on.
func (n *Node) followKeys() {
	if n.keys == nil {
		return
	}
	n.keys.mu.Lock()
	defer n.keys.mu.Unlock()
	n.keys.set = func(use mux.Key, also ...mux.Key) error {
		var other []byte
		if len(also) > 0 {
			other = also[0].Gossip()
		}
		if err := n.mesh.SetKeys(use.Gossip(), other); err != nil {
			return err
		}
		if err := n.mux.SetKeys(use, also...); err != nil {
			return err
		}
		n.door.desk.Expire()
		return nil
	}
}

// keys are the one to sign with, and the other that is taken, if any.
func (k *keyring) keys() (use mux.Key, also []mux.Key) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.both()
}

func (k *keyring) both() (use mux.Key, also []mux.Key) {
	switch {
	case k.next == nil:
		return k.current, nil
	case k.using:
		return *k.next, []mux.Key{k.current}
	}
	return k.current, []mux.Key{*k.next}
}

// others are the keys that are taken and not signed with.
func (k *keyring) others() []mux.Key {
	_, also := k.keys()
	return also
}

// seal seals a value with the key that is signed with: all servers have it by then.
func (k *keyring) seal(purpose, value string) string {
	use, _ := k.keys()
	return use.Seal(purpose, value)
}

// open opens what either key has sealed.
func (k *keyring) open(purpose, sealed string) (string, error) {
	use, also := k.keys()
	value, err := use.Open(purpose, sealed)
	for _, other := range also {
		if err != nil {
			value, err = other.Open(purpose, sealed)
		}
	}
	return value, err
}

// holds reports whether a sealed text is that of the value.
func (k *keyring) holds(purpose, value, sealed string) bool {
	have, err := k.open(purpose, sealed)
	return err == nil && have == value
}

// settled is the cluster key, while it is not being replaced.
func (k *keyring) settled() (mux.Key, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.current, k.next == nil
}

// state tells how far this node is.
func (k *keyring) state(node string) api.KeyState {
	use, also := k.keys()
	k.mu.Lock()
	defer k.mu.Unlock()
	s := api.KeyState{Node: node, Key: printOf(use), Using: k.using}
	if len(also) > 0 {
		s.Other = printOf(also[0])
	}
	return s
}

// printOf names a key without giving anything of it away.
func printOf(k mux.Key) string {
	b, err := k.Fingerprint()
	if err != nil {
		return "unknown" // is no fingerprint, so that no step goes on with it
	}
	return hex.EncodeToString(b)
}

// step takes the node one step on; what was done already is done. Each is on the disk before it is in effect, so that a node which ends in between
// comes back to it.
func (k *keyring) step(s api.KeyStep) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if printOf(k.current) == s.Key && k.next == nil {
		return nil // it has been through all of it
	}
	switch s.Step {
	case api.KeyInstall:
		return k.install(s)
	case api.KeyUse:
		return k.use(s)
	case api.KeyRemove:
		return k.remove(s)
	}
	return api.Errorf(api.CodeInvalid, "use the same release on all servers", "nothing is known of the step %q", s.Step)
}

func (k *keyring) install(s api.KeyStep) error {
	if k.next != nil && printOf(*k.next) == s.Key {
		return nil
	}
	if k.next != nil && (k.using || !s.Replace || time.Since(k.installed) < installGrace) {
		return api.Errorf(api.CodeConflict, "wait two minutes, and repeat it", "another new key is being installed")
	}
	next, err := mux.ParseKey(s.Text)
	if err != nil || printOf(next) != s.Key {
		return api.Errorf(api.CodeInvalid, "", "the new key is malformed")
	}
	if err := k.dir.writeNext(next, false); err != nil {
		return err
	}
	k.next, k.using, k.installed = &next, false, time.Now()
	return k.follow()
}

func (k *keyring) use(s api.KeyStep) error {
	switch {
	case k.next == nil || printOf(*k.next) != s.Key:
		return api.Errorf(api.CodeConflict, "repeat it", "the new key is not installed here")
	case k.using:
		return nil
	}
	if err := k.dir.writeNext(*k.next, true); err != nil {
		return err
	}
	k.using = true
	return k.follow()
}

func (k *keyring) remove(s api.KeyStep) error {
	if k.next == nil || printOf(*k.next) != s.Key || !k.using {
		return api.Errorf(api.CodeConflict, "repeat it", "the new key is not used here")
	}
	if err := k.dir.noteFormer(printOf(k.current)); err != nil {
		return err
	}
	if err := k.dir.writeKey(*k.next); err != nil {
		return err
	}
	if err := k.dir.forgetNext(); err != nil {
		return err
	}
	k.current, k.next, k.using = *k.next, nil, false
	return k.follow()
}

// follow has the node's parts use the keys as they are now.
func (k *keyring) follow() error {
	use, also := k.both()
	return k.set(use, also...)
}

func (f *folder) writeNext(k mux.Key, using bool) error {
	text := k.String() + "\n"
	if using {
		text += usingLine + "\n"
	}
	if err := renameio.WriteFile(f.join(nextFile), []byte(text), 0o600); err != nil {
		return fmt.Errorf("write the next cluster key: %w", err)
	}
	return nil
}

func (f *folder) forgetNext() error {
	if err := os.Remove(f.join(nextFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove %s: %w", f.join(nextFile), bare(err))
	}
	return nil
}

// former are the fingerprints of keys that were replaced here, the latest last.
func (f *folder) former() []string {
	raw, err := os.ReadFile(f.join(formerFile))
	if err != nil {
		return nil
	}
	return strings.Fields(string(raw))
}

// noteFormer remembers a key that was replaced by its fingerprint: a command line that still names it is then known to be old, and not wrong.
func (f *folder) noteFormer(fingerprint string) error {
	all := f.former()
	if slices.Contains(all, fingerprint) {
		return nil
	}
	if all = append(all, fingerprint); len(all) > maxFormer {
		all = all[len(all)-maxFormer:]
	}
	if err := renameio.WriteFile(f.join(formerFile), []byte(strings.Join(all, "\n")+"\n"), 0o600); err != nil {
		return fmt.Errorf("write %s: %w", f.join(formerFile), err)
	}
	return nil
}
