package fsm

import (
	"errors"
	"fmt"

	"meshnode/store/spec"
)

// Any as PrevModified accepts whatever version of the app there is, or none.
const Any = ^uint64(0)

// Command is one change of the configuration: exactly one field is set.
type Command struct {
	// Found names the cluster. The founder proposes it once.
	Found *Found
	// Put creates or replaces an app.
	Put *Put
	// Delete forgets an app.
	Delete *Delete
	// Learn records client addresses that workers asked for.
	Learn *Learn
}

// Found gives the cluster its identity. Repeating it is harmless; another identity is an ErrConflict.
type Found struct {
	ClusterID string `json:"cluster_id"`
}

// Put creates or replaces an app. App.Release, Learned, Created and Modified are the machine's own: what is given there
// is ignored.
type Put struct {
	App spec.App `json:"app"`
	// PrevModified is the App.Modified this change is based on; 0: the app must not exist; Any: whatever there is.
	PrevModified uint64 `json:"prev_modified"`
	// NewRelease asks for new processes though nothing changed: a reload.
	NewRelease bool `json:"new_release,omitempty"`
}

// Delete forgets an app.
type Delete struct {
	Name string `json:"name"`
	// PrevModified is the App.Modified this change is based on; 0 and Any: whatever there is.
	PrevModified uint64 `json:"prev_modified"`
}

// Learn adds client addresses to App.Learned. The release stays: no process needs to be replaced.
type Learn struct {
	App    string   `json:"app"`
	Listen []string `json:"listen"`
}

// Prepare returns c ready to be proposed: defaults filled in and checked. It fails with ErrInvalid. Only the proposer
// prepares; a machine applies what the log says, or releases with different rules would drift apart.
func (c Command) Prepare() (Command, error) {
	if _, _, err := c.content(); err != nil {
		return Command{}, err
	}
	var err error
	switch {
	case c.Found != nil:
		if c.Found.ClusterID == "" {
			err = errors.New("cluster_id: missing")
		}
	case c.Put != nil:
		put := *c.Put
		put.App = put.App.WithDefaults()
		put.App.Release, put.App.Created, put.App.Modified, put.App.Learned = 0, 0, 0, nil
		err = put.App.Validate()
		c.Put = &put
	case c.Delete != nil:
		err = spec.ValidateName(c.Delete.Name)
	case c.Learn != nil:
		err = c.Learn.validate()
	}
	if err != nil {
		return Command{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return c, nil
}

// content returns the kind byte and the one field that is set.
func (c Command) content() (byte, any, error) {
	var (
		kind  byte
		field any
		set   int
	)
	if c.Found != nil {
		kind, field, set = kindFound, c.Found, set+1
	}
	if c.Put != nil {
		kind, field, set = kindPut, c.Put, set+1
	}
	if c.Delete != nil {
		kind, field, set = kindDelete, c.Delete, set+1
	}
	if c.Learn != nil {
		kind, field, set = kindLearn, c.Learn, set+1
	}
	if set != 1 {
		return 0, nil, fmt.Errorf("%w: %d changes in one command, want exactly one", ErrInvalid, set)
	}
	return kind, field, nil
}

func (l *Learn) validate() error {
	if err := spec.ValidateName(l.App); err != nil {
		return err
	}
	if len(l.Listen) == 0 || len(l.Listen) > spec.MaxListen {
		return fmt.Errorf("listen: %d addresses, want 1 to %d", len(l.Listen), spec.MaxListen)
	}
	var problems []error
	for _, addr := range l.Listen {
		if err := spec.ValidateListen(addr); err != nil {
			problems = append(problems, fmt.Errorf("listen: %w", err))
		}
	}
	return errors.Join(problems...)
}
