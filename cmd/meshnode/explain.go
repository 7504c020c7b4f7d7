package main

import (
	"context"
	"flag"
	"net/netip"

	"meshnode/node/api"
)

func explainVerb() verb {
	return verb{
		name: "explain", args: "<app>", brief: "say where the next connection of an app goes, where the last ones went, and why",
		more: []string{
			"It is asked of this node, or of -node: each node decides about the connections that come in",
			"there. Nothing is sent anywhere. Which other nodes are compared is drawn anew every time.",
		},
		examples: []string{"meshnode explain api", "meshnode explain api -node web-2 -n 20", "meshnode explain api -client 10.1.2.3"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			var q api.ExplainQuery
			fs.StringVar(&q.Node, "node", "", "ask the node of this `name`")
			fs.IntVar(&q.Count, "n", 5, "`n` how many of the last decisions to show, up to 64")
			fs.StringVar(&q.Client, "client", "", "`ip` address that the next connection comes from; it matters to the policy hash")
			return func(ctx context.Context, c *console, in input) error {
				app, err := in.oneApp()
				if err == nil && app == "" {
					err = usagef("which app? give its name")
				}
				if err == nil && (q.Count < 0 || q.Count > api.MaxExplained) {
					err = usagef("-n: %d is not between 0 and %d", q.Count, api.MaxExplained)
				}
				if err == nil && q.Client != "" {
					if _, bad := netip.ParseAddr(q.Client); bad != nil {
						err = usagef("-client: %q is no IP address", q.Client)
					}
				}
				if err != nil {
					return err
				}
				q.App = app
				return t.with(c, func(client *api.Client) error {
					e, err := client.Explain(ctx, q)
					switch {
					case err != nil:
						return err
					case t.json:
						return c.printJSON(e)
					}
					return c.printText(explanationText(e))
				})
			}
		},
	}
}
