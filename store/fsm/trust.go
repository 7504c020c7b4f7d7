package fsm

import (
	"errors"
	"fmt"
	"maps"

	"meshnode/store/spec"
)

// tokenKept is how long a token that lets nobody in any more is remembered, so that whoever comes with it hears why, in seconds.
const tokenKept = 24 * 60 * 60

// Trust remembers how servers were let in.
type Trust struct {
	// Add are servers by their identity. One that is known already stays as it is.
	Add map[string]spec.Trusted `json:"add,omitempty"`
	// Drop are identities that do not belong to the cluster any more.
	Drop []string `json:"drop,omitempty"`
}

// Token changes one join token. Exactly one of Make, Use and Drop is set.
type Token struct {
	// Hash is the SHA-256 of the token's secret, in hexadecimal.
	Hash string `json:"hash"`
	// Make makes the token; one of that hash is an ErrExists.
	Make *spec.Token `json:"make,omitempty"`
	// Use takes one use off, before a server is given the key. It is an ErrConflict where the token has expired or is used up.
	Use bool `json:"use,omitempty"`
	// For is the identity of the server that uses it; it is remembered as let in, where there is room.
	For string `json:"for,omitempty"`
	// Drop forgets the token.
	Drop bool `json:"drop,omitempty"`
	// Time is when it was proposed, in seconds of Unix time by the proposer's clock.
	Time int64 `json:"time"`
}

func (t *Trust) validate() error {
	if len(t.Add)+len(t.Drop) == 0 || len(t.Add)+len(t.Drop) > spec.MaxTrusted {
		return fmt.Errorf("%d servers, want 1 to %d", len(t.Add)+len(t.Drop), spec.MaxTrusted)
	}
	for id, trusted := range t.Add {
		if id == "" || trusted.Since <= 0 || trusted.By != spec.TrustedByCode && trusted.By != spec.TrustedByToken {
			return fmt.Errorf("add %q: no identity, no time, or no way in", id)
		}
	}
	return nil
}

func (t *Token) validate() error {
	if err := spec.ValidateTokenHash(t.Hash); err != nil {
		return err
	}
	set := 0
	for _, is := range []bool{t.Make != nil, t.Use, t.Drop} {
		if is {
			set++
		}
	}
	if set != 1 || t.Time <= 0 || t.For != "" && !t.Use {
		return errors.New("token: want exactly one of make, use and drop, and the time")
	}
	if t.Make != nil {
		return t.Make.Validate()
	}
	return nil
}

func trust(next *spec.Cluster, t *Trust) error {
	all := maps.Clone(next.Trusted)
	if all == nil {
		all = make(map[string]spec.Trusted)
	}
	for _, id := range t.Drop {
		delete(all, id)
	}
	for id, trusted := range t.Add {
		if _, known := all[id]; !known {
			all[id] = trusted
		}
	}
	if len(all) > spec.MaxTrusted {
		return fmt.Errorf("%w servers that were let in: at most %d", ErrTooMany, spec.MaxTrusted)
	}
	if next.Trusted = all; len(all) == 0 {
		next.Trusted = nil
	}
	return nil
}

func token(next *spec.Cluster, t *Token) error {
	all := maps.Clone(next.Tokens)
	if all == nil {
		all = make(map[string]spec.Token)
	}
	old, known := all[t.Hash]
	switch {
	case t.Make != nil && known:
		return fmt.Errorf("token: %w", ErrExists)
	case t.Make != nil:
		maps.DeleteFunc(all, func(_ string, o spec.Token) bool { return o.Expires+tokenKept <= t.Time })
		if len(all) >= spec.MaxTokens {
			maps.DeleteFunc(all, func(_ string, o spec.Token) bool { return o.Uses == 0 || o.Expires <= t.Time })
		}
		if len(all) >= spec.MaxTokens {
			return fmt.Errorf("%w tokens: at most %d", ErrTooMany, spec.MaxTokens)
		}
		all[t.Hash] = *t.Make
	case !known:
		return fmt.Errorf("token: %w", ErrNotFound)
	case t.Use && (old.Uses < 1 || old.Expires <= t.Time):
		return fmt.Errorf("token: %w", ErrConflict)
	case t.Use:
		old.Uses--
		all[t.Hash] = old
		if t.For != "" {
			_ = trust(next, &Trust{Add: map[string]spec.Trusted{t.For: {Since: t.Time, By: spec.TrustedByToken}}})
		}
	default:
		delete(all, t.Hash)
	}
	if next.Tokens = all; len(all) == 0 {
		next.Tokens = nil
	}
	return nil
}
