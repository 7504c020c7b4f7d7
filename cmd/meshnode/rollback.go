package main

import (
	"context"
	"flag"
	"strconv"

	"meshnode/node/api"
)

func rollbackVerb() verb {
	return verb{
		name: "rollback", args: "<app> [release]", brief: "go back to a former release of an app",
		more: []string{
			"Without a number it is the last one that served before the present one. It comes back as a new",
			"release, and is rolled out with the same care. While a release is being rolled out, rollback",
			"takes that one back. Files are not kept: put the old ones in place before.",
		},
		examples: []string{"meshnode rollback api", "meshnode rollback api 3"},
		declare: func(fs *flag.FlagSet) action {
			f := declareChange(fs)
			return func(ctx context.Context, c *console, in input) error {
				args := append(in.args, in.after...)
				if len(args) < 1 || len(args) > 2 {
					return usagef("give an app and, if you like, a release: meshnode rollback api 3")
				}
				release := uint64(0)
				if len(args) == 2 {
					n, err := strconv.ParseUint(args[1], 10, 64)
					if err != nil || n == 0 {
						return usagef("%q is no number of a release; see: meshnode releases %s", args[1], args[0])
					}
					release = n
				}
				if args[0] == allApps {
					return usagef("name the app: releases are counted for each by itself")
				}
				return changeNamed(f, &fileFlags{}, change{
					do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
						return client.Rollback(ctx, name, release)
					},
					done: running,
				})(ctx, c, input{args: args[:1]})
			}
		},
	}
}
