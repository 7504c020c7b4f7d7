package fsm

import (
	"fmt"
	"io"

	"meshnode/store/spec"
)

// MaxStateBytes is the largest encoded state, in bytes: MaxApps apps with their history, and room for what is around them.
const MaxStateBytes = spec.MaxApps*(spec.MaxAppBytes+spec.MaxHistoryBytes+4<<10) + 1<<20

// EncodeState returns the bytes of c for a snapshot: the same state gives the same bytes. It fails with ErrTooLarge.
func EncodeState(c *spec.Cluster) ([]byte, error) {
	return encodeFrame(kindState, c, MaxStateBytes)
}

// DecodeState returns the state that b holds. It fails with ErrCorrupt, ErrUnsupported or ErrTooLarge.
func DecodeState(b []byte) (*spec.Cluster, error) {
	kind, body, err := decodeFrame(b, MaxStateBytes)
	if err != nil {
		return nil, err
	}
	if kind != kindState {
		return nil, fmt.Errorf("kind %d is no state: %w", kind, ErrCorrupt)
	}
	c, err := decodeBody[spec.Cluster](body)
	if err != nil {
		return nil, err
	}
	if c.Apps == nil || len(c.Apps) > spec.MaxApps {
		return nil, fmt.Errorf("%d apps in a state: %w", len(c.Apps), ErrCorrupt)
	}
	if len(c.Trusted) > spec.MaxTrusted || len(c.Tokens) > spec.MaxTokens {
		return nil, fmt.Errorf("%d servers that were let in and %d tokens in a state: %w", len(c.Trusted), len(c.Tokens), ErrCorrupt)
	}
	if len(c.Lost) > spec.MaxLost {
		return nil, fmt.Errorf("%d lost servers in a state: %w", len(c.Lost), ErrCorrupt)
	}
	if len(c.Operators) > spec.MaxOperators {
		return nil, fmt.Errorf("%d operators in a state: %w", len(c.Operators), ErrCorrupt)
	}
	for name, app := range c.Apps {
		if app.Name != name {
			return nil, fmt.Errorf("app %q is filed under %q: %w", app.Name, name, ErrCorrupt)
		}
		if _, ok := c.For(app, ""); !ok {
			return nil, fmt.Errorf("app %q: release %d, which its nodes run, is not kept: %w", name, app.Rollout.Stable, ErrCorrupt)
		}
	}
	for name, past := range c.History {
		if _, ok := c.Apps[name]; !ok || len(past) > spec.MaxHistory {
			return nil, fmt.Errorf("%d former releases of app %q: %w", len(past), name, ErrCorrupt)
		}
	}
	return c, nil
}

// Restore replaces the state by the one that r holds and ends a halt. On failure the machine stays as it was.
func (m *Machine) Restore(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, MaxStateBytes+1))
	if err != nil {
		return fmt.Errorf("read state: %w", err)
	}
	c, err := DecodeState(b)
	if err != nil {
		return fmt.Errorf("restore state: %w", err)
	}
	m.fault.Store(nil)
	m.set(c)
	return nil
}
