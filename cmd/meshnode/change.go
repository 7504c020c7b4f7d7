package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"time"

	"meshnode/node/api"
)

// allApps stands for every app where a verb takes the name of one.
const allApps = "all"

// Outcomes of a change, as -json shows them.
const (
	outcomeDone       = "done"
	outcomeFailed     = "failed"
	outcomeRolledBack = "rolled-back" // the new release was refused and the old one is kept
	outcomeRefused    = "refused"     // the configuration was not changed
	outcomeOpen       = "open"        // nobody waited for the end
	outcomeUnchanged  = "unchanged"   // there was nothing to change
)

// outcome is what came out of a change of one app: the shape scripts read.
type outcome struct {
	App     string             `json:"app"`
	Index   uint64             `json:"index"`
	Release uint64             `json:"release"`
	Outcome string             `json:"outcome"`
	Error   string             `json:"error"`
	Nodes   []api.NodeProgress `json:"nodes"`
	Refused *api.Refusal       `json:"refused,omitempty"`
}

func (o outcome) exitCode() int {
	switch o.Outcome {
	case outcomeRolledBack, outcomeRefused:
		return exitRefused
	case outcomeFailed:
		return exitFailed
	}
	return exitDone
}

// changeFlags are the flags of the verbs that change an app.
type changeFlags struct {
	*target
	detach bool
	wait   time.Duration
}

func declareChange(fs *flag.FlagSet) *changeFlags {
	f := &changeFlags{target: declareTarget(fs), wait: 10 * time.Minute}
	fs.BoolVar(&f.detach, "detach", false, "do not wait until it is done")
	fs.Var(timeFlag{&f.wait}, "wait", "`time` how long to wait at most (default 10m)")
	return f
}

// change is one verb's way to change an app.
type change struct {
	do   func(ctx context.Context, client *api.Client, name string) (api.Change, error)
	done func(o outcome) string // the result in words
	same string                 // what to do with an app that do found unchanged
	any  bool                   // it is done when the nodes run what they may, however far a rollout is
}

// run changes the apps one after the other and reports on each. It goes on after a failure: the apps are independent,
// and the operator wants to see all of it.
func (f *changeFlags) run(ctx context.Context, c *console, client *api.Client, names []string, ch change) error {
	outcomes := []outcome{}
	code := exitDone
	for _, name := range names {
		o, err := f.one(ctx, c, client, name, ch)
		var dial *dialError
		if errors.As(err, &dial) {
			return err
		}
		if err != nil {
			c.printError(err)
			o.Error = err.Error()
		} else if !f.json {
			if err := c.print("%s", ch.result(o)); err != nil {
				return err
			}
		}
		outcomes = append(outcomes, o)
		code = max(code, o.exitCode())
		if ctx.Err() != nil {
			code = max(code, exitFailed)
			break
		}
	}
	if f.json {
		if err := c.printJSON(outcomes); err != nil {
			return err
		}
	}
	if code != exitDone {
		return quiet{code: code}
	}
	return nil
}

func (ch change) result(o outcome) string {
	switch {
	case o.Outcome == outcomeOpen:
		return o.App + ": the change is on its way; look with: meshnode describe " + o.App
	case o.Outcome == outcomeUnchanged && ch.same != "":
		return o.App + ": unchanged; " + ch.same
	case o.Outcome == outcomeUnchanged:
		return o.App + ": unchanged"
	}
	return ch.done(o)
}

// one changes one app and waits for the end.
func (f *changeFlags) one(ctx context.Context, c *console, client *api.Client, name string, ch change) (outcome, error) {
	o := outcome{App: name, Outcome: outcomeFailed, Nodes: []api.NodeProgress{}}
	changed, err := ch.do(ctx, client, name)
	switch {
	case errors.Is(err, errUnchanged):
		o.Outcome, o.Release = outcomeUnchanged, changed.Release
		return o, nil
	case err != nil && ctx.Err() != nil:
		return o, fmt.Errorf("%s: interrupted, and it is not known whether the change was made; look with: meshnode describe %s", name, name)
	case err != nil && exitCode(err) == exitRefused:
		o.Outcome = outcomeRefused
		return o, err
	case err != nil:
		return o, err
	}
	o.Index, o.Release = changed.Index, changed.Release
	if f.detach {
		o.Outcome = outcomeOpen
		return o, nil
	}
	return (&waiter{console: c, client: client, limit: f.wait, any: ch.any}).wait(ctx, o)
}

// changeNamed is the whole of a verb that changes the apps its arguments name. Of an app file, its apps are meant.
func changeNamed(f *changeFlags, file *fileFlags, ch change) action {
	return func(ctx context.Context, c *console, in input) error {
		args, err := file.named(ctx, c, append(in.args, in.after...))
		if err != nil {
			return err
		}
		return f.with(c, func(client *api.Client) error {
			apps, err := names(ctx, client, args)
			if err != nil {
				return err
			}
			if len(apps) == 0 {
				c.say("there are no apps")
			}
			return f.run(ctx, c, client, apps, ch)
		})
	}
}
