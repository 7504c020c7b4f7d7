package main

import (
	"context"
	"errors"
	"flag"
	"strings"

	"meshnode/node/api"
	"meshnode/store/spec"
)

func startVerb() verb {
	return verb{
		name: "start", args: "<script|program|app|file>... [-- args]", brief: "run an app on every server, or start a stopped one again",
		more: []string{
			"A script is run by the program its ending stands for: .js .cjs .mjs .ts by node, .py by",
			"python3, .sh by sh, .rb by ruby, .php by php, .pl by perl. What stands behind -- is handed to",
			"it. The files must be at the same place on every server.",
			"An app file (ecosystem.config.js, .json, .yaml, - for standard input) starts its apps: see",
			"meshnode help apply. Those that run already and have not changed are left alone; for new",
			"code use: meshnode reload <file>. Without an argument it is the file in this folder.",
			"Times have a unit, like 30s; a bare number is in milliseconds, as in PM2.",
		},
		examples: []string{
			"meshnode start server.js",
			"meshnode start -n api -i 4 -env NODE_ENV=production server.js -- --verbose",
			"meshnode start -mode port -port 8080 ./server",
			"meshnode start ecosystem.config.js -env production -only api,mailer",
			"meshnode start api",
		},
		declare: func(fs *flag.FlagSet) action {
			f := &startFlags{app: declareApp(fs), changeFlags: declareChange(fs), file: declareFile(fs, "")}
			fs.BoolVar(&f.replace, "replace", false, "take the place of the app of that name, worker by worker")
			return f.start
		},
	}
}

type startFlags struct {
	*changeFlags
	app     *appFlags
	file    *fileFlags
	replace bool
}

// start tells an app from a script: what has no slash and is the name of an app is that app.
func (f *startFlags) start(ctx context.Context, c *console, in input) error {
	if usual := c.usualFile(); len(in.args) == 0 && usual != "" {
		in.args = []string{usual}
	}
	switch {
	case len(in.args) == 0:
		return usagef("what shall be started? name a script, a program, an app or an app file")
	case isFile(in.args[0]):
		return f.startFile(ctx, c, in)
	case f.file.only != "":
		return usagef("-only needs an app file, like ecosystem.config.js")
	}
	return f.with(c, func(client *api.Client) error {
		apps, err := f.known(ctx, client, in.args)
		switch {
		case err != nil:
			return err
		case apps != nil:
			return f.startKnown(ctx, c, client, apps, in)
		case len(in.args) > 1:
			return usagef("%q is one argument too many; arguments for the app stand behind --", in.args[1])
		}
		return f.startNew(ctx, c, client, in)
	})
}

// startFile starts the apps of a file.
func (f *startFlags) startFile(ctx context.Context, c *console, in input) error {
	apps, err := f.load(ctx, c, in)
	if err != nil {
		return err
	}
	return f.apply(ctx, c, apps, fileChange{start: true, remedy: "for new code: meshnode reload " + in.args[0]})
}

// load reads the app file that the arguments name. Flags of an app are refused: the file says it all.
func (f *startFlags) load(ctx context.Context, c *console, in input) ([]spec.App, error) {
	if len(in.args) > 1 || in.after != nil {
		return nil, usagef("give one app file, and nothing behind it")
	}
	if len(f.app.env) > 1 || len(f.app.env) == 1 && strings.Contains(f.app.env[0], "=") {
		return nil, usagef("-env with an app file is the name of one of its env_*; variables belong into the file")
	}
	if given := f.app.given("env"); given != "" || f.replace {
		return nil, usagef("-%s does not fit an app file; write it into %s", firstOf(given, "replace"), in.args[0])
	}
	f.file.profile = strings.Join(f.app.env, "")
	return f.file.load(ctx, c, in.args[0])
}

// known returns the apps that the words name, or nil when the first is none. The node is asked before files are looked
// at, so that a missing node is the first thing told.
func (f *startFlags) known(ctx context.Context, client *api.Client, words []string) ([]string, error) {
	status, err := client.Status(ctx)
	if err != nil {
		return nil, err
	}
	apps := map[string]bool{}
	all := []string{}
	for _, a := range status.Apps {
		apps[a.App] = true
		all = append(all, a.App)
	}
	switch {
	case words[0] == allApps:
		return all, nil
	case !apps[words[0]] || f.replace:
		return nil, nil
	}
	for _, w := range words {
		if !apps[w] {
			return nil, usagef("%q is no app, but %q is; start them one by one", w, words[0])
		}
	}
	return words, nil
}

// startKnown starts stopped apps again, as they are.
func (f *startFlags) startKnown(ctx context.Context, c *console, client *api.Client, apps []string, in input) error {
	if given := f.app.given(""); given != "" || in.after != nil {
		what := "-" + given
		if given == "" {
			what = "--"
		}
		return usagef("%s does not fit: %s is there already; to change it: meshnode scale, or meshnode start -replace <script>", what, strings.Join(apps, ", "))
	}
	var stopped []string
	for _, name := range apps {
		d, err := client.Describe(ctx, name)
		switch {
		case err != nil:
			return err
		case d.App.Stopped:
			stopped = append(stopped, name)
		case f.json:
			c.say("%s runs already", name)
		default:
			if err := c.print("%s runs already, %d of %s ready", name, d.Status.Ready, plural(d.Status.Workers, "worker")); err != nil {
				return err
			}
		}
	}
	if len(stopped) == 0 && !f.json {
		return nil
	}
	return f.run(ctx, c, client, stopped, change{done: running, do: restartStopped})
}

// restartStopped starts one stopped app, based on the version that was read.
func restartStopped(ctx context.Context, client *api.Client, name string) (api.Change, error) {
	d, err := client.Describe(ctx, name)
	if err != nil {
		return api.Change{}, err
	}
	app := d.App
	app.Stopped = false
	return client.Start(ctx, api.StartRequest{App: app, Replace: true})
}

func (f *startFlags) startNew(ctx context.Context, c *console, client *api.Client, in input) error {
	app, err := f.app.app(c, in.args[0], in.after)
	if err != nil {
		return err
	}
	return f.run(ctx, c, client, []string{app.Name}, change{
		done: running,
		do: func(ctx context.Context, client *api.Client, _ string) (api.Change, error) {
			changed, err := client.Start(ctx, api.StartRequest{App: app, Replace: f.replace})
			var e *api.Error
			if errors.As(err, &e) && e.Code == api.CodeConflict && e.Remedy == "" {
				e.Remedy = "use reload for new code, -replace for new flags, or another -name"
			}
			return changed, err
		},
	})
}
