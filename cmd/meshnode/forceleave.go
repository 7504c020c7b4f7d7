package main

import (
	"context"
	"errors"
	"flag"
	"slices"
	"time"

	"meshnode/node/api"
)

func forceLeaveVerb() verb {
	return verb{
		name: "force-leave", args: "<server>", brief: "take a server that has failed for good out of the cluster",
		more: []string{
			"Its vote goes to another server, and nobody calls it or counts on it any more. If it is",
			"started again all the same, it comes back as a server without a vote.",
		},
		examples: []string{"meshnode force-leave web3"},
		declare: func(fs *flag.FlagSet) action {
			f := declareChange(fs)
			return func(ctx context.Context, c *console, in input) error {
				if len(in.args) != 1 || len(in.after) > 0 {
					return usagef("name one server, as `meshnode members` shows it")
				}
				return f.with(c, func(client *api.Client) error { return f.forceLeave(ctx, c, client, in.args[0]) })
			}
		},
	}
}

func (f *changeFlags) forceLeave(ctx context.Context, c *console, client *api.Client, node string) error {
	if err := client.ForceLeave(ctx, node); err != nil {
		return err
	}
	if !f.detach {
		if err := f.waitGone(ctx, c, client, node); err != nil {
			return err
		}
	}
	switch {
	case f.json:
		return c.printJSON(map[string]any{"node": node, "removed": !f.detach})
	case f.detach:
		return c.print("%s is being taken out of the cluster", node)
	default:
		return c.print("%s is taken out of the cluster", node)
	}
}

// waitGone returns when the configuration knows the server no longer.
func (f *changeFlags) waitGone(ctx context.Context, c *console, client *api.Client, node string) error {
	bounded, cancel := context.WithTimeout(ctx, f.wait)
	defer cancel()
	tick := time.NewTicker(c.poll)
	defer tick.Stop()
	for {
		status, err := client.Status(bounded)
		if err != nil && bounded.Err() == nil {
			return err
		}
		if err == nil && !slices.ContainsFunc(status.Members, func(m api.MemberStatus) bool { return m.Node == node && m.Role != "" }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-bounded.Done():
			return errors.New("not waiting any longer; the leader takes the server out as soon as that leaves enough votes")
		}
	}
}
