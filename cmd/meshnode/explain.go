package main

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"strings"
	"time"

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

func explanationText(e api.Explanation) string {
	var b strings.Builder
	d := e.Next
	fmt.Fprintf(&b, "%s on %s, policy %s\n", e.App, e.Node, e.Policy)
	fmt.Fprintf(&b, "the next connection %s: %s\n\n", placedText(d, true), d.Reason)
	t := newTable("NODE", "STATE", ">WORKERS", ">OPEN", ">LONG", ">FREE", ">SERVICE", ">EXPECTED", ">REPORT AGE")
	for _, c := range d.Considered {
		free := "-"
		if c.Free >= 0 {
			free = fmt.Sprint(c.Free)
		}
		if c.Workers == 0 {
			t.row(nodeText(c), stateText(c), "0", "-", "-", "-", "-", "-", ageText(c))
			continue
		}
		t.row(nodeText(c), stateText(c), figure(c.Workers), figure(c.Open), figure(c.Long), free, measuredText(c.Service), figureTime(c.Expected), ageText(c))
	}
	b.WriteString(t.String())
	fmt.Fprintf(&b, "median service %s, the way to another node %s, margin %s", figureTime(d.Median), figureTime(d.Hop), figureTime(d.Margin))
	for _, c := range d.Considered {
		if c.OtherZ {
			fmt.Fprintf(&b, ", to another zone %s more", figureTime(d.ZoneMargin))
			break
		}
	}
	if d.Waiting > 0 {
		fmt.Fprintf(&b, ", %d waiting here", d.Waiting)
	}
	b.WriteString("\n")
	if e.Direct > 0 {
		fmt.Fprintf(&b, "%s accepted by workers themselves are open here: while there is room for more here, nothing is decided about them\n", plural(e.Direct, "connection"))
	}
	if len(e.Last) > 0 {
		b.WriteString("\nthe last ones, the newest first:\n")
	}
	for _, d := range e.Last {
		fmt.Fprintf(&b, "  %s  %s: %s%s\n", d.Time.Format("15:04:05.000 UTC"), placedText(d, false), d.Reason, comparedText(d))
	}
	return b.String()
}

// placedText says where a connection goes, or went.
func placedText(d api.Decision, next bool) string {
	goes := "went"
	if next {
		goes = "goes"
	}
	switch d.Kind {
	case api.PlacedHere:
		worker, _, _ := strings.Cut(d.Target, "#")
		return goes + " to worker " + worker + " here"
	case api.PlacedThere:
		return goes + " to " + d.Target
	}
	return goes + " nowhere yet"
}

// comparedText lists the figures of a past decision: what was expected where.
func comparedText(d api.Decision) string {
	var parts []string
	for _, c := range d.Considered {
		if c.Here && c.State != "free" {
			parts = append(parts, "here "+c.State)
		} else if c.Here {
			parts = append(parts, "here "+figureTime(c.Expected))
		} else {
			parts = append(parts, fmt.Sprintf("%s %s (report %s old)", c.Node, figureTime(c.Expected), figureTime(c.Age)))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " [" + strings.Join(parts, ", ") + "]"
}

func nodeText(c api.Candidate) string {
	if c.Here {
		return c.Node + " (here)"
	}
	return c.Node
}

func stateText(c api.Candidate) string {
	text := c.State
	if c.Ejected > 0 {
		text += " for " + figureTime(c.Ejected)
	}
	if c.OtherZ {
		text += ", other zone"
	}
	if c.Compared && !c.Here {
		text += ", compared"
	}
	return text
}

func ageText(c api.Candidate) string {
	if c.Here {
		return "-"
	}
	return figureTime(c.Age)
}

func measuredText(seconds float64) string {
	if seconds == 0 {
		return "not known"
	}
	return figureTime(seconds)
}

func figure(f float64) string { return strings.TrimSuffix(fmt.Sprintf("%.1f", f), ".0") }

// figureTime shows a time of microseconds to minutes in three or four digits.
func figureTime(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < time.Millisecond:
		return d.Round(time.Microsecond).String()
	case d < 100*time.Millisecond:
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}
