package main

import (
	"context"
	"errors"
	"flag"

	"meshnode/node/config"
	"meshnode/store/spec"
)

// foreground runs the node of this server until ctx ends: "meshnode [flags]".
func (c *console) foreground(ctx context.Context, args []string) error {
	fs := flag.NewFlagSet("meshnode", flag.ContinueOnError)
	flags := config.NewFlags(fs)
	rest, after, err := config.ParseArgs(fs, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return c.helpOverview()
	case err != nil:
		return &usageError{err: err}
	}
	if rest = append(rest, after...); len(rest) > 0 {
		if v, ok := findVerb(rest[0]); ok {
			return usagef("the verb comes first: meshnode %s [flags]", v.name)
		}
		return c.unknownVerb(rest[0])
	}
	return c.runWith(ctx, flags, nil)
}

// runWith puts the settings together and runs the node, with what app finds on it where that is not nil.
func (c *console) runWith(ctx context.Context, flags *config.Flags, app func(context.Context) (*spec.App, error)) error {
	settings, err := flags.Resolve(c.environ)
	if err != nil {
		return err
	}
	if err := c.runNode(ctx, settings, nodeOptions{out: c.out, version: c.version, app: app}); err != nil {
		return &nodeEnded{err}
	}
	return nil
}

// nodeEnded is why a node has ended. Whatever it is, it is a failure and no refusal: to the keeper the code of that one would be a crash, and the node
// would be started again.
type nodeEnded struct{ error }

// Unwrap makes errors.As find what tells how it was said.
func (e *nodeEnded) Unwrap() error { return e.error }
