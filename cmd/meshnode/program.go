package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"meshnode/node/config"
)

// interpreters returns the program that runs a script, by the script's ending.
func interpreters() map[string]string {
	return map[string]string{
		".js": "node", ".cjs": "node", ".mjs": "node", ".ts": "node",
		".py": "python3", ".sh": "sh", ".rb": "ruby", ".php": "php",
	}
}

// appFiles returns the endings of files that describe apps and are none themselves.
func appFiles() []string { return []string{".json", ".yaml", ".yml", ".toml"} }

// programFinder turns the word after start into a command.
type programFinder struct {
	dir         string // working directory
	other       string // folder to look in as well; empty = none
	interpreter string // from the flag; empty = by the script's ending, "none" = the script is a program
	lookPath    func(name string) (string, error)
}

// program is what was found: the start of a command, and the name an app of it has by default.
type program struct {
	command []string
	name    string
}

// find looks for a file first, and for a program in PATH where the word is no path.
func (p programFinder) find(what string) (program, error) {
	for _, dir := range []string{p.dir, p.other} {
		path := what
		if !filepath.IsAbs(what) {
			path = filepath.Join(dir, what)
		}
		if info, err := os.Stat(path); dir != "" && err == nil {
			if info.IsDir() {
				return program{}, usagef("%s is a folder; name the script in it", path)
			}
			return p.script(path, info)
		}
	}
	if !strings.Contains(what, "/") {
		if path, err := p.lookPath(what); err == nil {
			return program{command: []string{path}, name: what}, nil
		}
	}
	return program{}, p.missing(what)
}

// script decides what runs the file at path.
func (p programFinder) script(path string, info os.FileInfo) (program, error) {
	ext := filepath.Ext(path)
	name := strings.TrimSuffix(filepath.Base(path), ext)
	by, known := interpreters()[ext]
	if p.interpreter != "" {
		by, known = p.interpreter, true
	}
	switch {
	case known && by != "none":
		by, err := p.resolve(by)
		if err != nil {
			return program{}, err
		}
		return program{command: []string{by, path}, name: name}, nil
	case !info.Mode().IsRegular():
		return program{}, usagef("%s is not a file", path)
	case info.Mode()&0o111 != 0:
		return program{command: []string{path}, name: name}, nil
	}
	for _, e := range appFiles() {
		if ext == e {
			return program{}, usagef("%s is no program; name the script itself, and give its settings as flags", path)
		}
	}
	return program{}, usagef("%s is not executable; say what runs it with -interpreter, or make it a program with: chmod +x %s", path, path)
}

// resolve makes sure that an interpreter exists here. One without a path keeps its bare name, as it may live elsewhere on
// the other servers.
func (p programFinder) resolve(interpreter string) (string, error) {
	if strings.Contains(interpreter, "/") {
		if !filepath.IsAbs(interpreter) {
			interpreter = filepath.Join(p.dir, interpreter)
		}
		if _, err := os.Stat(interpreter); err != nil {
			return "", usagef("there is no program %s; name another with -interpreter", interpreter)
		}
		return interpreter, nil
	}
	if _, err := p.lookPath(interpreter); err != nil {
		return "", usagef("%s is not installed here (it is not in PATH); install it, or name another with -interpreter", interpreter)
	}
	return interpreter, nil
}

// missing names the path that was looked for and the nearest name beside it.
func (p programFinder) missing(what string) error {
	path := what
	if !filepath.IsAbs(what) {
		path = filepath.Join(p.dir, what)
	}
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return usagef("there is no folder %s", folder)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, e.Name())
		}
	}
	if near := config.Nearest(filepath.Base(path), files); near != "" {
		return usagef("there is no file %s; did you mean %s?", path, near)
	}
	return usagef("there is no file %s", path)
}

// lookPath finds a program in the PATH of the console.
func (c *console) lookPath(name string) (string, error) {
	path := ""
	for _, entry := range c.environ {
		if v, ok := strings.CutPrefix(entry, "PATH="); ok {
			path = v
		}
	}
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			continue // a program found by where one happens to stand is none to run on every server
		}
		full := filepath.Join(dir, name)
		if info, err := os.Stat(full); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return full, nil
		}
	}
	return "", fmt.Errorf("%s is not in PATH", name)
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
