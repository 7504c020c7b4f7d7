package main

import (
	"context"
	"flag"

	"meshnode/node/api"
)

func stopVerb() verb {
	return verb{
		name: "stop", args: "<app|namespace|/regex/|file>...|all", brief: "stop an app's workers and keep the app",
		more:     []string{"Open connections may finish first, up to the app's drain timeout."},
		examples: []string{"meshnode stop api", "meshnode start api"},
		declare: func(fs *flag.FlagSet) action {
			return changeNamed(declareChange(fs), declareFile(fs, "env"), change{
				do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
					return client.Stop(ctx, name)
				},
				done: func(o outcome) string {
					return o.App + ": stopped; start it again with: meshnode start " + o.App
				},
			})
		},
	}
}
