package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"meshnode/node/api"
)

// logFlags are the flags of logs.
type logFlags struct {
	*target
	query     api.LogQuery
	node      *string
	out, errs bool
	lines     int
	since     sinceFlag
	stay      bool
}

func logsVerb() verb {
	return verb{
		name: "logs", args: "[app]...", brief: "show what workers print, on every server",
		more: []string{
			"Every line is shown behind the app, the worker and the node it comes from, in time order.",
			"A line that many workers' files share has * for the worker.",
		},
		examples: []string{"meshnode logs api", "meshnode logs -f -err api", "meshnode logs -since 10m -grep 'timeout|refused'", "meshnode logs -lines 100 -node web-2"},
		declare: func(fs *flag.FlagSet) action {
			f := declareLogs(fs)
			return func(ctx context.Context, c *console, in input) error {
				query := f.ask(in)
				return f.with(c, func(client *api.Client) error { return printLogs(ctx, c, client, query, f.json) })
			}
		},
	}
}

func declareLogs(fs *flag.FlagSet) *logFlags {
	f := &logFlags{target: declareTarget(fs), node: declareNode(fs), lines: -1}
	fs.BoolVar(&f.query.Follow, "f", false, sameAs+"follow")
	fs.BoolVar(&f.query.Follow, "follow", false, "go on with new lines until Ctrl-C")
	fs.BoolVar(&f.stay, "nostream", false, "do not follow, whatever else is said")
	fs.Var(countFlag{&f.lines}, "n", sameAs+"lines")
	fs.Var(countFlag{&f.lines}, "lines", "`n` how many lines of the past (default 15; with -since: all)")
	fs.BoolVar(&f.out, "out", false, "only standard output")
	fs.BoolVar(&f.errs, "err", false, "only standard error")
	fs.Var(&f.since, "since", "`when` only what is newer: 10m, or 2026-01-31T12:00:00Z")
	fs.StringVar(&f.query.Grep, "grep", "", "`pattern` only lines that match this regular expression")
	fs.StringVar(&f.query.Worker, "worker", "", "`n` only the workers of this number")
	return f
}

// ask puts the query together.
func (f *logFlags) ask(in input) api.LogQuery {
	q := f.query
	q.Node, q.Since, q.Lines = *f.node, f.since.at, f.lines
	q.Follow = q.Follow && !f.stay
	switch {
	case f.out && !f.errs:
		q.Stream = api.StreamOut
	case f.errs && !f.out:
		q.Stream = api.StreamErr
	}
	if q.Lines < 0 {
		if q.Lines = 15; !q.Since.IsZero() {
			q.Lines = api.MaxLogLines
		}
	}
	if apps := append(slices.Clone(in.args), in.after...); !slices.Contains(apps, allApps) {
		q.Apps = apps
	}
	return q
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

// sinceFlag is a moment: so long ago, or a time.
type sinceFlag struct{ at time.Time }

func (f *sinceFlag) String() string { return "" }

func (f *sinceFlag) Set(v string) error {
	if d, err := time.ParseDuration(v); err == nil && d >= 0 {
		f.at = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, v, time.Local); err == nil {
			f.at = t
			return nil
		}
	}
	return fmt.Errorf("%q is no time; give one like 10m or 2026-01-31T12:00:00Z", v)
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
	colours := !asJSON && onTerminal(c.out)
	lines := json.NewEncoder(c.out)
	lines.SetEscapeHTML(false)
	err := client.Logs(ctx, query, func(line api.LogLine) error {
		switch {
		case line.Kind == api.KindUnreachable:
			c.say("meshnode: %s cannot be reached, its lines are missing: %s", line.Node, line.Text)
			return nil
		case asJSON:
			return lines.Encode(line)
		case line.Kind == api.KindDropped:
			return c.print("... %d lines dropped on %s: this screen was too slow", line.Dropped, line.Node)
		}
		return c.print("%s", logText(line, colours))
	})
	switch {
	case query.Follow && ctx.Err() != nil: // Ctrl-C is the way to end it
		return nil
	case query.Follow && err == nil:
		return fmt.Errorf("the node has stopped sending; look with: meshnode status")
	}
	return err
}

// logText is a line behind the worker that it comes from.
func logText(line api.LogLine, colours bool) string {
	worker := line.Worker
	if worker == "" {
		worker = "*"
	}
	from := fmt.Sprintf("%s|%s@%s |", line.App, worker, line.Node)
	if !colours {
		return from + " " + line.Text
	}
	const off = "\x1b[0m"
	colour := "\x1b[31m" // red
	if line.Stream != api.StreamErr {
		h := fnv.New32a()
		io.WriteString(h, from)
		colour = fmt.Sprintf("\x1b[%dm", 32+h.Sum32()%5) // green to cyan
	}
	text := colour + from + off + " " + line.Text
	if strings.Contains(line.Text, "\x1b") { // a colour of the app's ends with its line
		text += off
	}
	return text
}

// onTerminal reports whether somebody looks at the output as it comes.
func onTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	fi, err := f.Stat()
	return err == nil && fi.Mode()&os.ModeCharDevice != 0
}
