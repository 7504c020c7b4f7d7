package main

import (
	"context"
	"flag"
	"slices"
	"strings"

	"meshnode/node/api"
)

func flushVerb() verb {
	return verb{
		name: "flush", args: "[app]", brief: "empty the log files, on every server",
		more:     []string{"What workers have printed so far is gone; they go on printing."},
		examples: []string{"meshnode flush api", "meshnode flush"},
		declare: func(fs *flag.FlagSet) action {
			return order(declareTarget(fs), api.OrderFlush, "log files are emptied")
		},
	}
}

func reloadLogsVerb() verb {
	return verb{
		name: "reloadLogs", aliases: []string{"reopen-logs"}, args: "[app]", brief: "open the log files anew, on every server",
		more:     []string{"For a logrotate of your own that has moved them away; meshnode needs none."},
		examples: []string{"meshnode reloadLogs"},
		declare: func(fs *flag.FlagSet) action {
			return order(declareTarget(fs), api.OrderReopen, "log files are opened anew")
		},
	}
}

func resetVerb() verb {
	return verb{
		name: "reset", args: "[app]", brief: "count restarts from 0, on every server",
		examples: []string{"meshnode reset api", "meshnode reset all"},
		declare: func(fs *flag.FlagSet) action {
			return order(declareTarget(fs), api.OrderReset, "restarts are counted from 0")
		},
	}
}

func signalVerb() verb {
	return verb{
		name: "signal", aliases: []string{"sendSignal"}, args: "<signal> <app>", brief: "send a signal to every worker of an app, on every server",
		more:     []string{"To the workers' own processes, not to those they have started."},
		examples: []string{"meshnode signal SIGUSR2 api", "meshnode signal HUP all"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			return func(ctx context.Context, c *console, in input) error {
				args := append(slices.Clone(in.args), in.after...)
				if len(args) != 2 {
					return usagef("which signal, to which app? give both, like: SIGUSR2 api")
				}
				name := strings.ToUpper(args[0])
				if !strings.HasPrefix(name, "SIG") {
					name = "SIG" + name
				}
				return t.tend(ctx, c, api.Order{What: api.OrderSignal, Signal: name, App: appOrAll(args[1])}, name+" is sent")
			}
		},
	}
}

func appOrAll(word string) string {
	if word == allApps {
		return ""
	}
	return word
}

// order is the action of a verb that gives an order to one app's workers, or to all.
func order(t *target, what, done string) action {
	return func(ctx context.Context, c *console, in input) error {
		app, err := in.oneApp()
		if err != nil {
			return err
		}
		return t.tend(ctx, c, api.Order{What: what, App: app}, done)
	}
}

// tend carries out an order, and says what became of it on each node.
func (t *target) tend(ctx context.Context, c *console, o api.Order, done string) error {
	var answers []api.OrderAnswer
	err := t.with(c, func(client *api.Client) (err error) {
		answers, err = client.Tend(ctx, o)
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
			if err := c.print("%s: %s", a.Node, done); err != nil {
				return err
			}
		}
	}
	if failed {
		return quiet{code: exitFailed}
	}
	return nil
}
