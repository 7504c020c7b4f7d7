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
	"meshnode/store/spec"
)

func describeVerb() verb {
	return verb{
		name: "describe", aliases: []string{"show", "info", "desc"}, args: "<app>...|all", brief: "show everything about an app",
		more: []string{
			"The values of the app's variables are left out; -json, which prints a list with one entry",
			"per app, has them.",
		},
		examples: []string{"meshnode describe api", "meshnode describe api -json"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			return func(ctx context.Context, c *console, in input) error {
				return t.with(c, func(client *api.Client) error { return t.describe(ctx, c, client, append(in.args, in.after...)) })
			}
		},
	}
}

func (t *target) describe(ctx context.Context, c *console, client *api.Client, args []string) error {
	apps, err := names(ctx, client, args)
	if err != nil {
		return err
	}
	all := []api.Description{}
	for _, app := range apps {
		d, err := client.Describe(ctx, app)
		if err != nil {
			return err
		}
		all = append(all, d)
	}
	switch {
	case t.json:
		return c.printJSON(all)
	case len(all) == 0:
		return c.print(noApps)
	}
	for i, d := range all {
		if i > 0 {
			if err := c.print(""); err != nil {
				return err
			}
		}
		if err := c.printText(descriptionText(d)); err != nil {
			return err
		}
	}
	return nil
}

// descriptionText shows a description as blocks of lines.
func descriptionText(d api.Description) string {
	var b strings.Builder
	b.WriteString(d.App.Name + "\n" + specTable(d.App, d.Status))
	if r := d.Refused; r != nil {
		fmt.Fprintf(&b, "\nrelease %d was refused, and release %d went on: %s\n", r.Release, r.Kept, strings.TrimPrefix(r.Node+": "+r.Reason, ": "))
		for _, line := range r.Tail {
			b.WriteString("    " + line + "\n")
		}
	}
	var workers []api.WorkerStatus
	for _, n := range d.Nodes {
		workers = append(workers, n.Workers...)
		if n.Progress.State == api.StateFailed || n.Progress.State == api.StateWorking {
			fmt.Fprintf(&b, "\non %s: %s\n", n.Node, progressLine(n.Progress))
		}
	}
	sortWorkers(workers)
	if len(workers) > 0 {
		b.WriteString("\n" + workersTable(workers))
	}
	if len(d.Listeners) > 0 {
		t := newTable("NODE", "LISTENS ON", "STATE", "WHY")
		for _, l := range d.Listeners {
			t.row(l.Node, l.Addr, l.State, l.Error)
		}
		b.WriteString("\n" + t.String())
	}
	b.WriteString(clientsTable(d))
	if len(d.Exits) > 0 {
		t := newTable("ENDED AT", "NODE", ">WORKER", ">RELEASE", "HOW", "WHY")
		for _, e := range d.Exits {
			t.row(e.Time.UTC().Format(time.DateTime+" UTC"), e.Node, e.Worker, fmt.Sprint(e.Release), exitText(e), e.Reason)
		}
		b.WriteString("\n" + t.String())
	}
	return b.String() + warningsText(d.Warnings)
}

// clientsTable shows what came in where, for an app that does not let everybody in.
func clientsTable(d api.Description) string {
	if d.App.Clients.IsZero() {
		return ""
	}
	t := newTable("NODE", ">CAME IN AND OPEN", ">CLIENTS", ">OVER LIMIT", ">OVER CLIENT LIMIT", ">BAD HEADER", ">UNTRUSTED")
	for _, n := range d.Nodes {
		c := n.Clients
		t.row(n.Node, fmt.Sprint(c.Open), fmt.Sprint(c.Clients), fmt.Sprint(c.OverLimit), fmt.Sprint(c.OverClientLimit), fmt.Sprint(c.BadHeader), fmt.Sprint(c.Untrusted))
	}
	return "\n" + t.String()
}

func specTable(a spec.App, s api.AppStatus) string {
	var t table
	row := func(name, value string) { t.row("  "+name, value) }
	state := fmt.Sprintf("%d of %s ready", s.Ready, plural(s.Workers, "worker"))
	if a.Stopped {
		state = "stopped"
	}
	row("state", state)
	release := fmt.Sprint(a.Release)
	if s.Rollout != nil {
		release = fmt.Sprintf("%d, in the place of %d: %s", a.Release, s.Rollout.Stable, rolloutText(*s.Rollout))
	}
	row("release", release)
	row("command", commandText(a.Command))
	row("folder", a.Dir)
	row("mode", string(a.Mode))
	row("workers per node", workersText(a.Workers))
	listen := slices.Clone(a.Listen)
	for _, addr := range a.Learned {
		if !slices.Contains(listen, addr) {
			listen = append(listen, addr)
		}
	}
	row("client addresses", listOrDash(listen))
	row("variables", listOrDash(slices.Sorted(maps.Keys(a.Env))))
	if len(a.Process.SecretEnv) > 0 {
		row("secret variables", listOrDash(slices.Sorted(maps.Keys(a.Process.SecretEnv))))
	}
	row("waits for ready", yesNo(a.WaitReady))
	order := a.Order
	if order == spec.OrderRestart { // of the present release alone
		order = spec.OrderStartFirst
	}
	row("replaced", string(order))
	row("time limits", fmt.Sprintf("listen %s, drain %s, kill %s",
		humanSeconds(a.Timeouts.Listen), humanSeconds(a.Timeouts.Drain), humanSeconds(a.Timeouts.Kill)))
	if a.Namespace != "" {
		row("namespace", a.Namespace)
	}
	for _, d := range differences(spec.App{}.WithDefaults(), a) { // what was set of the rest
		group, _, _ := strings.Cut(d.Key, ".")
		if !isVariable(d.Key) && slices.Contains([]string{"process", "restart", "health", "logs", "balance", "clients"}, group) || d.Key == "timeouts.watch_seconds" {
			row(d.Key, d.To)
		}
	}
	row("restarts", fmt.Sprint(s.Restarts))
	row("connections", fmt.Sprint(s.Connections))
	return t.String()
}

func workersText(n int) string {
	if n == 0 {
		return "max (one per core)"
	}
	return fmt.Sprint(n)
}

func yesNo(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

// commandText shows a command so that it can be pasted into a shell.
func commandText(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		words[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}

func exitText(e api.Exit) string {
	if e.Signal != "" {
		return e.Signal
	}
	return fmt.Sprintf("code %d", e.Code)
}
