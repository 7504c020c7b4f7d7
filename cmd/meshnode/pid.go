package main

import (
	"context"
	"flag"
	"slices"
	"strconv"

	"meshnode/node/api"
)

func pidVerb() verb {
	return verb{
		name: "pid", args: "<app>", brief: "print the process numbers of an app's workers",
		more: []string{
			"One a line. When workers of several servers are among them, the server's name stands before",
			"each; -node narrows it to one.",
		},
		examples: []string{"meshnode pid api", "kill -USR2 $(meshnode pid api -node web-1)"},
		declare: func(fs *flag.FlagSet) action {
			t, node := declareTarget(fs), declareNode(fs)
			return func(ctx context.Context, c *console, in input) error {
				app, err := in.oneApp()
				if err != nil {
					return err
				}
				workers, err := t.workers(ctx, c, []string{app}, *node)
				if err != nil {
					return err
				}
				workers = slices.DeleteFunc(workers, func(w api.WorkerStatus) bool { return w.PID == 0 })
				if t.json {
					return c.printJSON(workers)
				}
				several := slices.ContainsFunc(workers, func(w api.WorkerStatus) bool { return w.Node != workers[0].Node })
				for _, w := range workers {
					line := strconv.Itoa(w.PID)
					if several {
						line = w.Node + " " + line
					}
					if err := c.print("%s", line); err != nil {
						return err
					}
				}
				return nil
			}
		},
	}
}
