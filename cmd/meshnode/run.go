package main

import (
	"context"
	"flag"

	"meshnode/node/config"
	"meshnode/store/spec"
)

func runVerb() verb {
	return verb{
		name: "run", args: "<script|program|file> [-- args]", brief: "run this server's node in the foreground, with an app on it",
		more: []string{
			"One command in place of two: meshnode, and meshnode start. Ctrl-C stops both. It takes the",
			"flags of the node and those of start. An app file must hold one app, or -only must pick it.",
		},
		examples: []string{"meshnode run server.js", "meshnode run -join a.example.com -i 4 server.js -- --verbose"},
		declare: func(fs *flag.FlagSet) action {
			node, f := config.NewFlags(fs), &startFlags{app: declareApp(fs), file: declareFile(fs, "")}
			return func(ctx context.Context, c *console, in input) error {
				switch len(in.args) {
				case 0:
					return usagef("what shall be run? name a script or a program")
				case 1:
				default:
					return usagef("%q is one argument too many; arguments for the app stand behind --", in.args[1])
				}
				if in.args[0] == "-" {
					return usagef("run reads its app anew when the node is started again; name a file")
				}
				return c.runWith(ctx, node, func(ctx context.Context) (*spec.App, error) { return f.one(ctx, c, in) })
			}
		},
	}
}

// one is the app that the verb run names.
func (f *startFlags) one(ctx context.Context, c *console, in input) (*spec.App, error) {
	if !isFile(in.args[0]) {
		a, err := f.app.app(c, in.args[0], in.after)
		return &a, err
	}
	apps, err := f.load(ctx, c, in)
	switch {
	case err != nil:
		return nil, err
	case len(apps) != 1:
		return nil, usagef("%s holds %d apps; pick one with -only, or run the node and then: meshnode start %s", in.args[0], len(apps), in.args[0])
	}
	return &apps[0], nil
}
