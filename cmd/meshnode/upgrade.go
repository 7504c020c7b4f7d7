package main

import (
	"context"
	"flag"
	"time"

	"meshnode/node/api"
)

// upgradeLimit is how long the node may take to change over: its own limits add up to less.
const upgradeLimit = 2 * time.Minute

func upgradeVerb() verb {
	return verb{
		name: "upgrade", aliases: []string{"update"}, args: "<binary>", brief: "run this server's node from another binary, with no worker restarted",
		more: []string{
			"The new binary takes over workers, listening sockets and logs; no connection is lost. One",
			"that does not come up is ended, and the former one goes on: exit code 2. Upgrade one",
			"server after the other.",
		},
		examples: []string{"meshnode upgrade /usr/local/bin/meshnode", "meshnode upgrade ./meshnode-1.3"},
		declare: func(fs *flag.FlagSet) action {
			f := declareTarget(fs)
			return func(ctx context.Context, c *console, in input) error {
				args := append(in.args, in.after...)
				if len(args) != 1 {
					return usagef("which binary? give its path")
				}
				return f.with(c, func(client *api.Client) error { return upgrade(ctx, c, client, c.path(args[0]), f.json) })
			}
		},
	}
}

func upgrade(ctx context.Context, c *console, client *api.Client, path string, asJSON bool) error {
	begun, err := client.Upgrade(ctx, path)
	if err != nil {
		return err
	}
	c.say("%s is able to run here, and takes over", begun.Version)
	out, err := upgraded(ctx, c, client)
	if err != nil {
		return err
	}
	if asJSON {
		if err := c.printJSON(out); err != nil {
			return err
		}
	} else if out.Error == "" {
		if err := c.print("the node runs %s from %s", out.Version, out.Path); err != nil {
			return err
		}
	}
	if out.Error != "" {
		c.say("meshnode: %s did not take over: %s; the former binary goes on (%s)", path, out.Error, out.Version)
		return quiet{exitRefused}
	}
	return nil
}

// upgraded waits until the upgrade is over.
func upgraded(ctx context.Context, c *console, client *api.Client) (api.Upgrade, error) {
	return overRestart(ctx, c, upgradeLimit, "the upgrade goes on; look with: meshnode version", func(ctx context.Context) (api.Upgrade, bool, error) {
		out, err := client.UpgradeOutcome(ctx)
		return out, !out.Running, err
	})
}
