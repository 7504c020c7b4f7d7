package node

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/renameio/v2"
)

// identity is who this server is: made once with its data folder and never used again after that is lost.
type identity struct {
	ID      string    `json:"id"`   // "<node>-<8 hex digits>"
	Node    string    `json:"node"` // the name at the time of making; a label
	Created time.Time `json:"created"`
}

// identityFile is where it is kept in the data folder.
const identityFile = "identity.json"

// folder is the data folder, locked for this process.
type folder struct {
	path string
	lock *flock.Flock
}

const passable = 0o711 // its owner's, and a way through for others

// How long a lock is waited for: one that was killed a moment ago may not be gone yet.
const (
	lockLimit = time.Second
	lockEvery = 20 * time.Millisecond
)

// openFolder makes and locks the data folder. Of a node that runs as root others may pass through it, but not look: workers of other users
// find the preload and their rendezvous in run/, all else is closed to them by its own mode.
func openFolder(path string) (*folder, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("the data folder %s cannot be made: %w; choose another with -data-dir", path, bare(err))
	}
	if fi, err := os.Stat(path); err == nil && os.Getuid() == 0 && fi.Mode().Perm() == 0o700 {
		_ = os.Chmod(path, passable) // without it such workers say what they miss
	}
	name := filepath.Join(path, "lock")
	l := flock.New(name, flock.SetPermissions(0o600))
	ctx, cancel := context.WithTimeout(context.Background(), lockLimit)
	defer cancel()
	ok, err := l.TryLockContext(ctx, lockEvery)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return nil, fmt.Errorf("the data folder %s is not writable: %w; choose another with -data-dir, or run as its owner", path, bare(err))
	}
	if !ok {
		holder, _ := os.ReadFile(name)
		return nil, fmt.Errorf("the data folder %s is in use by another meshnode (pid %s); stop that one, or choose another folder with -data-dir",
			path, strings.TrimSpace(string(holder)))
	}
	// The number is only for the message above; the lock is the kernel's.
	if err := os.WriteFile(name, []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("the data folder %s is not writable: %w; free some space, or choose another with -data-dir", path, bare(err))
	}
	return &folder{path: path, lock: l}, nil
}

// bare takes the path off an error whose message names it already.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

func (f *folder) join(name string) string { return filepath.Join(f.path, name) }

func (f *folder) close() { f.lock.Close() }

// identity reads who this server is, or makes it up at the first start.
func (f *folder) identity(node string) (identity, error) {
	path := f.join(identityFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return f.newIdentity(node)
	}
	var id identity
	if err == nil {
		err = json.Unmarshal(raw, &id)
	}
	if err != nil || id.ID == "" {
		return identity{}, fmt.Errorf("%s cannot be read (%v); restore it from a backup, or empty the data folder to join as a new server", path, err)
	}
	return id, nil
}

// newIdentity makes a new identity, in place of the one there is.
func (f *folder) newIdentity(node string) (identity, error) {
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return identity{}, fmt.Errorf("make an identity: %w", err)
	}
	id := identity{ID: node + "-" + hex.EncodeToString(b[:]), Node: node, Created: time.Now().UTC()}
	raw, err := json.MarshalIndent(id, "", "  ")
	if err == nil {
		err = renameio.WriteFile(f.join(identityFile), append(raw, '\n'), 0o600)
	}
	if err != nil {
		return identity{}, fmt.Errorf("write the identity of this server: %w", err)
	}
	return id, nil
}

// addressFile is where the address is kept that this server is reached at.
const addressFile = "address"

// formerAddress is the address that this server had, "" where it is not known, or the server is new.
func (f *folder) formerAddress(old bool) string {
	raw, err := os.ReadFile(f.join(addressFile))
	if err != nil || !old {
		return ""
	}
	return strings.TrimSpace(string(raw))
}

// keepAddress keeps it, for a start at which names do not resolve. Without it such a start may choose another of this server's addresses.
func (f *folder) keepAddress(addr string) {
	if f.formerAddress(true) != addr {
		_ = renameio.WriteFile(f.join(addressFile), []byte(addr+"\n"), 0o600)
	}
}

// newClusterID makes the identity of a new cluster.
func newClusterID() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a cluster identity: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
