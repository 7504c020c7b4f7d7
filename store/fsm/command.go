package fsm

import (
	"errors"
	"fmt"
	"slices"

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
	// Advance takes a rollout one step on.
	Advance *Advance
	// Refuse ends a rollout by going back.
	Refuse *Refuse
	// Set changes settings of the cluster.
	Set *Set
	// Lose gives servers up for good.
	Lose *Lose
	// Trust remembers how servers were let in.
	Trust *Trust
	// Token changes a join token.
	Token *Token
	// Reseal puts other texts in the place of sealed values.
	Reseal *Reseal
	// Operator makes somebody an operator, or ends that.
	Operator *Operator
}

// Found gives the cluster its identity. Repeating it is harmless; another identity is an ErrConflict.
type Found struct {
	ClusterID string `json:"cluster_id"`
}

// Put creates or replaces an app. App.Standing is the machine's own: what is given there is ignored.
type Put struct {
	App spec.App `json:"app"`
	// PrevModified is the App.Modified this change is based on; 0: the app must not exist; Any: whatever there is.
	PrevModified uint64 `json:"prev_modified"`
	// NewRelease asks for new processes though nothing changed: a reload.
	NewRelease bool `json:"new_release,omitempty"`
	// Serves says that, as the proposer sees it, some worker of the app is ready: a new release is then rolled out one node
	// at a time. Where nobody serves there is nothing to be kept, and all nodes take it at once.
	Serves bool `json:"serves,omitempty"`
	// Time is when it was proposed, in seconds of Unix time by the proposer's clock. 0 is a proposer of version 1, which kept
	// no history and knew no rollout: then neither is begun.
	Time int64 `json:"time,omitempty"`
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
		put.App.Standing = spec.Standing{}
		err = put.App.Validate()
		if err == nil && !put.App.Sealed() {
			err = errors.New("secret_env: a value is not sealed") // it would be readable on every disk
		}
		c.Put = &put
	case c.Delete != nil:
		err = spec.ValidateName(c.Delete.Name)
	case c.Learn != nil:
		err = c.Learn.validate()
	case c.Advance != nil:
		err = c.Advance.validate()
	case c.Refuse != nil:
		err = c.Refuse.validate()
	case c.Set != nil:
		c.Set, err = c.Set.normal()
	case c.Lose != nil:
		err = c.Lose.validate()
	case c.Trust != nil:
		err = c.Trust.validate()
	case c.Token != nil:
		err = c.Token.validate()
	case c.Reseal != nil:
		err = c.Reseal.validate()
	case c.Operator != nil:
		err = c.Operator.validate()
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
	if c.Advance != nil {
		kind, field, set = kindAdvance, c.Advance, set+1
	}
	if c.Refuse != nil {
		kind, field, set = kindRefuse, c.Refuse, set+1
	}
	if c.Set != nil {
		kind, field, set = kindSet, c.Set, set+1
	}
	if c.Lose != nil {
		kind, field, set = kindLose, c.Lose, set+1
	}
	if c.Trust != nil {
		kind, field, set = kindTrust, c.Trust, set+1
	}
	if c.Token != nil {
		kind, field, set = kindToken, c.Token, set+1
	}
	if c.Reseal != nil {
		kind, field, set = kindReseal, c.Reseal, set+1
	}
	if c.Operator != nil {
		kind, field, set = kindOperator, c.Operator, set+1
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

// Advance takes the rollout of a release on: nodes get their turn, or it is over. It is an ErrConflict when that release is
// not being rolled out.
type Advance struct {
	App     string `json:"app"`
	Release uint64 `json:"release"`
	// Nodes may run the release from now on; one that may already is not counted twice.
	Nodes []string `json:"nodes,omitempty"`
	// Done ends the rollout: all nodes may, also those that come later.
	Done bool `json:"done,omitempty"`
}

// Refuse ends the rollout of a release by going back to the one before, under its old number: a node that still runs that
// one has nothing to do. It is an ErrConflict when the release is not being rolled out.
type Refuse struct {
	App     string `json:"app"`
	Release uint64 `json:"release"`
	// Why, Node and Tail are kept with the release; see spec.Past.
	Why  string   `json:"why"`
	Node string   `json:"node,omitempty"`
	Tail []string `json:"tail,omitempty"`
}

func (a *Advance) validate() error {
	if err := spec.ValidateName(a.App); err != nil {
		return err
	}
	if len(a.Nodes) > spec.MaxTurns || slices.Contains(a.Nodes, "") || len(a.Nodes) == 0 && !a.Done {
		return fmt.Errorf("nodes: %d names, want 1 to %d, or the end of the rollout", len(a.Nodes), spec.MaxTurns)
	}
	return nil
}

func (r *Refuse) validate() error {
	if err := spec.ValidateName(r.App); err != nil {
		return err
	}
	if r.Why == "" || len(r.Why) > spec.MaxWhyBytes {
		return fmt.Errorf("why: %d bytes, want 1 to %d", len(r.Why), spec.MaxWhyBytes)
	}
	if len(r.Tail) > spec.MaxTailLines || slices.ContainsFunc(r.Tail, func(l string) bool { return len(l) > spec.MaxTailBytes }) {
		return fmt.Errorf("tail: more than %d lines of %d bytes", spec.MaxTailLines, spec.MaxTailBytes)
	}
	return nil
}
