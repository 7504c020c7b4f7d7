package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshnode/node/api"
	"meshnode/store/spec"
)

// restoration is what has to change for the configuration to be that of a snapshot.
type restoration struct {
	apps     []planned
	want     map[string]spec.App // as they are to be
	settings map[string]string   // that change; "" = back to the default
	notes    []string
}

// changing are the names of the apps that change: first those that go, and with them their addresses.
func (r restoration) changing() (out []string) {
	for _, action := range []string{actionDelete, actionChange, actionCreate} {
		for _, p := range r.apps {
			if p.Action == action {
				out = append(out, p.App)
			}
		}
	}
	return out
}

// restoring compares what there is with what a snapshot holds.
func restoring(have, from *spec.Cluster) restoration {
	r := restoration{want: make(map[string]spec.App), settings: make(map[string]string)}
	names := maps.Clone(have.Apps)
	maps.Copy(names, from.Apps)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		old, known := have.Apps[name]
		kept, wanted := from.Apps[name]
		if !wanted {
			r.apps = append(r.apps, planned{App: name, Action: actionDelete})
			continue
		}
		if kept.Rollout.Open() {
			r.notes = append(r.notes, fmt.Sprintf("%s: release %d was not on all servers when it was saved; it is release %d that comes back", name, kept.Release, kept.Rollout.Stable))
		}
		app, _ := from.For(kept, "") // what reads snapshots has checked that it is there
		app.Standing = spec.Standing{Modified: old.Modified, Learned: old.Learned}
		if app.Order == spec.OrderRestart { // of one release alone
			app.Order = spec.OrderStartFirst
		}
		r.want[name] = app
		r.apps = append(r.apps, compare(old, app, known))
	}
	keys := maps.Clone(have.Settings)
	if keys == nil {
		keys = make(map[string]string)
	}
	maps.Copy(keys, from.Settings)
	for key := range keys {
		if have.Settings[key] != from.Settings[key] {
			r.settings[key] = from.Settings[key]
		}
	}
	return r
}

func (r restoration) text() string {
	var b strings.Builder
	for _, note := range r.notes {
		b.WriteString(note + "\n")
	}
	b.WriteString(planText(r.apps))
	for _, key := range slices.Sorted(maps.Keys(r.settings)) {
		to := r.settings[key]
		if to == "" {
			to = "its default"
		}
		fmt.Fprintf(&b, "setting %s: becomes %s\n", key, to)
	}
	return b.String()
}

// restore makes the configuration that of a file, one change after the other, each as its own verb would make it: what fails stays as it is, and
// is made by doing it again.
func (s *snapshotFlags) restore(ctx context.Context, c *console, client *api.Client, path string) error {
	from, _, err := loadSnapshot(path)
	if err != nil {
		return err
	}
	now, err := client.Snapshot(ctx)
	if err != nil {
		return err
	}
	if !now.Current {
		return api.Errorf(api.CodeNoQuorum, "see: meshnode status", "nothing can be restored now: no majority of the voting servers answers")
	}
	have, err := readSnapshot(now.State)
	if err != nil {
		return fmt.Errorf("what the node sent cannot be read: %w", err)
	}
	r := restoring(have, from)
	c.say("%s", strings.TrimSuffix(fromWhere(have, from)+r.text(), "\n"))
	names := r.changing()
	if len(names) == 0 && len(r.settings) == 0 {
		if s.json {
			return c.printJSON([]outcome{})
		}
		return c.print("all is as in the file already")
	}
	if !s.yes && !c.confirm("Make it so?") {
		c.say("meshnode: nothing was changed")
		return quiet{exitRefused}
	}
	if len(r.settings) > 0 {
		if _, err := client.Set(ctx, r.settings); err != nil {
			return err
		}
	}
	return s.run(ctx, c, client, names, change{
		done: func(o outcome) string {
			app, wanted := r.want[o.App]
			switch {
			case !wanted:
				return o.App + ": deleted"
			case app.Stopped:
				return o.App + ": is known and stopped"
			}
			return running(o)
		},
		do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
			app, wanted := r.want[name]
			if !wanted {
				return client.Delete(ctx, name)
			}
			_, known := have.Apps[name]
			return client.Start(ctx, api.StartRequest{App: app, Replace: known})
		},
	})
}

// fromWhere says which configuration a snapshot is.
func fromWhere(have, from *spec.Cluster) string {
	if have.ID != from.ID {
		return fmt.Sprintf("This is a snapshot of another cluster, %s, at its index %d; this one is %s.\n", from.ID, from.Index, have.ID)
	}
	return fmt.Sprintf("This is a snapshot of this cluster at index %d; it is at %d now.\n", from.Index, have.Index)
}
