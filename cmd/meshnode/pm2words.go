package main

import (
	"context"
	"flag"
)

// wordVerb is a word of PM2's that has nothing to do here. It says why, and what does it in its place.
func wordVerb(name, brief, says string) verb {
	return verb{
		name: name, brief: brief, examples: []string{"meshnode " + name},
		declare: func(*flag.FlagSet) action {
			return func(_ context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				return c.print("%s", says)
			}
		},
	}
}

func saveVerb() verb {
	return wordVerb("save", "PM2's: nothing to do here, all is saved already",
		"everything is saved already: the cluster keeps its apps on the disks of its servers, also over a reboot")
}

func resurrectVerb() verb {
	return wordVerb("resurrect", "PM2's: nothing to do here, apps come back with the node",
		"nothing to do: apps come back by themselves when the node starts; to have it start with the server: meshnode startup")
}
