package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"strconv"

	"meshnode/node/api"
)

func logsVerb() verb {
	return verb{
		name: "logs", args: "[app]", brief: "show what workers print, on every server",
		more:     []string{"Every line is shown behind the app, the worker and the node it comes from."},
		examples: []string{"meshnode logs api", "meshnode logs -f -err api", "meshnode logs -lines 100 -node web-2"},
		declare: func(fs *flag.FlagSet) action {
			t, node := declareTarget(fs), declareNode(fs)
			var query api.LogQuery
			var out, errs bool
			fs.BoolVar(&query.Follow, "f", false, sameAs+"follow")
			fs.BoolVar(&query.Follow, "follow", false, "go on with new lines until Ctrl-C")
			query.Lines = 15
			fs.Var(countFlag{&query.Lines}, "n", sameAs+"lines")
			fs.Var(countFlag{&query.Lines}, "lines", "`n` how many lines of the past (default 15)")
			fs.BoolVar(&out, "out", false, "only standard output")
			fs.BoolVar(&errs, "err", false, "only standard error")
			return func(ctx context.Context, c *console, in input) error {
				app, err := in.oneApp()
				switch {
				case err != nil:
					return err
				case out && !errs:
					query.Stream = api.StreamOut
				case errs && !out:
					query.Stream = api.StreamErr
				}
				query.App, query.Node = app, *node
				return t.with(c, func(client *api.Client) error { return printLogs(ctx, c, client, query, t.json) })
			}
		},
	}
}

// countFlag is a number of things, from none.
type countFlag struct{ to *int }

func (f countFlag) String() string { return "" }

func (f countFlag) Set(v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number of lines", v)
	}
	*f.to = n
	return nil
}

func printLogs(ctx context.Context, c *console, client *api.Client, query api.LogQuery, asJSON bool) error {
	if query.Node != "" {
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		if err := knownNode(status, query.Node); err != nil {
			return err
		}
	}
	lines := json.NewEncoder(c.out)
	lines.SetEscapeHTML(false)
	err := client.Logs(ctx, query, func(line api.LogLine) error {
		if asJSON {
			return lines.Encode(line)
		}
		return c.print("%s | %s", logSource(line), line.Text)
	})
	switch {
	case query.Follow && ctx.Err() != nil: // Ctrl-C is the way to end it
		return nil
	case query.Follow && err == nil:
		return fmt.Errorf("the node has stopped sending; look with: meshnode status")
	}
	return err
}

// logSource names the worker a line comes from.
func logSource(line api.LogLine) string {
	return fmt.Sprintf("%s/%s@%s", line.App, line.Worker, line.Node)
}
