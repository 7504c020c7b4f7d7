package main

import (
	"context"
	"flag"
	"time"

	"meshnode/node/api"
)

func admitVerb() verb {
	return verb{
		name: "admit", args: "[code]", brief: "let a server in that has no cluster key; without a code, list those that wait",
		more: []string{
			"A server that is started with -join and no key shows a code and waits. Type that code here, on",
			"any server of the cluster: it is given the key, keeps it, and joins. Copy the code from its own",
			"screen and from nowhere else: it says to both sides that nobody is in between.",
		},
		examples: []string{"meshnode admit", "meshnode admit ABCD-EFGH-JKLM"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			return func(ctx context.Context, c *console, in input) error {
				words := append(in.args, in.after...)
				switch len(words) {
				case 0:
					return t.with(c, func(client *api.Client) error { return t.waiting(ctx, c, client) })
				case 1:
					return t.with(c, func(client *api.Client) error { return t.admit(ctx, c, client, words[0]) })
				}
				return usagef("%q is one argument too many; a code is one word", words[1])
			}
		},
	}
}

// waiting lists the servers that wait to be let in.
func (t *target) waiting(ctx context.Context, c *console, client *api.Client) error {
	list, err := client.Admissions(ctx)
	switch {
	case err != nil:
		return err
	case t.json:
		return c.printJSON(list)
	case len(list) == 0:
		return c.print("no server waits to be admitted")
	}
	table := newTable("NODE", "ADDR", "VERSION", "SINCE", "ASKS")
	for _, a := range list {
		table.row(a.Node, a.Addr, orDash(a.Version), utcTime(a.Since), a.Via)
	}
	return c.printText(table.String())
}

// utcTime shows a moment as all lists do.
func utcTime(t time.Time) string { return t.UTC().Format(time.DateTime + " UTC") }

// admit lets the server in that shows the code.
func (t *target) admit(ctx context.Context, c *console, client *api.Client, code string) error {
	a, err := client.Admit(ctx, code)
	switch {
	case err != nil:
		return err
	case t.json:
		return c.printJSON(a)
	}
	return c.print("admitted %s (%s): it has the cluster key now, and joins", a.Node, a.Addr)
}
