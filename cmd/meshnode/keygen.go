package main

import (
	"context"
	"flag"
)

func keygenVerb() verb {
	return verb{
		name: "keygen", brief: "print a new cluster key",
		more: []string{
			"Whoever holds the key can join the cluster and read what its servers tell each other. A",
			"founding node makes one by itself, so this is needed only to hand the same key to all",
			"servers beforehand.",
		},
		examples: []string{"(umask 077; meshnode keygen > cluster.key)"},
		declare: func(fs *flag.FlagSet) action {
			var asJSON bool
			fs.BoolVar(&asJSON, "json", false, "print JSON, for scripts")
			return func(_ context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				key, err := c.newKey()
				if err != nil {
					return err
				}
				if asJSON {
					return c.printJSON(map[string]string{"key": key})
				}
				return c.print("%s", key)
			}
		},
	}
}
