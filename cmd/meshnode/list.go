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
		name: "list", aliases: []string{"ls", "ps", "l"}, args: "[app|namespace|/regex/]...", brief: "list the workers on every server",
		examples: []string{"meshnode list", "meshnode list api -node web-2", "meshnode list -json"},
		declare: func(fs *flag.FlagSet) action {
			t, node := declareTarget(fs), declareNode(fs)
			return t.list(node)
		},
	}
}

// jlistVerb is PM2's word for list -json.
func jlistVerb() verb {
	return verb{
		name: "jlist", args: "[app|namespace|/regex/]...", brief: "PM2's word for list -json", examples: []string{"meshnode jlist"},
		declare: func(fs *flag.FlagSet) action {
			t, node := declareTarget(fs), declareNode(fs)
			t.json = true
			return t.list(node)
		},
	}
}

func (t *target) list(node *string) action {
	return func(ctx context.Context, c *console, in input) error {
		args := append(in.args, in.after...)
		workers, err := t.workers(ctx, c, args, *node)
		switch {
		case err != nil:
			return err
		case t.json:
			return c.printJSON(workers)
		}
		if *node == "" {
			if workers, err = t.withStopped(ctx, c, args, workers); err != nil {
				return err
			}
		}
		switch {
		case len(workers) == 0 && len(args) == 0 && *node == "":
			return c.print(noApps)
		case len(workers) == 0:
			return c.print("no workers")
		}
		return c.printText(workersBox(workers, c.colour))
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

// workers asks for the workers of the apps that the arguments mean, of all where there are none, and keeps those on node where that is
// not empty.
func (t *target) workers(ctx context.Context, c *console, args []string, node string) ([]api.WorkerStatus, error) {
	workers := []api.WorkerStatus{}
	err := t.with(c, func(client *api.Client) error {
		apps := []string{""}
		if len(args) > 0 && !slices.Equal(args, []string{allApps}) && args[0] != "" {
			var err error
			if apps, err = names(ctx, client, args); err != nil {
				return err
			}
		}
		for _, app := range apps {
			some, err := client.Workers(ctx, app)
			if err != nil {
				return err
			}
			workers = append(workers, some...)
		}
		if node == "" {
			return nil
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

// withStopped adds a line for each app that is stopped and has no worker, so that it is not forgotten.
func (t *target) withStopped(ctx context.Context, c *console, args []string, workers []api.WorkerStatus) ([]api.WorkerStatus, error) {
	err := t.with(c, func(client *api.Client) error {
		status, err := client.Status(ctx)
		if err != nil {
			return err
		}
		wanted := []string{allApps}
		if len(args) > 0 {
			wanted = args
		}
		for _, a := range status.Apps {
			meant := slices.ContainsFunc(wanted, func(word string) bool {
				found, err := matching(status.Apps, word)
				return err == nil && slices.Contains(found, a.App)
			})
			if meant && a.Stopped && !slices.ContainsFunc(workers, func(w api.WorkerStatus) bool { return w.App == a.App }) {
				workers = append(workers, api.WorkerStatus{App: a.App, Namespace: a.Namespace, Worker: "-", Node: "-", Status: "stopped"})
			}
		}
		return nil
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

// workersBox is the table that list shows, in the look of PM2's.
func workersBox(workers []api.WorkerStatus, colour bool) string {
	head := []string{">id", "name", "namespace", "node", "mode", ">pid", ">uptime", ">↺", "status", ">load", ">cpu", ">mem", ">conns"}
	grouped := slices.ContainsFunc(workers, func(w api.WorkerStatus) bool { return w.Namespace != "" })
	if !grouped {
		head = slices.Delete(head, 2, 3)
	}
	b := newBox(colour, head...)
	for _, w := range workers {
		pid, load, cpu, memory, uptime := "-", "-", "-", "-", "-"
		if w.PID != 0 {
			pid, load, cpu = strconv.Itoa(w.PID), humanShare(w.Load), fmt.Sprintf("%.0f%%", w.CPU)
			memory, uptime = humanBytes(w.Memory), humanDuration(w.Uptime)
		}
		cells := []string{w.Worker, w.App, orDash(w.Namespace), w.Node, orDash(w.Mode), pid, uptime, fmt.Sprint(w.Restarts), w.Status, load, cpu, memory,
			fmt.Sprint(w.Connections)}
		if !grouped {
			cells = slices.Delete(cells, 2, 3)
		}
		b.row(cells...)
	}
	return b.String()
}

func workersTable(workers []api.WorkerStatus) string {
	t := newTable("APP", ">WORKER", "NODE", ">PID", "STATUS", "MODE", ">RELEASE", ">RESTARTS", ">LOAD", ">CPU", ">MEMORY", ">CONNS", ">UPTIME")
	for _, w := range workers {
		pid, load, cpu, memory, uptime := "-", "-", "-", "-", "-"
		if w.PID != 0 {
			pid, load, cpu = strconv.Itoa(w.PID), humanShare(w.Load), fmt.Sprintf("%.0f%%", w.CPU)
			memory, uptime = humanBytes(w.Memory), humanDuration(w.Uptime)
		}
		t.row(w.App, w.Worker, w.Node, pid, w.Status, orDash(w.Mode), fmt.Sprint(w.Release), fmt.Sprint(w.Restarts), load, cpu, memory,
			fmt.Sprint(w.Connections), uptime)
	}
	return t.String()
}
