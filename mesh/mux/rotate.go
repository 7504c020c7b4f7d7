package mux

import "errors"

// SetKeys has this side sign with the first key from now on, and take what is signed with any of them. Streams that are open stay. It fails for a Mux
// without a key, and leaves all as it was then.
func (m *Mux) SetKeys(use Key, also ...Key) error {
	if m.secure.Load() == nil {
		return errors.New("the peer port runs without a key")
	}
	next, err := newCredentials(m.self, use, also...)
	if err != nil {
		return err
	}
	m.secure.Store(next)
	return nil
}
