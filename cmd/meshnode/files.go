package main

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"

	"meshnode/node/appfile"
	"meshnode/store/spec"
)

// fileFlags are the flags that say what is taken of an app file.
type fileFlags struct{ profile, only string }

// declareFile adds them to fs. env is how the flag for the variables is called; "" where the verb has one of its own.
func declareFile(fs *flag.FlagSet, env string) *fileFlags {
	f := &fileFlags{}
	if env != "" {
		fs.StringVar(&f.profile, env, "", "`name` with an app file: lay its env_name over env")
	}
	fs.StringVar(&f.only, "only", "", "`apps` with an app file: only these of its apps, like api,mailer")
	return f
}

// given names a flag that needs an app file and stands on the command line, or "".
func (f *fileFlags) given() string {
	switch {
	case f.only != "":
		return "-only"
	case f.profile != "":
		return "-env"
	}
	return ""
}

// isFile reports whether a word of the command line means an app file.
func isFile(word string) bool { return appfile.Is(word) }

// load reads an app file, and shows what it warns of.
func (f *fileFlags) load(ctx context.Context, c *console, word string) ([]spec.App, error) {
	o := appfile.Options{Path: word, Stdin: c.in, Dir: c.dir, Env: f.profile, Environ: c.environ, Output: c.errs}
	if word != "-" {
		o.Path = c.path(word)
	}
	o.Only = strings.FieldsFunc(f.only, func(r rune) bool { return r == ',' || r == ' ' })
	apps, warnings, err := appfile.Load(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		c.say("warning: %s", w)
	}
	return apps, nil
}

// oneFile returns the app file that the arguments name, or the one in this folder that has one of the usual names.
func (c *console) oneFile(in input) (string, error) {
	args := append(in.args, in.after...)
	switch {
	case len(args) > 1:
		return "", usagef("%q is one argument too many; give one file", args[1])
	case len(args) == 1 && !isFile(args[0]):
		return "", usagef("%s is no app file; those end in .config.js, .config.cjs, .config.mjs, .json, .yaml or .yml", args[0])
	case len(args) == 1:
		return args[0], nil
	}
	if name := c.usualFile(); name != "" {
		return name, nil
	}
	return "", usagef("which file? there is no %s here; to make one: meshnode init", appfile.Names()[0])
}

// usualFile returns the app file in this folder that has one of the usual names, or "".
func (c *console) usualFile() string {
	for _, name := range appfile.Names() {
		if info, err := os.Stat(filepath.Join(c.dir, name)); err == nil && info.Mode().IsRegular() {
			return name
		}
	}
	return ""
}

// named puts the names of a file's apps in the place of the file.
func (f *fileFlags) named(ctx context.Context, c *console, args []string) ([]string, error) {
	var out []string
	files := false
	for _, arg := range args {
		if !isFile(arg) {
			out = append(out, arg)
			continue
		}
		files = true
		apps, err := f.load(ctx, c, arg)
		if err != nil {
			return nil, err
		}
		for _, app := range apps {
			out = append(out, app.Name)
		}
	}
	if given := f.given(); given != "" && !files {
		return nil, usagef("%s needs an app file, like ecosystem.config.js", given)
	}
	return out, nil
}
