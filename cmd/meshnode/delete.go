package main

import (
	"context"
	"flag"

	"meshnode/node/api"
)

func deleteVerb() verb {
	return verb{
		name: "delete", aliases: []string{"del", "rm"}, args: "<app|namespace|/regex/|file>...|all", brief: "stop an app's workers and forget the app",
		more:     []string{"Open connections may finish first, up to the app's drain timeout. Files are not touched."},
		examples: []string{"meshnode delete api"},
		declare: func(fs *flag.FlagSet) action {
			return changeNamed(declareChange(fs), declareFile(fs, "env"), change{
				do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
					return client.Delete(ctx, name)
				},
				done: func(o outcome) string { return o.App + ": deleted" },
			})
		},
	}
}
