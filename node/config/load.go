package config

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Load reads the settings of this server from args (without the program name) and environ ("KEY=value" entries), and
// from the settings file these name. It returns the arguments that are no flags; a "--" ends the flags.
//
// The settings are complete and valid when the error is nil. The error is flag.ErrHelp when help was asked for, and
// otherwise holds every problem at once.
func Load(args, environ []string) (Settings, []string, error) {
	fs := flag.NewFlagSet("meshnode", flag.ContinueOnError)
	flags := NewFlags(fs)
	rest, after, err := ParseArgs(fs, args)
	if err != nil {
		return Settings{}, nil, err
	}
	s, err := flags.Resolve(environ)
	return s, append(rest, after...), err
}

// Flags are the flags of the node, declared on a flag set that may hold other flags too. Use NewFlags.
type Flags struct {
	given map[string]*given
}

// given records what the command line says about one option, to be judged together with the other layers.
type given struct {
	values []string
	flag   bool
}

func (g *given) String() string     { return strings.Join(g.values, ",") }
func (g *given) Set(v string) error { g.values = append(g.values, v); return nil }
func (g *given) IsBoolFlag() bool   { return g.flag }

// NewFlags declares the flags of the node on fs, which must not hold flags of the same names.
func NewFlags(fs *flag.FlagSet) *Flags {
	f := &Flags{given: map[string]*given{}}
	for _, o := range options() {
		g := &given{flag: o.flag}
		f.given[o.name] = g
		fs.Var(g, o.name, o.usage)
	}
	return f
}

// Resolve puts the layers together once the flag set has been parsed: defaults, then the settings file, then environ,
// then the flags. The settings are complete and valid when the error is nil; otherwise it holds every problem at once.
func (f *Flags) Resolve(environ []string) (Settings, error) {
	r := resolver{settings: Defaults(environ), origin: map[string]string{}}
	file, how := f.configFile(environ)
	if file != "" {
		r.file(file, how)
	}
	r.environment(environ)
	for _, o := range options() {
		if g := f.given[o.name]; len(g.values) > 0 {
			r.set(o, "-"+o.name, g.values)
		}
	}
	r.settings.ConfigFile = file
	r.settings.Key = strings.TrimSpace(lookup(environ, EnvPrefix+"KEY"))
	r.settings.Token = strings.TrimSpace(lookup(environ, EnvPrefix+"TOKEN"))
	r.chooseKey()
	r.paths()
	r.problems = append(r.problems, r.settings.normalize(r.where)...)
	r.problems = append(r.problems, r.settings.check(r.where)...)
	if len(r.problems) > 0 {
		return Settings{}, errors.Join(r.problems...)
	}
	return r.settings, nil
}

func (f *Flags) configFile(environ []string) (path, how string) {
	if g := f.given["config"]; len(g.values) > 0 {
		return g.values[len(g.values)-1], "-config"
	}
	return lookup(environ, EnvPrefix+"CONFIG"), EnvPrefix + "CONFIG"
}

// resolver gathers the layers of one Resolve.
type resolver struct {
	settings Settings
	origin   map[string]string // option name -> the place its value came from
	problems []error
}

// where names the place that an option's value came from.
func (r *resolver) where(name string) string {
	if place, ok := r.origin[name]; ok {
		return place
	}
	return "-" + name
}

func (r *resolver) set(o option, place string, values []string) {
	if err := o.set(&r.settings, values); err != nil {
		r.problems = append(r.problems, fmt.Errorf("%s: %w", place, err))
		return
	}
	r.origin[o.name] = place
}

// environment applies the variables that are settings. An empty variable counts as not set. A name that is one typing
// mistake away from a setting is a problem: a lost MESHNODE_JOIN would found a second cluster.
func (r *resolver) environment(environ []string) {
	known := map[string]option{}
	var names []string
	for _, o := range options() {
		known[o.env()] = o
		names = append(names, o.env())
	}
	others := []string{"ADDR", "APP", "CERT", "KEY", "TOKEN", "VERSION", "WORKER"} // of the verbs and of the workers
	for _, entry := range environ {
		name, _, _ := strings.Cut(entry, "=")
		if _, ok := known[name]; ok || !strings.HasPrefix(name, EnvPrefix) {
			continue
		}
		word := strings.TrimPrefix(name, EnvPrefix)
		if slices.Contains(others, word) {
			continue
		}
		for _, n := range append(names, EnvPrefix+"KEY") {
			if isTypo(word, strings.TrimPrefix(n, EnvPrefix)) {
				r.problems = append(r.problems, fmt.Errorf("%s: there is no such setting; did you mean %s?", name, n))
				break
			}
		}
	}
	for _, o := range options() {
		if v := lookup(environ, o.env()); v != "" {
			r.set(o, o.env(), []string{v})
		}
	}
}

// isTypo reports whether word is most likely a mistyped right. Short words have many innocent neighbours (MESHNODE_MODE
// beside MESHNODE_NODE), so of these only swapped letters count.
func isTypo(word, right string) bool {
	if len(right) <= 4 && len(word) != len(right) || slips(word, right) != 1 {
		return false
	}
	sorted := func(s string) string { b := []byte(s); slices.Sort(b); return string(b) }
	return len(right) > 4 || sorted(word) == sorted(right)
}

// chooseKey lets the stronger source win where one names a key file and another holds the key itself, and the same for the
// join token. Two equally strong ones stay, for the check to report.
func (r *resolver) chooseKey() {
	switch place := r.origin["key-file"]; {
	case r.settings.Key == "" || r.settings.KeyFile == "":
	case place == "-key-file":
		r.settings.Key = ""
	case place != EnvPrefix+"KEY_FILE":
		r.settings.KeyFile = ""
	}
	switch place := r.origin["token-file"]; {
	case r.settings.Token == "" || r.settings.TokenFile == "":
	case place == "-token-file":
		r.settings.Token = ""
	case place != EnvPrefix+"TOKEN_FILE":
		r.settings.TokenFile = ""
	}
}

// paths makes the paths absolute, as the process may be started from anywhere and workers run elsewhere.
func (r *resolver) paths() {
	for _, path := range []*string{&r.settings.DataDir, &r.settings.KeyFile, &r.settings.TokenFile, &r.settings.ConfigFile} {
		if *path == "" {
			continue
		}
		if abs, err := filepath.Abs(*path); err == nil {
			*path = abs
		}
	}
}
