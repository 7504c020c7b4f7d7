package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshnode/node/api"
	"meshnode/store/spec"
)

func planVerb() verb {
	return verb{
		name: "plan", args: "[file]", brief: "show what apply would change, and change nothing",
		more: []string{
			"The exit code is 0 when nothing would change, 2 when something would, 1 when that cannot be",
			"told. Values of variables are not shown.",
		},
		examples: []string{"meshnode plan ecosystem.config.js -env production", "meshnode plan -json"},
		declare: func(fs *flag.FlagSet) action {
			t, file := declareTarget(fs), declareFile(fs, "env")
			return func(ctx context.Context, c *console, in input) error {
				word, err := c.oneFile(in)
				if err != nil {
					return err
				}
				apps, err := file.load(ctx, c, word)
				if err != nil {
					return err
				}
				return t.with(c, func(client *api.Client) error { return t.plan(ctx, c, client, apps) })
			}
		},
	}
}

// Actions of a plan, as -json shows them.
const (
	actionCreate = "create"
	actionChange = "change"
	actionNone   = "none"
	actionDelete = "delete" // by snapshot restore alone
)

// planned is what apply would do with one app: the shape scripts read.
type planned struct {
	App     string       `json:"app"`
	Action  string       `json:"action"`
	Renewed bool         `json:"workers_replaced"`
	Changes []difference `json:"changes"`
}

// difference is one key of an app that would change. From and To are JSON; empty where there is no value, and for variables.
type difference struct {
	Key  string `json:"key"`
	From string `json:"from"`
	To   string `json:"to"`
}

func (t *target) plan(ctx context.Context, c *console, client *api.Client, apps []spec.App) error {
	have, err := existing(ctx, client, apps)
	if err != nil {
		return err
	}
	var plan []planned
	changes := false
	for _, app := range apps {
		old, known := have[app.Name]
		p := compare(old, settle(app, old, known, false), known)
		changes = changes || p.Action != actionNone
		plan = append(plan, p)
	}
	if t.json {
		err = c.printJSON(plan)
	} else {
		err = c.printText(planText(plan))
	}
	if err == nil && changes {
		return quiet{code: exitRefused}
	}
	return err
}

// compare is what becomes of an app that is to be as given.
func compare(old, app spec.App, known bool) planned {
	p := planned{App: app.Name, Action: actionCreate}
	if !known { // its defaults say nothing
		p.Changes = differences(spec.App{}.WithDefaults(), app)
		for i := range p.Changes {
			p.Changes[i].From = ""
		}
		return p
	}
	p.Changes = differences(old, app)
	if old.Stopped != app.Stopped {
		p.Changes = append(p.Changes, difference{Key: "stopped", From: fmt.Sprint(old.Stopped), To: fmt.Sprint(app.Stopped)})
	}
	p.Action, p.Renewed = actionChange, !old.Stopped && !app.Stopped && !old.SameProcess(app)
	if len(p.Changes) == 0 {
		p.Action = actionNone
	}
	return p
}

func planText(plan []planned) string {
	var b strings.Builder
	for _, p := range plan {
		switch {
		case p.Action == actionCreate:
			b.WriteString(p.App + ": is new\n")
		case p.Action == actionDelete:
			b.WriteString(p.App + ": is deleted\n")
		case p.Action == actionNone:
			b.WriteString(p.App + ": unchanged\n")
		case p.Renewed:
			b.WriteString(p.App + ": changes, and its workers are replaced\n")
		default:
			b.WriteString(p.App + ": changes, and its workers stay\n")
		}
		var t table
		for _, d := range p.Changes {
			what := orDash(d.From) + " -> " + orDash(d.To)
			switch {
			case d.From == "" && d.To == "":
				what = "changes"
			case p.Action == actionCreate:
				what = d.To
			}
			t.row("  "+d.Key, what)
		}
		b.WriteString(t.String())
	}
	return b.String()
}

// differences returns the keys in which two apps differ, sorted, without those that no file sets.
func differences(old, app spec.App) []difference {
	if old.Order == spec.OrderRestart { // of one release alone
		old.Order = spec.OrderStartFirst
	}
	from, to := flat(old), flat(app)
	all := maps.Clone(from)
	maps.Copy(all, to)
	out := []difference{}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		switch {
		case from[key] == to[key]:
		case isVariable(key): // a value may be a password
			out = append(out, difference{Key: key})
		default:
			out = append(out, difference{Key: key, From: from[key], To: to[key]})
		}
	}
	return out
}

// isVariable reports whether a key is that of a variable.
func isVariable(key string) bool {
	return strings.HasPrefix(key, "env.") || strings.HasPrefix(key, "process.secret_env.")
}

// flat returns an app's keys, those of inner objects behind a dot, with their values as JSON. Lists are one value.
func flat(app spec.App) map[string]string {
	app.Standing, app.Stopped, app.Name = spec.Standing{}, false, ""
	out := map[string]string{}
	text, err := json.Marshal(app)
	if err != nil {
		return out
	}
	flatten(out, "", text)
	for _, own := range []string{"name", "release", "created", "modified"} {
		delete(out, own)
	}
	return out
}

func flatten(out map[string]string, at string, text json.RawMessage) {
	var inner map[string]json.RawMessage
	if err := json.Unmarshal(text, &inner); err != nil || inner == nil {
		if word := string(text); word != "null" && word != `""` {
			out[at] = word
		}
		return
	}
	for key, value := range inner {
		if at != "" {
			key = fmt.Sprintf("%s.%s", at, key)
		}
		flatten(out, key, value)
	}
}
