package main

import (
	"context"
	"flag"
	"fmt"
	"strings"

	"meshnode/node/api"
)

func keyVerb() verb {
	return verb{
		name: "key", args: "rotate", brief: "put a new cluster key in the place of the present one, on every server, without an interruption",
		more: []string{
			"All servers take both keys, then all use the new one, then all forget the old one; each step is",
			"made everywhere before the next. A server that is down is named, and nothing is done, unless",
			"-force leaves it out: it must then be admitted again. If it stops on the way, repeat it: it",
			"goes on from where it is. Join tokens and operators' certificates do not outlive the key. The",
			"new one is in cluster.key.",
		},
		examples: []string{"meshnode key rotate", "meshnode key rotate -force"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			force := fs.Bool("force", false, "leave out servers that are down")
			return func(ctx context.Context, c *console, in input) error {
				words := append(in.args, in.after...)
				switch {
				case len(words) == 0:
					return usagef("rotate?")
				case words[0] != "rotate":
					return usagef("there is no %q of a key; there is rotate", words[0])
				case len(words) > 1:
					return usagef("%q is one argument too many", words[1])
				}
				return t.with(c, func(client *api.Client) error { return t.rotate(ctx, c, client, *force) })
			}
		},
	}
}

func (t *target) rotate(ctx context.Context, c *console, client *api.Client, force bool) error {
	r, err := client.RotateKey(ctx, force)
	switch {
	case err != nil:
		return err
	case t.json:
		return c.printJSON(r)
	}
	text := fmt.Sprintf("the cluster key is replaced on %s", plural(len(r.Nodes), "server"))
	if len(r.Left) > 0 {
		text += "; to be admitted again: " + strings.Join(r.Left, ", ")
	}
	if len(r.Operators) > 0 {
		text += "; to be given another certificate: " + strings.Join(r.Operators, ", ")
	}
	return c.print("%s", text)
}
