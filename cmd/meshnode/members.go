package main

import (
	"context"
	"flag"
)

func membersVerb() verb {
	return verb{
		name: "members", brief: "list the servers of the cluster",
		examples: []string{"meshnode members", "meshnode members -json"},
		declare: func(fs *flag.FlagSet) action {
			t, node := declareTarget(fs), declareNode(fs)
			return func(ctx context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				status, err := t.status(ctx, c, *node)
				switch {
				case err != nil:
					return err
				case t.json:
					return c.printJSON(status.Members)
				}
				return c.printText(membersTable(status.Members))
			}
		},
	}
}
