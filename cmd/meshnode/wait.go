package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"meshnode/node/api"
)

// patience is how long the node may give no answer while a change is waited for. The change itself does not need it.
const patience = 10 * time.Second

// waiter follows a change to its end and shows how it comes along.
type waiter struct {
	*console
	client *api.Client
	limit  time.Duration
	any    bool              // see change
	shown  map[string]string // by node: the last line shown
}

// wait returns the outcome of the change that o names. The error says in words why it is not done.
func (w *waiter) wait(ctx context.Context, o outcome) (outcome, error) {
	w.shown = map[string]string{}
	bounded, cancel := context.WithTimeout(ctx, w.limit)
	defer cancel()
	tick := time.NewTicker(w.poll)
	defer tick.Stop()
	answered := time.Now()
	for {
		p, err := w.ask(bounded, o)
		switch {
		case err == nil:
			answered = time.Now()
			w.show(p)
			o.Nodes, o.Refused = append([]api.NodeProgress{}, p.Nodes...), p.Refused
			if p.Done {
				w.showTail(o.Refused)
				return judge(o)
			}
		case bounded.Err() != nil: // told below
		case isFinal(err) || time.Since(answered) > patience:
			return w.lost(o, plainError(err))
		}
		select {
		case <-tick.C:
		case <-bounded.Done():
			return w.left(ctx, o)
		}
	}
}

func (w *waiter) ask(ctx context.Context, o outcome) (api.Progress, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	release := o.Release
	if w.any {
		release = 0
	}
	return w.client.Progress(ctx, o.App, release)
}

// isFinal reports whether asking again is of no use.
func isFinal(err error) bool {
	code := api.CodeOf(err)
	return code != "" && code != api.CodeUnavailable
}

// overRestart asks again and again, until it is told that something is over, for limit at most. The node is replaced in the middle of it and gives no answer for
// a moment. goesOn says what becomes of it when the operator does not wait.
func overRestart[T any](ctx context.Context, c *console, limit time.Duration, goesOn string, ask func(context.Context) (out T, over bool, err error)) (T, error) {
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(c.poll)
	defer tick.Stop()
	for {
		asked, stop := context.WithTimeout(bounded, patience)
		out, over, err := ask(asked)
		stop()
		if err == nil && over || isFinal(err) {
			return out, err
		}
		select {
		case <-tick.C:
		case <-bounded.Done():
			if ctx.Err() != nil {
				return out, fmt.Errorf("not waiting any longer, %s", goesOn)
			}
			return out, fmt.Errorf("not done after %s; look at the node's own output", limit)
		}
	}
}

// left is the end of a wait that was given up, by the operator or by the time limit.
func (w *waiter) left(ctx context.Context, o outcome) (outcome, error) {
	o.Outcome = outcomeFailed
	if ctx.Err() != nil {
		return o, fmt.Errorf("%s: not waiting any longer, the change goes on; look with: meshnode describe %s", o.App, o.App)
	}
	return o, fmt.Errorf("%s: not done after %s, the change goes on; look with: meshnode describe %s", o.App, w.limit, o.App)
}

// lost is the end of a wait because the node does not answer any more.
func (w *waiter) lost(o outcome, err error) (outcome, error) {
	o.Outcome = outcomeFailed
	return o, fmt.Errorf("%s: the change is made, but how far it is cannot be told: %w", o.App, err)
}

// show prints a line for every node whose state has changed.
func (w *waiter) show(p api.Progress) {
	for _, n := range p.Nodes {
		if n.State == api.StateWaiting {
			continue
		}
		line := progressLine(n)
		if p.Refused != nil {
			line = fmt.Sprintf("release %d, %s", p.Refused.Kept, line)
		}
		if w.shown[n.Node] != line {
			w.shown[n.Node] = line
			w.say("%s on %s: %s", p.App, n.Node, line)
		}
	}
}

// showTail prints the last output of the worker that a release was refused for.
func (w *waiter) showTail(r *api.Refusal) {
	if r == nil || len(r.Tail) == 0 {
		return
	}
	w.say("the last lines of its worker on %s:", r.Node)
	for _, line := range r.Tail {
		w.say("  %s", line)
	}
}

func progressLine(n api.NodeProgress) string {
	ready := fmt.Sprintf("%d of %s ready", n.Ready, plural(n.Want, "worker"))
	switch {
	case n.State == api.StateFailed:
		return "failed: " + orUnknown(n.Error)
	case n.State == api.StateWaiting:
		return "waits for its turn"
	case n.State == api.StateDone && n.Want == 0:
		return "done, no worker runs"
	case n.State == api.StateDone:
		return "done, " + ready
	case n.Want == 0:
		return "its workers finish their connections and stop"
	default:
		return ready
	}
}

func orUnknown(reason string) string {
	if reason == "" {
		return "no reason is known; look with: meshnode logs"
	}
	return reason
}

// judge tells from the nodes' last states what came out.
func judge(o outcome) (outcome, error) {
	var reasons []string // each said once, behind the nodes it holds for
	nodes := make(map[string][]string)
	kept := uint64(0)
	for _, n := range o.Nodes {
		if n.State != api.StateFailed {
			continue
		}
		why := orUnknown(n.Error)
		if nodes[why] == nil {
			reasons = append(reasons, why)
		}
		nodes[why] = append(nodes[why], n.Node)
		if n.Release != 0 && n.Release != o.Release {
			kept = n.Release
		}
	}
	for i, why := range reasons {
		reasons[i] = strings.Join(nodes[why], ", ") + ": " + why
	}
	switch {
	case o.Refused != nil:
		return refused(o, reasons)
	case len(reasons) == 0:
		o.Outcome = outcomeDone
		return o, nil
	case kept != 0:
		o.Outcome = outcomeRolledBack
		return o, fmt.Errorf("%s: release %d is refused, release %d goes on (%s)", o.App, o.Release, kept, strings.Join(reasons, "; "))
	default:
		o.Outcome = outcomeFailed
		return o, errors.New(o.App + ": does not run (" + strings.Join(reasons, "; ") + "); look with: meshnode logs " + o.App)
	}
}

// refused is the outcome of a release that was rolled back everywhere; failing says where that did not work either.
func refused(o outcome, failing []string) (outcome, error) {
	o.Outcome = outcomeRolledBack
	why := o.Refused.Reason
	if o.Refused.Node != "" {
		why = o.Refused.Node + ": " + why
	}
	text := fmt.Sprintf("%s: release %d is refused, release %d goes on everywhere (%s)", o.App, o.Refused.Release, o.Refused.Kept, why)
	if len(failing) > 0 {
		text = fmt.Sprintf("%s: release %d is refused (%s), and release %d does not start again (%s); look with: meshnode describe %s",
			o.App, o.Refused.Release, why, o.Refused.Kept, strings.Join(failing, "; "), o.App)
	}
	return o, errors.New(text)
}

// running is the result of a change after which the app runs.
func running(o outcome) string {
	ready, want, nodes := 0, 0, 0
	for _, n := range o.Nodes {
		ready += n.Ready
		want += n.Want
		if n.Want > 0 {
			nodes++
		}
	}
	if want == 0 {
		return fmt.Sprintf("%s: release %d, no workers are wanted", o.App, o.Release)
	}
	return fmt.Sprintf("%s: release %d runs, %d of %s ready on %s", o.App, o.Release, ready, plural(want, "worker"), plural(nodes, "node"))
}
