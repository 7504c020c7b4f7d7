package main

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"time"

	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/store/spec"
)

func statusVerb() verb {
	return verb{
		name: "status", brief: "show the cluster on one screen: leader, servers, apps, and what needs attention",
		examples: []string{"meshnode status", "meshnode status -node web-2", "meshnode status -json"},
		declare: func(fs *flag.FlagSet) action {
			t, node := declareTarget(fs), declareNode(fs)
			return func(ctx context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				status, err := t.status(ctx, c, *node)
				switch {
				case err != nil:
					return err
				case t.json:
					return c.printJSON(status)
				}
				return c.printText(statusText(status))
			}
		},
	}
}

func declareNode(fs *flag.FlagSet) *string {
	return fs.String("node", "", "show only what is on the node of this `name`")
}

// status asks for the cluster, and keeps only the member called node where that is not empty.
func (t *target) status(ctx context.Context, c *console, node string) (api.Status, error) {
	var status api.Status
	err := t.with(c, func(client *api.Client) error {
		var err error
		if status, err = client.Status(ctx); err != nil || node == "" {
			return err
		}
		if err := knownNode(status, node); err != nil {
			return err
		}
		status.Members = slices.DeleteFunc(status.Members, func(m api.MemberStatus) bool { return m.Node != node })
		return nil
	})
	return status, err
}

// knownNode refuses the name of a node that is no member.
func knownNode(status api.Status, node string) error {
	var known []string
	for _, m := range status.Members {
		if m.Node == node {
			return nil
		}
		known = append(known, m.Node)
	}
	if near := config.Nearest(node, known); near != "" {
		return fmt.Errorf("there is no node %q; did you mean %s?", node, near)
	}
	return fmt.Errorf("there is no node %q; there are %s", node, strings.Join(known, ", "))
}

// statusText is the one screen.
func statusText(s api.Status) string {
	var b strings.Builder
	quorum := "yes"
	if !s.Quorum {
		quorum = "no: apps are served as before, but nothing can be changed"
	}
	var head table
	head.row("cluster", orDash(s.Cluster))
	head.row("leader", orDash(s.Leader))
	head.row("quorum", quorum)
	head.row("index", fmt.Sprint(s.Index))
	if s.Settings[spec.SettingForward] == spec.ForwardPlain {
		head.row("forward", "plain text between servers")
	}
	b.WriteString(head.String())
	if len(s.Members) > 0 {
		b.WriteString("\n" + membersTable(s.Members))
	}
	if len(s.Apps) == 0 {
		b.WriteString("\n" + noApps + "\n")
	} else {
		b.WriteString("\n" + appsTable(s.Apps))
		for _, a := range s.Apps {
			if a.Rollout != nil {
				fmt.Fprintf(&b, "%s: release %d -> %d, %s\n", a.App, a.Rollout.Stable, a.Release, rolloutText(*a.Rollout))
			}
		}
	}
	return b.String() + warningsText(s.Warnings)
}

func warningsText(all []api.Warning) string {
	var b strings.Builder
	for i, w := range all {
		if i == 0 {
			b.WriteString("\nWarnings:\n")
		}
		b.WriteString("  " + w.What + "\n")
		if w.Remedy != "" {
			b.WriteString("    -> " + w.Remedy + "\n")
		}
	}
	return b.String()
}

const noApps = "no apps yet; start one with: meshnode start server.js"

func membersTable(members []api.MemberStatus) string {
	t := newTable("NODE", "ADDR", "STATUS", "ROLE", ">LOAD", ">CONNS", ">FWD IN", ">FWD OUT", ">CORES", "VERSION", ">UPTIME", "TRUSTED")
	for _, m := range members {
		if m.Status == "failed" || m.Status == "left" { // what it last said of itself holds no longer
			t.row(m.Node, m.Addr, m.Status, orDash(m.Role), "-", "-", "-", "-", fmt.Sprint(m.Cores), orDash(m.Version), "-", trustedText(m.Trusted))
			continue
		}
		t.row(m.Node, m.Addr, m.Status, orDash(m.Role), humanShare(m.Load), fmt.Sprint(m.Connections), fmt.Sprint(m.ForwardedIn),
			fmt.Sprint(m.ForwardedOut), fmt.Sprint(m.Cores), orDash(m.Version), humanDuration(m.Uptime), trustedText(m.Trusted))
	}
	return t.String()
}

// trustedText says since when a server has the cluster key, and how it got it.
func trustedText(t *api.Trusted) string {
	if t == nil {
		return "-"
	}
	return t.Since.UTC().Format(time.DateOnly) + " " + t.By
}

func appsTable(apps []api.AppStatus) string {
	t := newTable("APP", ">RELEASE", "LISTEN", "READY", ">RESTARTS", ">CONNS")
	for _, a := range apps {
		ready := fmt.Sprintf("%d/%d", a.Ready, a.Workers)
		if a.Stopped {
			ready = "stopped"
		}
		t.row(a.App, fmt.Sprint(a.Release), listOrDash(a.Listen), ready, fmt.Sprint(a.Restarts), fmt.Sprint(a.Connections))
	}
	return t.String()
}
