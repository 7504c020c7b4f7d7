package main

import (
	"context"
	"flag"
	"strings"
)

func validateVerb() verb {
	return verb{
		name: "validate", args: "[file]", brief: "check an app file; no node is needed",
		more: []string{
			"Every problem is shown at once, with its place. -json prints the apps as they would be",
			"handed to the cluster.",
		},
		examples: []string{"meshnode validate ecosystem.config.js", "meshnode validate meshnode.yaml -env production -json"},
		declare: func(fs *flag.FlagSet) action {
			file := declareFile(fs, "env")
			var asJSON bool
			fs.BoolVar(&asJSON, "json", false, "print JSON, for scripts")
			return func(ctx context.Context, c *console, in input) error {
				word, err := c.oneFile(in)
				if err != nil {
					return err
				}
				apps, err := file.load(ctx, c, word)
				switch {
				case err != nil:
					return err
				case asJSON:
					for i := range apps {
						apps[i] = apps[i].WithDefaults()
					}
					return c.printJSON(apps)
				}
				names := make([]string, len(apps))
				for i, app := range apps {
					names[i] = app.Name
				}
				return c.print("%s is good: %s: %s", word, plural(len(apps), "app"), strings.Join(names, ", "))
			}
		},
	}
}
