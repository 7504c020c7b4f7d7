package config

import (
	"fmt"
	"strconv"
	"strings"
)

// option is one setting as the operator names it.
type option struct {
	name  string // flag name; the file key has _ for -, the variable is upper case behind MESHNODE_
	usage string // for help; `quoted` word = what stands for the value
	flag  bool   // true = takes no value on the command line
	set   func(s *Settings, values []string) error
}

// key returns the option's name in the settings file.
func (o option) key() string { return strings.ReplaceAll(o.name, "-", "_") }

// env returns the option's name in the environment.
func (o option) env() string { return EnvPrefix + strings.ToUpper(o.key()) }

// options returns the table of settings in the order help shows them.
func options() []option {
	return []option{
		{name: "join", usage: "`addr` host[:port] of a server to join; repeat it, or separate with commas", set: setJoin},
		{name: "bind", usage: "`addr` address of the port between servers, TCP and UDP (default 0.0.0.0:7946)", set: text(func(s *Settings) *string { return &s.Bind })},
		{name: "advertise", usage: "`addr` host[:port] the other servers reach this one at", set: text(func(s *Settings) *string { return &s.Advertise })},
		{name: "node", usage: "`name` name of this node (default the host name)", set: text(func(s *Settings) *string { return &s.Node })},
		{name: "data-dir", usage: "`dir` folder of this node's state (default /var/lib/meshnode for root)", set: text(func(s *Settings) *string { return &s.DataDir })},
		{name: "key-file", usage: "`file` file that holds the cluster key; or put the key into MESHNODE_KEY", set: text(func(s *Settings) *string { return &s.KeyFile })},
		{name: "token-file", usage: "`file` file that holds a join token, in place of the key; or put it into MESHNODE_TOKEN", set: text(func(s *Settings) *string { return &s.TokenFile })},
		{name: "insecure", usage: "no key and no encryption between servers; trusted networks only", flag: true, set: yesNo(func(s *Settings) *bool { return &s.Insecure })},
		{name: "tag", usage: "`k=v` a label of this server; repeat it, or separate with commas", set: setTags},
		{name: "zone", usage: "`name` failure zone this server stands in", set: text(func(s *Settings) *string { return &s.Zone })},
		{name: "weight", usage: "`n` share of connections that a worker of this server gets beside one of another (default 1)", set: setWeight},
		{name: "cores", usage: "`n` how many cores to use (default all usable ones)", set: setCores},
		{name: "http", usage: "`addr` address of /metrics and health, or off (default 127.0.0.1:7947)", set: text(func(s *Settings) *string { return &s.HTTP })},
		{name: "app-bind", usage: "`ip` address client ports open on where an app names none (default all)", set: text(func(s *Settings) *string { return &s.AppBind })},
		{name: "no-preload", usage: "load nothing of meshnode into Node.js workers", flag: true, set: yesNo(func(s *Settings) *bool { return &s.NoPreload })},
		{name: "no-workers", usage: "run no workers on this server; it takes connections and passes all on", flag: true, set: yesNo(func(s *Settings) *bool { return &s.NoWorkers })},
		{name: "direct", usage: "`auto|off` Node.js workers accept by themselves while nobody has to steer (default auto)", set: setDirect},
		{name: "log-level", usage: "`level` trace, debug, info, warn or error (default info)", set: text(func(s *Settings) *string { return &s.LogLevel })},
		{name: "log-json", usage: "log as JSON lines", flag: true, set: yesNo(func(s *Settings) *bool { return &s.LogJSON })},
		{name: "config", usage: "`file` settings file, YAML or JSON", set: text(func(s *Settings) *string { return &s.ConfigFile })},
	}
}

func text(field func(*Settings) *string) func(*Settings, []string) error {
	return func(s *Settings, values []string) error {
		*field(s) = strings.TrimSpace(values[len(values)-1])
		return nil
	}
}

func yesNo(field func(*Settings) *bool) func(*Settings, []string) error {
	return func(s *Settings, values []string) error {
		last := values[len(values)-1]
		v, err := parseBool(last)
		if err != nil {
			return err
		}
		*field(s) = v
		return nil
	}
}

func parseBool(word string) (bool, error) {
	switch strings.ToLower(strings.TrimSpace(word)) {
	case "1", "t", "true", "yes", "on":
		return true, nil
	case "0", "f", "false", "no", "off":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", word)
}

func setDirect(s *Settings, values []string) error {
	switch last := strings.ToLower(strings.TrimSpace(values[len(values)-1])); last {
	case "auto":
		s.Direct = true
	case "off":
		s.Direct = false
	default:
		return fmt.Errorf("%q is neither auto nor off", last)
	}
	return nil
}

func setCores(s *Settings, values []string) error {
	last := strings.TrimSpace(values[len(values)-1])
	n, err := strconv.Atoi(last)
	if err != nil {
		return fmt.Errorf("%q is not a whole number; leave it out to use all cores", last)
	}
	s.Cores = n
	return nil
}

func setWeight(s *Settings, values []string) error {
	last := strings.TrimSpace(values[len(values)-1])
	w, err := strconv.ParseFloat(last, 64)
	if err != nil {
		return fmt.Errorf("%q is no number like 2 or 0.5", last)
	}
	s.Weight = w
	return nil
}

func setJoin(s *Settings, values []string) error {
	s.Join = splitList(values)
	return nil
}

func setTags(s *Settings, values []string) error {
	tags := map[string]string{}
	for _, entry := range splitList(values) {
		k, v, ok := strings.Cut(entry, "=")
		k, v = strings.TrimSpace(k), strings.TrimSpace(v)
		if !ok || k == "" {
			return fmt.Errorf("%q is not of the form name=value", entry)
		}
		if old, twice := tags[k]; twice && old != v {
			return fmt.Errorf("%q is given twice, as %q and as %q", k, old, v)
		}
		tags[k] = v
	}
	s.Tags = tags
	if len(tags) == 0 {
		s.Tags = nil
	}
	return nil
}

// splitList cuts every value at its commas and drops what is empty.
func splitList(values []string) []string {
	var out []string
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				out = append(out, part)
			}
		}
	}
	return out
}
