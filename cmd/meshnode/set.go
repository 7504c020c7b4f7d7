package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshnode/node/api"
	"meshnode/store/spec"
)

func setVerb() verb {
	return verb{
		name: "set", args: "<setting>=<value>...", brief: "change settings of the whole cluster; without any, show them",
		more: []string{
			"forward=tls|plain   how connections go from server to server (default tls). plain is for",
			"                    trusted networks: the servers prove to each other that they have the",
			"                    cluster key, and the clients' bytes are neither encrypted nor protected.",
			"idle_timeout=time   when a connection that crosses a server, to a peer or to a program that is",
			"                    no Node.js, is reset because no byte moves, like 1h (default 0: never).",
		},
		examples: []string{"meshnode set", "meshnode set forward=plain", "meshnode set idle_timeout=1h forward=tls"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			return func(ctx context.Context, c *console, in input) error {
				values, err := parseSettings(append(in.args, in.after...))
				if err != nil {
					return err
				}
				return t.with(c, func(client *api.Client) error { return t.set(ctx, c, client, values) })
			}
		},
	}
}

// parseSettings checks the settings of a command line.
func parseSettings(args []string) (map[string]string, error) {
	values := make(map[string]string)
	for _, arg := range args {
		key, value, ok := strings.Cut(arg, "=")
		if !ok {
			return nil, usagef("%q is no setting=value", arg)
		}
		if _, twice := values[key]; twice {
			return nil, usagef("%s is given twice", key)
		}
		if _, err := spec.NormalSetting(key, value); err != nil {
			return nil, usagef("%v", err)
		}
		values[key] = value
	}
	return values, nil
}

// set changes what is given, and shows all settings.
func (t *target) set(ctx context.Context, c *console, client *api.Client, values map[string]string) error {
	if len(values) > 0 {
		if _, err := client.Set(ctx, values); err != nil {
			return err
		}
	}
	status, err := client.Status(ctx)
	if err != nil {
		return err
	}
	if t.json {
		return c.printJSON(status.Settings)
	}
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(status.Settings)) {
		fmt.Fprintf(&b, "%s=%s\n", key, status.Settings[key])
	}
	return c.printText(b.String())
}
