package main

import (
	"context"
	"flag"

	"meshnode/node/api"
	"meshnode/store/spec"
)

func restartVerb() verb {
	return verb{
		name: "restart", aliases: []string{"startOrRestart"}, args: "<app|namespace|/regex/|file>...|all", brief: "stop an app's workers, then start them anew",
		more: []string{
			"Each old worker ends before its successor starts: for programs that cannot run twice at a",
			"time. To lose no connection, use reload.",
			"Of an app file, its apps become what the file says, and those that have not changed are",
			"restarted all the same: the way to deploy.",
		},
		examples: []string{"meshnode restart api"},
		declare: func(fs *flag.FlagSet) action {
			return renew(fs, spec.OrderStopFirst, change{
				do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
					return client.Reload(ctx, name, spec.OrderStopFirst)
				},
				done: running,
			})
		},
	}
}
