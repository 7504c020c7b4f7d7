package main

import (
	"context"
	"flag"

	"meshnode/node/config"
)

func runVerb() verb {
	return verb{
		name: "run", args: "<script|program> [-- args]", brief: "run this server's node in the foreground, with an app on it",
		more: []string{
			"One command in place of two: meshnode, and meshnode start. Ctrl-C stops both. It takes the",
			"flags of the node and those of start.",
		},
		examples: []string{"meshnode run server.js", "meshnode run -join a.example.com -i 4 server.js -- --verbose"},
		declare: func(fs *flag.FlagSet) action {
			node, app := config.NewFlags(fs), declareApp(fs)
			return func(ctx context.Context, c *console, in input) error {
				switch len(in.args) {
				case 0:
					return usagef("what shall be run? name a script or a program")
				case 1:
				default:
					return usagef("%q is one argument too many; arguments for the app stand behind --", in.args[1])
				}
				a, err := app.app(c, in.args[0], in.after)
				if err != nil {
					return err
				}
				return c.runWith(ctx, node, &a)
			}
		},
	}
}
