package config

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
)

// LogLevels returns the log levels there are, the most talkative first.
func LogLevels() []string { return []string{"trace", "debug", "info", "warn", "error"} }

// Validate returns every problem of s, joined, each on a line that names the flag and the remedy; nil when there is none.
func (s Settings) Validate() error {
	return errors.Join(s.check(func(name string) string { return "-" + name })...)
}

// check returns every problem of s; where names the place that a setting came from.
func (s Settings) check(where func(name string) string) []error {
	var problems []error
	report := func(name, format string, args ...any) {
		problems = append(problems, fmt.Errorf("%s: %w", where(name), fmt.Errorf(format, args...)))
	}
	s.checkAddresses(report)
	s.checkNames(report)
	switch {
	case s.DataDir == "":
		report("data-dir", "no home folder is known to keep state in; give one with -data-dir")
	case !filepath.IsAbs(s.DataDir):
		report("data-dir", "%q is not an absolute path", s.DataDir)
	}
	if s.Cores < 0 || s.Cores > maxCores {
		report("cores", "%d is not between 1 and %d; leave it out to use all cores", s.Cores, maxCores)
	}
	if s.Weight != 0 && !(s.Weight >= minWeight && s.Weight <= maxWeight) {
		report("weight", "%v is not between %v and %v; leave it out for 1", s.Weight, minWeight, maxWeight)
	}
	if !slices.Contains(LogLevels(), s.LogLevel) {
		hint := "use one of " + strings.Join(LogLevels(), ", ")
		if near := Nearest(s.LogLevel, LogLevels()); near != "" {
			hint = "did you mean " + near + "?"
		}
		report("log-level", "there is no level %q; %s", s.LogLevel, hint)
	}
	switch {
	case s.Insecure && s.KeyFile != "":
		report("insecure", "a key file is given too; leave one of the two out")
	case s.Insecure && s.Key != "":
		report("insecure", "MESHNODE_KEY is set too; leave one of the two out")
	case s.Insecure && (s.Token != "" || s.TokenFile != ""):
		report("insecure", "a join token is given too; leave one of the two out")
	case s.TokenFile != "" && s.Token != "":
		report("token-file", "MESHNODE_TOKEN is set too; leave one of the two out")
	case s.KeyFile != "" && s.Key != "":
		report("key-file", "MESHNODE_KEY is set too; leave one of the two out")
	}
	return problems
}

type reporter func(name, format string, args ...any)

func (s Settings) checkAddresses(report reporter) {
	if len(s.Join) > maxJoinEntries {
		report("join", "%d addresses are more than %d; a few seeds are enough", len(s.Join), maxJoinEntries)
	}
	for _, addr := range s.Join {
		host, port, err := net.SplitHostPort(addr)
		switch {
		case err != nil:
			report("join", "%q is not an address of the form host:port", addr)
		case host == "" || isWildcard(host):
			report("join", "%q names no server; give the host name or address of one", addr)
		case port == "0":
			report("join", "%q has no port to reach", addr)
		}
	}
	if _, _, err := net.SplitHostPort(s.Bind); err != nil {
		report("bind", "%q is not an address of the form host:port", s.Bind)
	}
	if s.Advertise != "" {
		host, _, err := net.SplitHostPort(s.Advertise)
		switch {
		case err != nil:
			report("advertise", "%q is not an address of the form host:port", s.Advertise)
		case host == "" || isWildcard(host):
			report("advertise", "%q reaches no one; give the address that the other servers see", s.Advertise)
		}
	}
	if s.HTTP != "" {
		if _, _, err := net.SplitHostPort(s.HTTP); err != nil {
			report("http", "%q is not an address of the form host:port; turn it off with off", s.HTTP)
		}
	}
	if s.AppBind != "" {
		if _, err := netip.ParseAddr(s.AppBind); err != nil {
			report("app-bind", "%q is not an IP address; leave it out for all addresses", s.AppBind)
		}
	}
}

func (s Settings) checkNames(report reporter) {
	switch {
	case s.Node == "":
		report("node", "this host has no name; give the node one with -node")
	case !isName(s.Node):
		report("node", "%q is no usable name; use up to %d letters, digits, dots, dashes and underscores", s.Node, maxNameBytes)
	}
	if s.Zone != "" && !isName(s.Zone) {
		report("zone", "%q is no usable name; use up to %d letters, digits, dots, dashes and underscores", s.Zone, maxNameBytes)
	}
	if len(s.Tags) > maxTags {
		report("tag", "%d tags are more than %d", len(s.Tags), maxTags)
	}
	for _, k := range slices.Sorted(maps.Keys(s.Tags)) {
		if !isName(k) {
			report("tag", "%q is no usable name; use up to %d letters, digits, dots, dashes and underscores", k, maxNameBytes)
		}
		if len(s.Tags[k]) > maxNameBytes {
			report("tag", "the value of %q is longer than %d bytes", k, maxNameBytes)
		}
	}
}

func isWildcard(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}

// isName reports whether name can stand in addresses, certificates, logs and file names without quoting.
func isName(name string) bool {
	if name == "" || len(name) > maxNameBytes {
		return false
	}
	for i, c := range []byte(name) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || !strings.ContainsRune("._-", rune(c))) {
			return false
		}
	}
	return true
}
