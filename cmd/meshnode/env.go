package main

import (
	"context"
	"flag"
	"maps"
	"slices"

	"meshnode/node/api"
)

func envVerb() verb {
	return verb{
		name: "env", args: "<app>", brief: "print the variables of an app, with their values",
		more: []string{
			"Those that its workers get from the node's own environment are not among them. In the place of",
			"a secret value stands (secret), and a viewer from elsewhere sees (hidden) for all.",
		},
		examples: []string{"meshnode env api"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			return func(ctx context.Context, c *console, in input) error {
				app, err := in.oneApp()
				if err != nil || app == "" {
					return firstError(err, usagef("which app? give its name"))
				}
				return t.with(c, func(client *api.Client) error {
					d, err := client.Describe(ctx, app)
					if err != nil {
						return err
					}
					env := map[string]string{}
					maps.Copy(env, d.App.Env)
					maps.Copy(env, d.App.Process.SecretEnv)
					if t.json {
						return c.printJSON(env)
					}
					for _, name := range slices.Sorted(maps.Keys(env)) {
						if err := c.print("%s=%s", name, env[name]); err != nil {
							return err
						}
					}
					return nil
				})
			}
		},
	}
}

// firstError returns the first error that there is.
func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
