package main

import (
	"context"
	"flag"

	"meshnode/node/api"
)

func reloadVerb() verb {
	return verb{
		name: "reload", aliases: []string{"startOrReload", "startOrGracefulReload", "gracefulReload"}, args: "<app|namespace|/regex/|file>...|all", brief: "replace an app's workers one by one, without losing a connection",
		more: []string{
			"One server after the other, and on each one worker after the other. A worker is taken out of",
			"the routing before it is told to stop. If a new one does not get ready, on whichever server,",
			"the release is refused: all servers keep the old one or go back to it; the exit code is 2.",
			"Of an app file, its apps become what the file says, and those that have not changed are",
			"reloaded all the same: the way to deploy.",
		},
		examples: []string{"meshnode reload api", "meshnode reload all", "meshnode reload ecosystem.config.js -env production"},
		declare: func(fs *flag.FlagSet) action {
			return renew(fs, "", change{
				do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
					return client.Reload(ctx, name, "")
				},
				done: running,
			})
		},
	}
}
