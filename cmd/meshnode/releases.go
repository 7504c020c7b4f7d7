package main

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"time"

	"meshnode/node/api"
)

func releasesVerb() verb {
	return verb{
		name: "releases", args: "<app>", brief: "list the releases of an app: when each came, what it changed, what became of it",
		examples: []string{"meshnode releases api", "meshnode releases api -json"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			return func(ctx context.Context, c *console, in input) error {
				app, err := in.oneApp()
				if err == nil && app == "" {
					err = usagef("which app? give its name")
				}
				if err != nil {
					return err
				}
				return t.with(c, func(client *api.Client) error {
					list, err := client.Releases(ctx, app)
					switch {
					case err != nil:
						return err
					case t.json:
						return c.printJSON(list)
					}
					return c.printText(releasesText(list))
				})
			}
		},
	}
}

func releasesText(list []api.Release) string {
	t := newTable(">RELEASE", "SINCE", "STATE", "CHANGED", "COMMAND")
	for i, r := range list {
		since := "-"
		if !r.Since.IsZero() {
			since = r.Since.UTC().Format(time.DateTime + " UTC")
		}
		t.row(fmt.Sprint(r.Release), since, releaseState(r), changedText(r, i == len(list)-1), commandText(r.Command))
	}
	var b strings.Builder
	b.WriteString(t.String())
	for _, r := range list {
		if r.Refusal != nil {
			fmt.Fprintf(&b, "release %d was %s: %s\n", r.Release, releaseState(r), r.Refusal.Reason)
		}
	}
	return b.String()
}

func releaseState(r api.Release) string {
	switch {
	case r.Refusal != nil && r.Refusal.Node != "":
		return "refused on " + r.Refusal.Node
	case r.Rollout != nil:
		return "rolling out, " + rolloutText(*r.Rollout)
	}
	return r.State
}

// rolloutText says how far a release has come.
func rolloutText(r api.Rollout) string {
	text := fmt.Sprintf("%d of %s done", r.Done, plural(r.Nodes, "node"))
	if r.Node != "" {
		text = "at " + r.Node + ", " + text
	}
	return text
}

// maxChanged is how many changed fields are named.
const maxChanged = 4

func changedText(r api.Release, oldest bool) string {
	switch {
	case oldest:
		return "-"
	case r.Same != 0:
		return fmt.Sprintf("as release %d", r.Same)
	case len(r.Changed) == 0:
		return "new processes"
	case len(r.Changed) > maxChanged:
		return fmt.Sprintf("%s and %d more", strings.Join(r.Changed[:maxChanged], ","), len(r.Changed)-maxChanged)
	}
	return strings.Join(r.Changed, ",")
}
