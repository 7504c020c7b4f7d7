package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"meshnode/node/api"
)

// recoverLimit is how long the node may take to start anew and to become the leader: its own limits add up to less.
const recoverLimit = 3 * time.Minute

func recoverVerb() verb {
	return verb{
		name: "recover", args: "-lost <server>,...", brief: "go on without a majority of the voting servers that is gone for good",
		more: []string{
			"Run it on a server that is left. It is refused while a majority could still come together,",
			"and where another server has more of the configuration; it says which. Workers and",
			"connections are not touched. This server becomes the only voter, the others that are left",
			"follow it, and they and new ones get votes by themselves. A server that was given up and",
			"comes back is told to end; empty its data folder, and it joins as a new one.",
			"Without -lost it says which servers cannot be reached.",
		},
		examples: []string{"meshnode recover -lost web-1,web-3", "meshnode recover -lost web-1,web-3 -yes"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			var lost string
			var yes bool
			fs.StringVar(&lost, "lost", "", "`servers` names of the voting servers that are gone for good, like web-1,web-3")
			fs.BoolVar(&yes, "yes", false, "do not ask")
			return func(ctx context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				return t.with(c, func(client *api.Client) error { return t.recover(ctx, c, client, words(lost), yes) })
			}
		},
	}
}

// words are the parts of a list with commas.
func words(list string) []string {
	return strings.FieldsFunc(list, func(r rune) bool { return r == ',' || r == ' ' })
}

func (t *target) recover(ctx context.Context, c *console, client *api.Client, lost []string, yes bool) error {
	plan, err := client.Recover(ctx, api.RecoverRequest{Lost: lost, DryRun: true})
	if err != nil {
		return err
	}
	c.say("%s", recoveryText(plan))
	if !yes && !c.confirm("Give up "+lostNames(plan.Lost)+" for good?") {
		c.say("meshnode: nothing was changed")
		return quiet{exitRefused}
	}
	if _, err := client.Recover(ctx, api.RecoverRequest{Lost: lost}); err != nil {
		return err
	}
	c.say("the node starts anew, its workers go on")
	out, err := recovered(ctx, c, client)
	if err != nil {
		return err
	}
	if t.json {
		if err := c.printJSON(out); err != nil {
			return err
		}
	}
	switch {
	case out.Error != "":
		c.say("meshnode: nothing was changed: %s", out.Error)
		return quiet{exitFailed}
	case t.json:
		return nil
	}
	return c.print("%s leads the cluster, without %s; start new servers with -join, and they get votes by themselves", out.Node, lostNames(out.Lost))
}

// recoveryText says what a recovery would do, and what nobody can know.
func recoveryText(r api.Recovery) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d voting servers cannot be reached:\n", len(r.Lost), r.Voters)
	var t table
	for _, s := range r.Lost {
		t.row("  "+s.Node, s.Addr, s.ID)
	}
	b.WriteString(t.String())
	fmt.Fprintf(&b, "%s goes on with the configuration that it has, index %d, as the only voter.\n", r.Node, r.Index)
	if len(r.Others) > 0 {
		fmt.Fprintf(&b, "The others that answer follow it: %s.\n", strings.Join(r.Others, ", "))
	}
	b.WriteString("What cannot be seen from here: whether they are only cut off. Servers that live on a side of their\n" +
		"own go on there with a configuration of their own until they reach this cluster again, and are then\n" +
		"told to end. A change that only they have is lost.")
	return b.String()
}

func lostNames(lost []api.LostServer) string {
	out := make([]string, len(lost))
	for i, s := range lost {
		out[i] = s.Node
	}
	return strings.Join(out, ", ")
}

// recovered waits until the recovery is over.
func recovered(ctx context.Context, c *console, client *api.Client) (api.Recovery, error) {
	return overRestart(ctx, c, recoverLimit, "the recovery goes on; look with: meshnode status", func(ctx context.Context) (api.Recovery, bool, error) {
		out, err := client.Recovered(ctx)
		return out, !out.Running && (out.Node != "" || out.Error != ""), err
	})
}
