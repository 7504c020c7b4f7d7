package main

import (
	"os"

	"meshnode/node/appfile"
)

// program finds what the word after start or run means. The error is a usageError.
func (f *appFlags) program(c *console, what, other string) (appfile.Program, error) {
	args, err := splitFlag("-node-args", f.run.nodeArgs)
	if err != nil {
		return appfile.Program{}, err
	}
	found, err := appfile.Programs{
		Dir: c.dir, Other: other, Interpreter: f.run.interpreter, InterpreterArgs: args, Environ: c.environ, Key: "-interpreter",
	}.Find(what)
	if err != nil {
		return found, &usageError{err: err}
	}
	return found, nil
}

// splitFlag splits the value of a flag into words.
func splitFlag(name, line string) ([]string, error) {
	if line == "" {
		return nil, nil
	}
	words, err := appfile.Split(line)
	if err != nil {
		return nil, usagef("%s: %v", name, err)
	}
	return words, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
