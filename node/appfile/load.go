package appfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"meshnode/node/config"
	"meshnode/node/supervisor"
	"meshnode/store/spec"
)

// Options say which file is read, and how.
type Options struct {
	Path    string    // Path is the file, absolute; "-" for Stdin.
	Stdin   io.Reader // Stdin holds JSON or YAML where Path is "-".
	Dir     string    // Dir is the working directory, absolute: what Stdin's relative paths start from.
	Env     string    // Env is the X of the variables env_X that are laid over env; empty for none.
	Only    []string  // Only are the names of the apps that are wanted; empty for all.
	Node    string    // Node is the program that evaluates JavaScript files; empty for node in PATH.
	Environ []string  // Environ is the operator's environment: PATH, HOME, and what a JavaScript file sees.
	Output  io.Writer // Output takes what a JavaScript file prints; nil drops it.
	Cores   int       // Cores is what a negative number of instances is taken from; 0 for the cores usable here.
}

// Warning is something in a file that has no effect here, or another one than the operator may think.
type Warning string

// Is reports whether a word on the command line means an app file: by its ending, or "-".
func Is(word string) bool {
	base := filepath.Base(word)
	switch filepath.Ext(base) {
	case ".json", ".json5", ".jsonc", ".yaml", ".yml":
		return true
	case ".js", ".cjs", ".mjs":
		stem := strings.TrimSuffix(base, filepath.Ext(base))
		return strings.HasSuffix(stem, ".config") || stem == "ecosystem"
	}
	return word == "-"
}

// Names returns the files that are looked for where none is named, the first of them first.
func Names() []string {
	return []string{"ecosystem.config.js", "ecosystem.config.cjs", "ecosystem.config.mjs", "ecosystem.config.json", "ecosystem.config.yaml",
		"ecosystem.config.yml", "ecosystem.json", "ecosystem.yaml", "ecosystem.yml", "meshnode.yaml", "meshnode.yml", "meshnode.json"}
}

// file is one file as it is read.
type file struct {
	Options
	warnings []Warning
	ignored  []string // keys without a meaning
	profiles []string // names X of env_X that some app has
	problems []error
}

// Load reads an app file. The apps come as the file says, without defaults. The error joins everything that is wrong, a line each, which
// names the file, the line where the format has lines, the app and the key. Load runs Node.js for JavaScript files and blocks until it ends.
func Load(ctx context.Context, o Options) ([]spec.App, []Warning, error) {
	f := &file{Options: o}
	if f.Cores == 0 {
		f.Cores = supervisor.UsableCores("/")
	}
	root, err := f.read(ctx)
	var at *syntaxError
	switch {
	case errors.As(err, &at):
		return nil, nil, fmt.Errorf("%s: %w", f.place(at.line), err)
	case err != nil:
		return nil, nil, fmt.Errorf("%s: %w", f.place(0), err)
	}
	list, err := f.apps(root)
	if err != nil {
		return nil, nil, err
	}
	var apps []spec.App
	names := map[string]bool{}
	for i, v := range list {
		app, ok := f.app(v, i)
		if ok && names[app.Name] {
			f.problems = append(f.problems, fmt.Errorf("%s: app %s: there are two apps of that name", f.place(v.line), app.Name))
		}
		names[app.Name] = true
		if ok {
			apps = append(apps, app)
		}
	}
	if err := f.checkProfile(); err != nil {
		f.problems = append(f.problems, err)
	}
	if len(f.problems) == 0 {
		apps, err = f.only(apps)
		f.problems = append(f.problems, err)
	}
	if err := errors.Join(f.problems...); err != nil {
		return nil, nil, err
	}
	if len(f.ignored) > 0 {
		f.warnings = append(f.warnings, Warning(fmt.Sprintf("%s: keys without a meaning here are left out: %s", f.place(0), strings.Join(f.ignored, ", "))))
	}
	return apps, f.warnings, nil
}

// place names the file and a line of it.
func (f *file) place(line int) string {
	name := f.Path
	if name == "-" {
		name = "standard input"
	}
	if line == 0 {
		return name
	}
	return fmt.Sprintf("%s:%d", name, line)
}

// folder is what relative paths start from.
func (f *file) folder() string {
	if f.Path == "-" {
		return f.Dir
	}
	return filepath.Dir(f.Path)
}

func (f *file) isScript() bool {
	return slices.Contains([]string{".js", ".cjs", ".mjs"}, filepath.Ext(f.Path))
}

// own reports whether the file has our name and not PM2's: its apps are stopped as ours are.
func (f *file) own() bool {
	return strings.HasPrefix(filepath.Base(f.Path), "meshnode.")
}

func (f *file) read(ctx context.Context) (value, error) {
	source, err := f.source()
	if err != nil {
		return value{}, err
	}
	switch ext := filepath.Ext(f.Path); {
	case f.isScript():
		return f.parseScript(ctx)
	case ext == ".yaml" || ext == ".yml":
		return parseYAML(source)
	case ext == ".json" || ext == ".json5" || ext == ".jsonc":
		return parseJSON(source)
	case f.Path == "-":
		if first := strings.TrimSpace(string(source)); strings.HasPrefix(first, "{") || strings.HasPrefix(first, "[") || strings.HasPrefix(first, "/") {
			return parseJSON(source)
		}
		return parseYAML(source)
	}
	return value{}, errors.New("it is no app file; those end in .config.js, .config.cjs, .config.mjs, .json, .yaml or .yml")
}

// source reads the whole file, within bounds.
func (f *file) source() ([]byte, error) {
	in := f.Stdin
	if f.Path != "-" {
		opened, err := os.Open(f.Path)
		if errors.Is(err, os.ErrNotExist) {
			return nil, errors.New("there is no such file")
		}
		if err != nil {
			return nil, err
		}
		defer opened.Close()
		in = opened
	}
	source, err := io.ReadAll(io.LimitReader(in, maxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(source) > maxBytes {
		return nil, errors.New("it is larger than 1 MiB; that is no app file")
	}
	return source, nil
}

// apps finds the apps in a file: under the key apps, in a bare list, or the file as a whole is one.
func (f *file) apps(root value) ([]value, error) {
	where := root
	if npm := filepath.Base(f.Path) == "package.json"; root.kind == object {
		apps, ok := root.get("apps")
		if inner, pm2 := root.get("pm2"); npm && !ok && pm2 {
			if apps, ok = inner.get("apps"); !ok {
				apps, ok = inner, true
			}
		}
		switch {
		case ok:
			where = apps
		case npm:
			return nil, fmt.Errorf("%s: it has no key apps", f.place(0))
		case !f.describesApp(root):
			return nil, f.noApps(root)
		}
		if ok && !npm {
			f.checkTop(root)
		}
	}
	if where.kind == object {
		where = value{kind: list, line: where.line, list: []value{where}}
	}
	switch {
	case where.kind != list:
		return nil, fmt.Errorf("%s: apps must be a list of apps, and not %s", f.place(where.line), where.kind)
	case len(where.list) == 0:
		return nil, fmt.Errorf("%s: there are no apps in it", f.place(where.line))
	case len(where.list) > spec.MaxApps:
		return nil, fmt.Errorf("%s: it has %d apps, at most %d are allowed", f.place(where.line), len(where.list), spec.MaxApps)
	}
	return where.list, nil
}

// describesApp reports whether an object is an app by itself.
func (f *file) describesApp(v value) bool {
	return slices.ContainsFunc(v.keys, func(e entry) bool {
		return slices.Contains([]string{"script", "exec", "cmd", "command", "pm_exec_path"}, snake(e.key))
	})
}

func (f *file) noApps(root value) error {
	for _, e := range root.keys {
		if near := config.Nearest(e.key, []string{"apps"}); near != "" {
			return fmt.Errorf("%s: %s: there is no such key; did you mean apps?", f.place(e.line), clip(e.key))
		}
	}
	return fmt.Errorf("%s: there are no apps in it; it must hold a list under the key apps, or be one app with a script", f.place(0))
}

// checkTop looks at what stands beside the apps.
func (f *file) checkTop(root value) {
	for _, e := range root.keys {
		switch word := snake(e.key); word {
		case "apps", "$schema":
		case "deploy", "module", "pm2":
			f.ignore(e.key)
		default:
			err := unknown(e.key, []key{{name: "apps"}, {name: "deploy"}})
			if slices.ContainsFunc(keys(), func(k key) bool { return k.name == word }) {
				err = errors.New("this key belongs into an app")
			}
			f.problems = append(f.problems, fmt.Errorf("%s: %s: %w", f.place(e.line), clip(e.key), err))
		}
	}
}

func (f *file) ignore(key string) {
	if !slices.Contains(f.ignored, key) {
		f.ignored = append(f.ignored, key)
	}
}

func (f *file) warnOnce(text string) {
	w := Warning(fmt.Sprintf("%s: %s", f.place(0), text))
	if !slices.Contains(f.warnings, w) {
		f.warnings = append(f.warnings, w)
	}
}

// checkProfile makes sure that the variables asked for are somewhere. PM2 goes on without a word, with the other ones.
func (f *file) checkProfile() error {
	if f.Env == "" || slices.Contains(f.profiles, f.Env) {
		return nil
	}
	if near := config.Nearest(f.Env, f.profiles); near != "" {
		return fmt.Errorf("%s: no app has env_%s; did you mean env_%s?", f.place(0), clip(f.Env), near)
	}
	f.warnOnce(fmt.Sprintf("no app has env_%s", clip(f.Env)))
	return nil
}

// only keeps the apps that are wanted.
func (f *file) only(apps []spec.App) ([]spec.App, error) {
	if len(f.Only) == 0 {
		return apps, nil
	}
	var names []string
	for _, a := range apps {
		names = append(names, a.Name)
	}
	var problems []error
	for _, want := range f.Only {
		if slices.Contains(names, want) {
			continue
		}
		near := config.Nearest(want, names)
		if near == "" {
			near = strings.Join(names, ", ")
		}
		problems = append(problems, fmt.Errorf("%s: there is no app %q; there is %s", f.place(0), clip(want), near))
	}
	return slices.DeleteFunc(apps, func(a spec.App) bool { return !slices.Contains(f.Only, a.Name) }), errors.Join(problems...)
}
