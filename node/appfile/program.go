package appfile

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"meshnode/node/config"
)

// Interpreters returns the program that runs a script, by the script's ending.
func Interpreters() map[string]string {
	return map[string]string{
		".js": "node", ".cjs": "node", ".mjs": "node", ".ts": "node",
		".py": "python3", ".sh": "sh", ".rb": "ruby", ".php": "php", ".pl": "perl",
	}
}

// Programs turns the name of a script or program into a command.
type Programs struct {
	Dir             string   // Dir is the working directory, absolute.
	Other           string   // Other is a folder to look in as well; empty = none.
	Interpreter     string   // Interpreter runs the script; empty = by the script's ending, "none" = the script is a program.
	InterpreterArgs []string // InterpreterArgs stand between the interpreter and the script.
	Environ         []string // Environ holds the PATH that programs are looked up in.
	Key             string   // Key is what the operator sets Interpreter with, for messages.
}

// Program is what was found: the start of a command, and the name an app of it has by default.
type Program struct {
	Command []string
	Name    string
}

// none says that a script is a program itself.
const none = "none"

// Find looks for a file first, then for a program in PATH where what is no path, and then takes what for a line of a shell where it
// holds spaces.
func (p Programs) Find(what string) (Program, error) {
	for _, dir := range []string{p.Dir, p.Other} {
		path := what
		if !filepath.IsAbs(what) {
			path = filepath.Join(dir, what)
		}
		if info, err := os.Stat(path); dir != "" && err == nil {
			if info.IsDir() {
				return Program{}, fmt.Errorf("%s is a folder; name the script in it", path)
			}
			return p.script(path, info)
		}
	}
	if !strings.Contains(what, "/") {
		if path, err := p.LookPath(what); err == nil {
			return Program{Command: p.behind([]string{path}), Name: what}, nil
		}
	}
	if line := strings.TrimSpace(what); strings.ContainsAny(line, " \t") {
		return p.shell(line), nil
	}
	return Program{}, p.missing(what)
}

// behind puts the interpreter's arguments behind a program that is its own interpreter: node, with its script among the arguments.
func (p Programs) behind(command []string) []string { return append(command, p.InterpreterArgs...) }

// shell is the command for a line of a shell. One that is no more than words needs no shell, and the program is seen for what it is.
func (p Programs) shell(line string) Program {
	if !strings.ContainsAny(line, "|&;<>()$`*?[]#~=%{}!\n\\") {
		if words, err := Split(line); err == nil {
			name := filepath.Base(words[0])
			if _, err := p.LookPath(words[0]); err == nil {
				return Program{Command: words, Name: name}
			}
		}
	}
	first, _, _ := strings.Cut(line, " ")
	sh := "sh"
	if _, err := p.LookPath("bash"); err == nil { // which PM2 takes
		sh = "bash"
	}
	return Program{Command: []string{sh, "-c", line + ` "$@"`, sh}, Name: filepath.Base(first)}
}

// script decides what runs the file at path.
func (p Programs) script(path string, info os.FileInfo) (Program, error) {
	ext := filepath.Ext(path)
	name := strings.TrimSuffix(filepath.Base(path), ext)
	by := Interpreters()[ext]
	executable := info.Mode().IsRegular() && info.Mode()&0o111 != 0
	if own := shebang(path); own != "" && (ext == ".sh" || by == "" && (own == "node" || !executable)) {
		by = own
	}
	if p.Interpreter != "" {
		by = p.Interpreter
	}
	switch {
	case by != "" && by != none:
		by, err := p.resolve(by)
		if err != nil {
			return Program{}, err
		}
		return Program{Command: append(p.behind([]string{by}), path), Name: name}, nil
	case !info.Mode().IsRegular():
		return Program{}, fmt.Errorf("%s is not a file", path)
	case executable:
		return Program{Command: []string{path}, Name: name}, nil
	}
	return Program{}, fmt.Errorf("%s is not executable; say what runs it with %s, or make it a program with: chmod +x %s", path, p.Key, path)
}

// shebang returns the program that the first line of a script names, without its folder; "" where there is no such line.
func shebang(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	line, _ := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	rest, ok := strings.CutPrefix(line, "#!")
	if !ok {
		return ""
	}
	for _, word := range strings.Fields(rest) {
		if base := filepath.Base(word); base != "env" && !strings.HasPrefix(word, "-") {
			return base
		}
	}
	return ""
}

// resolve makes sure that an interpreter exists here. One without a path keeps its bare name, as it may live elsewhere on
// the other servers.
func (p Programs) resolve(interpreter string) (string, error) {
	if strings.Contains(interpreter, "/") {
		if !filepath.IsAbs(interpreter) {
			interpreter = filepath.Join(p.Dir, interpreter)
		}
		if _, err := os.Stat(interpreter); err != nil {
			return "", fmt.Errorf("there is no program %s; name another with %s", interpreter, p.Key)
		}
		return interpreter, nil
	}
	if name, version, pinned := strings.Cut(interpreter, "@"); pinned {
		return "", fmt.Errorf("%s %s cannot be chosen by its version; name the path of the program with %s", name, version, p.Key)
	}
	if _, err := p.LookPath(interpreter); err != nil {
		return "", fmt.Errorf("%s is not installed here (it is not in PATH); install it, or name another with %s", interpreter, p.Key)
	}
	return interpreter, nil
}

// missing names the path that was looked for and the nearest name beside it.
func (p Programs) missing(what string) error {
	path := what
	if !filepath.IsAbs(what) {
		path = filepath.Join(p.Dir, what)
	}
	folder := filepath.Dir(path)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return fmt.Errorf("there is no folder %s", folder)
	}
	var files []string
	for _, e := range entries {
		if !e.IsDir() {
			files = append(files, e.Name())
		}
	}
	if near := config.Nearest(filepath.Base(path), files); near != "" {
		return fmt.Errorf("there is no file %s; did you mean %s?", path, near)
	}
	return fmt.Errorf("there is no file %s", path)
}

// LookPath finds a program in PATH, in its absolute folders alone.
func (p Programs) LookPath(name string) (string, error) {
	if filepath.IsAbs(name) {
		return name, nil
	}
	for _, dir := range filepath.SplitList(variable(p.Environ, "PATH")) {
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

// variable returns the last value that an environment has for a name.
func variable(environ []string, name string) string {
	for i := len(environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(environ[i], name+"="); ok {
			return v
		}
	}
	return ""
}
