package mesh

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"github.com/hashicorp/memberlist"
)

// keyring holds the keys of gossip, nil where it is not encrypted.
func keyring(o Options) (*memberlist.Keyring, error) {
	if o.Key == nil {
		return nil, nil
	}
	var also [][]byte
	if o.AlsoKey != nil {
		also = append(also, o.AlsoKey)
	}
	keys, err := memberlist.NewKeyring(also, o.Key)
	if err != nil {
		return nil, fmt.Errorf("the key of gossip: %w", err)
	}
	return keys, nil
}

// SetKeys has gossip encrypted with the first key from now on, and read what is encrypted with either; what is encrypted with any other key is not
// read any more. also may be nil. It fails where gossip is not encrypted at all.
func (m *Mesh) SetKeys(use, also []byte) error {
	if m.keys == nil {
		return errors.New("gossip runs without a key")
	}
	wanted := [][]byte{use}
	if also != nil {
		wanted = append(wanted, also)
	}
	for _, k := range wanted {
		if err := m.keys.AddKey(k); err != nil {
			return fmt.Errorf("the key of gossip: %w", err)
		}
	}
	if err := m.keys.UseKey(use); err != nil {
		return fmt.Errorf("the key of gossip: %w", err)
	}
	for _, k := range m.keys.GetKeys() {
		if !slices.ContainsFunc(wanted, func(w []byte) bool { return bytes.Equal(w, k) }) {
			if err := m.keys.RemoveKey(k); err != nil {
				return fmt.Errorf("the key of gossip: %w", err)
			}
		}
	}
	return nil
}
