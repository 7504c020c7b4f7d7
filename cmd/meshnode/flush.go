package main

import (
	"context"
	"flag"

	"meshnode/node/api"
)

func flushVerb() verb {
	return verb{
		name: "flush", args: "[app]", brief: "empty the log files, on every server",
		more:     []string{"What workers have printed so far is gone; they go on printing."},
		examples: []string{"meshnode flush api", "meshnode flush"},
		declare:  func(fs *flag.FlagSet) action { return tendLogs(declareTarget(fs), api.LogFlush, "emptied") },
	}
}

func reloadLogsVerb() verb {
	return verb{
		name: "reloadLogs", aliases: []string{"reopen-logs"}, args: "[app]", brief: "open the log files anew, on every server",
		more:     []string{"For a logrotate of your own that has moved them away; meshnode needs none."},
		examples: []string{"meshnode reloadLogs"},
		declare:  func(fs *flag.FlagSet) action { return tendLogs(declareTarget(fs), api.LogReopen, "opened anew") },
	}
}

// tendLogs carries out an order about log files, and says what became of it on each node.
func tendLogs(t *target, order, done string) action {
	return func(ctx context.Context, c *console, in input) error {
		app, err := in.oneApp()
		if err != nil {
			return err
		}
		var answers []api.LogAnswer
		err = t.with(c, func(client *api.Client) error {
			answers, err = client.TendLogs(ctx, order, app)
			return err
		})
		if err != nil {
			return err
		}
		if t.json {
			if err := c.printJSON(answers); err != nil {
				return err
			}
		}
		failed := false
		for _, a := range answers {
			switch {
			case a.Error != "":
				failed = true
				c.say("meshnode: %s: %s", a.Node, a.Error)
			case !t.json:
				if err := c.print("%s: log files are %s", a.Node, done); err != nil {
					return err
				}
			}
		}
		if failed {
			return quiet{code: exitFailed}
		}
		return nil
	}
}
