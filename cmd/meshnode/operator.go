package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"meshnode/node/api"
)

// operatorFlags are the flags of operator.
type operatorFlags struct {
	*target
	role string
	ttl  time.Duration
	out  string
}

func operatorVerb() verb {
	return verb{
		name: "operator", args: "create <name> | list | revoke <name>", brief: "let somebody use the cluster from elsewhere, with a certificate",
		more: []string{
			"create writes a file that holds a certificate and its private key: whoever has it may look",
			"(-role viewer) or look and change (-role admin), from any machine that reaches port 7946 of a",
			"server, until its time is over or it is revoked:",
			"",
			"  meshnode status -addr web-1:7946 -cert alice.pem",
			"",
			"A viewer sees no values of variables. What could outlive a certificate (operator create, admit)",
			"is done on a server itself. Of two certificates of one name the newer counts. Another cluster",
			"key ends all of them.",
		},
		examples: []string{"meshnode operator create alice", "meshnode operator create -role admin -ttl 8h -out ci.pem ci", "meshnode operator list", "meshnode operator revoke alice"},
		declare: func(fs *flag.FlagSet) action {
			f := &operatorFlags{target: declareTarget(fs), ttl: 720 * time.Hour}
			fs.StringVar(&f.role, "role", api.RoleViewer, "`role` viewer or admin (default viewer)")
			fs.Var(timeFlag{&f.ttl}, "ttl", "`time` how long the certificate counts (default 720h)")
			fs.StringVar(&f.out, "out", "", "`file` file to write, or - for standard output (default <name>.pem)")
			return f.act
		},
	}
}

func (f *operatorFlags) act(ctx context.Context, c *console, in input) error {
	args := append(in.args, in.after...)
	word, name := "", ""
	switch len(args) {
	case 1:
		word = args[0]
	case 2:
		word, name = args[0], args[1]
	}
	do := map[string]func(context.Context, *console, *api.Client, string) error{"create": f.create, "list": f.list, "revoke": f.revoke}[word]
	switch {
	case do == nil:
		return usagef("say what: operator create <name>, operator list, or operator revoke <name>")
	case (word == "list") != (name == ""):
		return usagef("operator create and revoke take one name, list takes none")
	}
	return f.with(c, func(client *api.Client) error { return do(ctx, c, client, name) })
}

func (f *operatorFlags) create(ctx context.Context, c *console, client *api.Client, name string) error {
	if err := oneOf("-role", f.role, []string{api.RoleViewer, api.RoleAdmin}); err != nil {
		return err
	}
	file := firstOf(f.out, name+".pem")
	if file != "-" && exists(c.path(file)) {
		return usagef("%s is there already; name another file with -out", file)
	}
	o, err := client.CreateOperator(ctx, api.OperatorRequest{Name: name, Role: f.role, TTL: f.ttl.Seconds()})
	if err != nil {
		return err
	}
	if file == "-" {
		return c.printText(o.Bundle)
	}
	if err := writeNew(c.path(file), o.Bundle); err != nil {
		return fmt.Errorf("the certificate was made and could not be kept: %w; make another", err)
	}
	o.Bundle = ""
	if f.json {
		return c.printJSON(o)
	}
	return c.print("%s: %s until %s; keep it as you keep a password", file, o.Role, o.Expires.UTC().Format(time.DateTime+" UTC"))
}

// writeNew writes a file for its owner alone, which must not be there.
func writeNew(path, text string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(text)
	return err
}

func (f *operatorFlags) list(ctx context.Context, c *console, client *api.Client, _ string) error {
	list, err := client.Operators(ctx)
	switch {
	case err != nil:
		return err
	case f.json:
		return c.printJSON(list)
	case len(list) == 0:
		return c.print("there are no operators; to make one: meshnode operator create <name>")
	}
	t := newTable("NAME", "ROLE", "CREATED", "EXPIRES", "SERIAL")
	for _, o := range list {
		t.row(o.Name, o.Role, o.Created.UTC().Format(time.DateTime+" UTC"), o.Expires.UTC().Format(time.DateTime+" UTC"), o.Serial)
	}
	return c.printText(t.String())
}

func (f *operatorFlags) revoke(ctx context.Context, c *console, client *api.Client, name string) error {
	change, err := client.RevokeOperator(ctx, name)
	switch {
	case err != nil:
		return err
	case f.json:
		return c.printJSON(map[string]any{"operator": name, "index": change.Index})
	}
	return c.print("%s: the certificate counts no more", name)
}
