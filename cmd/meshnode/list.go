package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"strconv"

	"meshnode/node/api"
)

func listVerb() verb {
	return verb{
		name: "list", aliases: []string{"ls", "ps", "l"}, args: "[app]", brief: "list the workers on every server",
		examples: []string{"meshnode list", "meshnode list api -node web-2", "meshnode list -json"},
		declare: func(fs *flag.FlagSet) action {
			t, node := declareTarget(fs), declareNode(fs)
			return func(ctx context.Context, c *console, in input) error {
				app, err := in.oneApp()
				if err != nil {
					return err
				}
				workers, err := t.workers(ctx, c, app, *node)
				switch {
				case err != nil:
					return err
				case t.json:
					return c.printJSON(workers)
				case len(workers) == 0 && app == "" && *node == "":
					return c.print(noApps)
				case len(workers) == 0:
					return c.print("no workers")
				}
				return c.printText(workersTable(workers))
			}
		},
	}
}

// oneApp returns the app that the arguments name, "" when they name none or all.
func (in input) oneApp() (string, error) {
	args := append(slices.Clone(in.args), in.after...)
	switch {
	case len(args) > 1:
		return "", usagef("%q is one argument too many; give one app", args[1])
	case len(args) == 0 || args[0] == allApps:
		return "", nil
	}
	return args[0], nil
}

// workers asks for the workers of an app, or of all when it is empty, and keeps those on node where that is not empty.
func (t *target) workers(ctx context.Context, c *console, app, node string) ([]api.WorkerStatus, error) {
	var workers []api.WorkerStatus
	err := t.with(c, func(client *api.Client) error {
		var err error
		if workers, err = client.Workers(ctx, app); err != nil || node == "" {
			return err
		}
		workers = slices.DeleteFunc(workers, func(w api.WorkerStatus) bool { return w.Node != node })
		if len(workers) > 0 {
			return nil
		}
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		return knownNode(status, node)
	})
	sortWorkers(workers)
	return workers, err
}

func sortWorkers(workers []api.WorkerStatus) {
	slices.SortStableFunc(workers, func(a, b api.WorkerStatus) int {
		return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Node, b.Node), compareNumbers(a.Worker, b.Worker))
	})
}

// compareNumbers orders "2" before "10".
func compareNumbers(a, b string) int {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	if errX != nil || errY != nil {
		return cmp.Compare(a, b)
	}
	return cmp.Compare(x, y)
}

func workersTable(workers []api.WorkerStatus) string {
	t := newTable("APP", ">WORKER", "NODE", ">PID", "STATUS", "MODE", ">RELEASE", ">RESTARTS", ">CPU", ">MEMORY", ">CONNS", ">UPTIME")
	for _, w := range workers {
		pid, cpu, memory, uptime := "-", "-", "-", "-"
		if w.PID != 0 {
			pid, cpu = strconv.Itoa(w.PID), fmt.Sprintf("%.0f%%", w.CPU)
			memory, uptime = humanBytes(w.Memory), humanDuration(w.Uptime)
		}
		t.row(w.App, w.Worker, w.Node, pid, w.Status, orDash(w.Mode), fmt.Sprint(w.Release), fmt.Sprint(w.Restarts), cpu, memory,
			fmt.Sprint(w.Connections), uptime)
	}
	return t.String()
}
