package node

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/google/renameio/v2"

	"meshnode/mesh/mux"
	"meshnode/node/config"
)

// keyFile is the name of the cluster key in the data folder.
const keyFile = "cluster.key"

// NewKey returns a new cluster key in its text form, which is the secret itself.
func NewKey() (string, error) {
	k, err := mux.NewKey()
	if err != nil {
		return "", fmt.Errorf("make a cluster key: %w", err)
	}
	return k.String(), nil
}

// clusterKey finds the cluster key: MESHNODE_KEY, -key-file, or the data folder. Only a founder may make one, which is kept at once; a given one is
// kept when it has proved right (keepKey), so that a wrong one does not stick. nil means -insecure; made says that it is new. errNoKey means that this
// server has to ask for it.
func (f *folder) clusterKey(s config.Settings, founder bool) (key *mux.Key, made bool, err error) {
	if s.Insecure {
		return nil, false, nil
	}
	stored, err := readKey(f.join(keyFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, false, err
	}
	given, where, err := givenKey(s)
	switch {
	case err != nil:
		return nil, false, err
	case given != nil && stored != nil && slices.Contains(f.former(), printOf(*given)):
		return stored, false, nil // the command line is of before the key was replaced
	case given != nil && stored != nil && given.String() != stored.String():
		return nil, false, fmt.Errorf("the cluster key in %s is not the one this server joined its cluster with (%s); use that one, or empty %s to join another cluster",
			where, f.join(keyFile), f.path)
	case given != nil:
		return given, false, nil
	case stored != nil:
		return stored, false, nil
	case !founder:
		return nil, false, errNoKey
	}
	k, err := mux.NewKey()
	if err != nil {
		return nil, false, fmt.Errorf("make a cluster key: %w", err)
	}
	return &k, true, f.writeKey(k)
}

// errNoKey says that a server that is to join a cluster has no key.
var errNoKey = errors.New("no cluster key")

// givenKey is the key that the operator named, nil if none, and where it came from.
func givenKey(s config.Settings) (*mux.Key, string, error) {
	if s.Key != "" {
		k, err := mux.ParseKey(s.Key)
		if err != nil {
			return nil, "", fmt.Errorf("MESHNODE_KEY: %w", err)
		}
		return &k, "MESHNODE_KEY", nil
	}
	if s.KeyFile == "" {
		return nil, "", nil
	}
	k, err := readKey(s.KeyFile)
	if errors.Is(err, os.ErrNotExist) {
		err = fmt.Errorf("-key-file %s: there is no such file", s.KeyFile)
	}
	return k, s.KeyFile, err
}

func readKey(path string) (*mux.Key, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the cluster key %s: %w", path, bare(err))
	}
	k, err := mux.ParseKey(strings.TrimSpace(string(raw)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &k, nil
}

// keepKey stores the key that brought this server into its cluster, so that it needs no variable from now on. One that is being replaced is stored
// already.
func (n *Node) keepKey() error {
	if n.keys == nil {
		return nil
	}
	if key, ok := n.keys.settled(); ok {
		return n.dir.keepKey(key)
	}
	return nil
}

func (f *folder) keepKey(k mux.Key) error {
	if stored, err := readKey(f.join(keyFile)); err == nil && stored.String() == k.String() {
		return nil
	}
	return f.writeKey(k)
}

func (f *folder) writeKey(k mux.Key) error {
	if err := renameio.WriteFile(f.join(keyFile), []byte(k.String()+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the cluster key: %w", err)
	}
	return nil
}
