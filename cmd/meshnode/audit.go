package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"meshnode/node/api"
)

func auditVerb() verb {
	return verb{
		name: "audit", brief: "show who changed what, when and from where, on every server",
		more: []string{
			"Every change that a node was asked for is kept there, also one that was refused: the last 40",
			"MiB of it, in audit.log of its data folder. Values of variables are not in it.",
		},
		examples: []string{"meshnode audit", "meshnode audit -since 24h -n 1000", "meshnode audit -json"},
		declare: func(fs *flag.FlagSet) action {
			t, lines := declareTarget(fs), 50
			var since sinceFlag
			fs.Var(countFlag{&lines}, "n", "`n` how many of the newest (default 50)")
			fs.Var(&since, "since", "`when` only what is newer: 10m, or 2026-01-31T12:00:00Z")
			return func(ctx context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				return t.with(c, func(client *api.Client) error {
					a, err := client.Audit(ctx, api.AuditQuery{Lines: lines, Since: since.at})
					switch {
					case err != nil:
						return err
					case t.json:
						return c.printJSON(a)
					}
					for _, m := range a.Missing {
						c.say("meshnode: %s has not answered, its entries are missing: %s", m.Node, m.Why)
					}
					if len(a.Entries) == 0 {
						return c.print("nothing was changed")
					}
					return c.printText(auditText(a.Entries))
				})
			}
		},
	}
}

func auditText(entries []api.AuditEntry) string {
	t := newTable("WHEN", "AT", "WHO", "FROM", "WHAT", "OUTCOME")
	for _, e := range entries {
		what := strings.TrimSpace(e.What + " " + e.App)
		for _, key := range slices.Sorted(maps.Keys(e.Args)) {
			what += " " + key + "=" + e.Args[key]
		}
		outcome := e.Outcome
		if e.Message != "" {
			outcome += ": " + e.Message
		}
		if e.LeftOut > 0 {
			outcome += fmt.Sprintf(" (and %d more before it)", e.LeftOut)
		}
		t.row(e.Time.UTC().Format(time.DateTime+" UTC"), e.Node, whoText(e.Caller), fromText(e.Caller), printable(what), printable(outcome))
	}
	return t.String()
}

// whoText names a caller.
func whoText(c api.Caller) string {
	switch {
	case c.Certificate != "":
		return fmt.Sprintf("%s (%s)", printable(c.Certificate), c.Role)
	case c.UID < 0:
		return "unknown"
	}
	who := fmt.Sprintf("uid %d", c.UID)
	if c.User != "" {
		who = fmt.Sprintf("%s (%s)", c.User, who)
	}
	if c.Login != "" {
		who = c.Login + " as " + who
	}
	return printable(who)
}

func fromText(c api.Caller) string {
	if c.Via == api.ViaSocket {
		return fmt.Sprintf("pid %d", c.PID)
	}
	return orDash(c.From)
}

// printable takes out what would do something to a terminal: part of it was sent by whoever asked.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
