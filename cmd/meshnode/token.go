package main

import (
	"context"
	"flag"
	"fmt"
	"time"

	"meshnode/node/api"
	"meshnode/node/config"
)

// tokenFlags are the flags of the verb token.
type tokenFlags struct {
	*target
	ttl  time.Duration
	uses int
}

func tokenVerb() verb {
	return verb{
		name: "token", args: "create|list|revoke <id>", brief: "make a join token, which lets a server in in place of the key; list them, revoke one",
		more: []string{
			"A token lets so many servers in, for so long. Give it to one by MESHNODE_TOKEN or -token-file.",
			"It also names the cluster, so that it is told to a server of that cluster alone. It is shown",
			"once; the cluster keeps its hash.",
		},
		examples: []string{"meshnode token create", "meshnode token create -ttl 10m -uses 20", "meshnode token list", "meshnode token revoke 3f2a9c1e"},
		declare: func(fs *flag.FlagSet) action {
			f := &tokenFlags{target: declareTarget(fs), ttl: time.Hour}
			fs.Var(timeFlag{&f.ttl}, "ttl", "`time` create: how long it holds (default 1h)")
			fs.IntVar(&f.uses, "uses", 1, "`n` create: how many servers it lets in (default 1)")
			return func(ctx context.Context, c *console, in input) error {
				return f.act(ctx, c, append(in.args, in.after...))
			}
		},
	}
}

func (f *tokenFlags) act(ctx context.Context, c *console, words []string) error {
	if len(words) == 0 {
		return usagef("create, list or revoke?")
	}
	want := 1
	if words[0] == "revoke" {
		want = 2
	}
	switch {
	case len(words) > want:
		return usagef("%q is one argument too many", words[want])
	case words[0] == "create":
		return f.with(c, func(client *api.Client) error { return f.create(ctx, c, client) })
	case words[0] == "list":
		return f.with(c, func(client *api.Client) error { return f.list(ctx, c, client) })
	case words[0] == "revoke" && len(words) < want:
		return usagef("which token? give its id; see: meshnode token list")
	case words[0] == "revoke":
		return f.with(c, func(client *api.Client) error { return f.revoke(ctx, c, client, words[1]) })
	}
	if near := config.Nearest(words[0], []string{"create", "list", "revoke"}); near != "" {
		return usagef("there is no %q of tokens; did you mean %s?", words[0], near)
	}
	return usagef("there is no %q of tokens; there are create, list and revoke", words[0])
}

func (f *tokenFlags) create(ctx context.Context, c *console, client *api.Client) error {
	t, err := client.CreateToken(ctx, api.TokenRequest{Seconds: int64(f.ttl / time.Second), Uses: f.uses})
	switch {
	case err != nil:
		return err
	case f.json:
		return c.printJSON(t)
	}
	c.say("lets %s in until %s; start it with: MESHNODE_TOKEN=<this> meshnode -join %s", plural(t.Uses, "server"), utcTime(t.Expires), t.Join)
	return c.print("%s", t.Text)
}

func (f *tokenFlags) list(ctx context.Context, c *console, client *api.Client) error {
	list, err := client.Tokens(ctx)
	switch {
	case err != nil:
		return err
	case f.json:
		return c.printJSON(list)
	case len(list) == 0:
		return c.print("there is no token")
	}
	table := newTable("ID", "EXPIRES", ">USES")
	for _, t := range list {
		expires := utcTime(t.Expires)
		if t.Expired {
			expires += " (expired)"
		}
		table.row(t.ID, expires, fmt.Sprint(t.Uses))
	}
	return c.printText(table.String())
}

func (f *tokenFlags) revoke(ctx context.Context, c *console, client *api.Client, id string) error {
	if err := client.RevokeToken(ctx, id); err != nil {
		return err
	}
	if f.json {
		return c.printJSON(map[string]string{"revoked": id})
	}
	return c.print("revoked %s: it lets nobody in any more", id)
}
