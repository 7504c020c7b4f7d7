package main

import (
	"context"
	"errors"
	"flag"
	"slices"

	"meshnode/node/api"
	"meshnode/store/spec"
)

func applyVerb() verb {
	return verb{
		name: "apply", args: "[file]", brief: "make the apps of a file run as the file says",
		more: []string{
			"The file is the truth for the apps in it: a key that is removed from it is gone. Apps that",
			"have not changed are left alone, stopped ones stay stopped, apps that the file does not name",
			"are not touched. Look before with: meshnode plan. Without a file it is the one in this folder",
			"that has a usual name, like ecosystem.config.js; - is standard input.",
		},
		examples: []string{"meshnode apply ecosystem.config.js -env production", "meshnode apply meshnode.yaml -only api,mailer"},
		declare: func(fs *flag.FlagSet) action {
			f, file := declareChange(fs), declareFile(fs, "env")
			return func(ctx context.Context, c *console, in input) error {
				word, err := c.oneFile(in)
				if err != nil {
					return err
				}
				return f.applyFile(ctx, c, file, word, fileChange{})
			}
		},
	}
}

// fileChange is what a verb does with the apps of a file beside making them what the file says.
type fileChange struct {
	start  bool       // start stopped apps
	renew  bool       // replace the workers of unchanged apps
	order  spec.Order // of replacing them; empty = the app's own
	remedy string     // what to do with an app that has not changed
}

// renew is the whole of a verb that replaces workers: those of apps by name, or those of an app file, after making the apps what it says.
func renew(fs *flag.FlagSet, order spec.Order, ch change) action {
	f, file := declareChange(fs), declareFile(fs, "env")
	fs.Bool("update-env", false, "PM2's; an app file's variables hold without it")
	return func(ctx context.Context, c *console, in input) error {
		args := append(in.args, in.after...)
		if len(args) != 1 || !isFile(args[0]) {
			return changeNamed(f, file, ch)(ctx, c, in)
		}
		return f.applyFile(ctx, c, file, args[0], fileChange{renew: true, order: order})
	}
}

// errUnchanged is why nothing was done with an app.
var errUnchanged = errors.New("unchanged")

// applyFile reads a file and carries it out.
func (f *changeFlags) applyFile(ctx context.Context, c *console, file *fileFlags, word string, ch fileChange) error {
	apps, err := file.load(ctx, c, word)
	if err != nil {
		return err
	}
	return f.apply(ctx, c, apps, ch)
}

// apply carries out the apps of a file, one after the other.
func (f *changeFlags) apply(ctx context.Context, c *console, apps []spec.App, ch fileChange) error {
	return f.with(c, func(client *api.Client) error {
		have, err := existing(ctx, client, apps)
		if err != nil {
			return err
		}
		names := make([]string, len(apps))
		want := make(map[string]spec.App, len(apps))
		for i, app := range apps {
			names[i], want[app.Name] = app.Name, app
		}
		return f.run(ctx, c, client, names, change{
			done: func(o outcome) string {
				if want[o.App].Stopped {
					return o.App + ": is known and stopped; start it with: meshnode start " + o.App
				}
				return running(o)
			},
			same: ch.remedy,
			do: func(ctx context.Context, client *api.Client, name string) (api.Change, error) {
				old, known := have[name]
				app := settle(want[name], old, known, ch.start || ch.renew)
				switch same := known && len(differences(old, app)) == 0; {
				case same && ch.renew && !app.Stopped:
					return client.Reload(ctx, name, ch.order)
				case same && app.Stopped == old.Stopped:
					return api.Change{App: name, Release: old.Release}, errUnchanged
				}
				if ch.order == spec.OrderStopFirst && app.Order == spec.OrderStartFirst {
					app.Order = spec.OrderRestart // this time only
				}
				want[name] = app
				return client.Start(ctx, api.StartRequest{App: app, Replace: known})
			},
		})
	})
}

// existing returns those of the apps that the cluster has, by name, as it has them.
func existing(ctx context.Context, client *api.Client, apps []spec.App) (map[string]spec.App, error) {
	status, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	have := map[string]spec.App{}
	for _, app := range apps {
		if !slices.ContainsFunc(status.Apps, func(a api.AppStatus) bool { return a.App == app.Name }) {
			continue
		}
		d, err := client.Describe(ctx, app.Name)
		if err != nil {
			return nil, err
		}
		for _, value := range d.App.Env {
			if value == spec.Unseen {
				return nil, api.Errorf(api.CodeForbidden, "ask somebody with the role admin", "a viewer sees no values of variables, so what would change cannot be told")
			}
		}
		have[app.Name] = d.App
		if err := keepSecrets(ctx, client, app); err != nil {
			return nil, err
		}
	}
	return have, nil
}

// keepSecrets puts the mark for the present value in the place of those secret values that are the present ones already: what the node shows of
// them is that mark, so the two can be compared.
func keepSecrets(ctx context.Context, client *api.Client, app spec.App) error {
	if len(app.Process.SecretEnv) == 0 {
		return nil
	}
	names, err := client.Kept(ctx, app.Name, app.Process.SecretEnv)
	if err != nil {
		return err
	}
	for _, name := range names {
		app.Process.SecretEnv[name] = spec.Masked
	}
	return nil
}

// settle is an app of a file as it is to be, with what the file does not say taken from the one that is there.
func settle(app, old spec.App, known, start bool) spec.App {
	app = app.WithDefaults()
	if !known {
		return app
	}
	app.Standing = old.Standing // the change is based on this version
	if start {
		app.Stopped = app.Stopped && old.Stopped
	} else {
		app.Stopped = old.Stopped
	}
	return app
}
