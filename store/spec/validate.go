package spec

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var (
	appName  = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)
	hostName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)
)

// Validate reports everything that keeps a from being run, joined into one error, each part beginning with the JSON
// key it is about; nil when nothing does. It expects defaults to be filled in: see WithDefaults.
func (a App) Validate() error {
	problems := []error{
		ValidateName(a.Name),
		a.validateCommand(),
		a.validateDir(),
		a.validateEnv(),
		a.validateSecrets(),
		validateRange("workers", float64(a.Workers), MaxWorkers),
		oneOf("mode", a.Mode, ModeAuto, ModeCluster, ModeSocket, ModePort),
		oneOf("order", a.Order, OrderStartFirst, OrderStopFirst, OrderRestart),
		validateAddresses("listen", a.Listen),
		validateAddresses("learned", a.Learned),
		validateRange("timeouts.listen_seconds", a.Timeouts.Listen, MaxTimeout),
		validateRange("timeouts.drain_seconds", a.Timeouts.Drain, MaxTimeout),
		validateRange("timeouts.kill_seconds", a.Timeouts.Kill, MaxTimeout),
		validateRange("timeouts.watch_seconds", max(a.Timeouts.Watch, 0), MaxTimeout),
		matches("namespace", a.Namespace, appName.MatchString, "cannot be a namespace: use letters, digits, dots, dashes and underscores"),
		a.Process.validate(),
		a.Care.validate(),
		a.Clients.validate(a.Listen),
	}
	if a.Mode == ModeSocket && hasDatagrams(a.Listen) {
		problems = append(problems, errors.New("listen: a worker in mode socket inherits no socket for datagrams; use mode port"))
	}
	if a.Mode == ModeCluster && a.Process.SendProxy != "" {
		problems = append(problems, errors.New("process.send_proxy: a Node.js worker sees its clients' addresses by itself"))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("app: %w", err)
	}
	if len(text) > MaxAppBytes {
		return fmt.Errorf("app: %d bytes of JSON, at most %d are allowed", len(text), MaxAppBytes)
	}
	return nil
}

// ValidateName reports why name cannot be the name of an app; nil when it can.
func ValidateName(name string) error {
	switch {
	case name == "":
		return errors.New("name: missing")
	case strings.EqualFold(name, "all"):
		return fmt.Errorf("name: %q stands for every app and cannot be the name of one", name)
	case !appName.MatchString(name):
		return fmt.Errorf("name: %q: use 1 to 63 letters, digits, dots, dashes and underscores, a letter or digit first", clip(name))
	}
	return nil
}

// ValidateListen reports why addr cannot be a client address; nil when it can. The forms are "host:port", ":port" and
// "[v6]:port" with a numeric port from 1 to 65535, and each of them with "/udp" behind it for datagrams.
func ValidateListen(addr string) error {
	addr, _ = Datagrams(addr)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q: want host:port or :port", clip(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return fmt.Errorf("%q: the port must be a number from 1 to 65535", clip(addr))
	}
	if host != "" && net.ParseIP(host) == nil && !hostName.MatchString(host) {
		return fmt.Errorf("%q: %q is neither an IP address nor a host name", clip(addr), clip(host))
	}
	return nil
}

func (a App) validateCommand() error {
	if len(a.Command) == 0 || a.Command[0] == "" {
		return errors.New("command: missing: name the program to run")
	}
	for i, arg := range a.Command {
		if !passable(arg) {
			return fmt.Errorf("command: argument %d holds a zero byte or is not UTF-8", i)
		}
	}
	return nil
}

func (a App) validateDir() error {
	switch {
	case !filepath.IsAbs(a.Dir):
		return fmt.Errorf("dir: %q is not an absolute path", clip(a.Dir))
	case !passable(a.Dir):
		return errors.New("dir: holds a zero byte or is not UTF-8")
	}
	return nil
}

func (a App) validateEnv() error {
	var problems []error
	for _, key := range slices.Sorted(maps.Keys(a.Env)) {
		switch {
		case key == "" || strings.Contains(key, "=") || !passable(key):
			problems = append(problems, fmt.Errorf("env: %q cannot be the name of a variable", clip(key)))
		case !passable(a.Env[key]):
			problems = append(problems, fmt.Errorf("env: the value of %s holds a zero byte or is not UTF-8", clip(key)))
		}
	}
	return errors.Join(problems...)
}

func validateAddresses(key string, addrs []string) error {
	if len(addrs) > MaxListen {
		return fmt.Errorf("%s: %d addresses, at most %d are allowed", key, len(addrs), MaxListen)
	}
	var problems []error
	for i, addr := range addrs {
		if err := ValidateListen(addr); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", key, err))
		} else if slices.Contains(addrs[:i], addr) {
			problems = append(problems, fmt.Errorf("%s: %q is named twice", key, addr))
		}
	}
	return errors.Join(problems...)
}

func validateRange(key string, v, limit float64) error {
	if math.IsNaN(v) || v < 0 || v > limit {
		return fmt.Errorf("%s: %v is not between 0 and %v", key, v, limit)
	}
	return nil
}

func oneOf[T ~string](key string, v T, allowed ...T) error {
	if slices.Contains(allowed, v) {
		return nil
	}
	words := make([]string, len(allowed))
	for i, word := range allowed {
		words[i] = string(word)
	}
	return fmt.Errorf("%s: %q: use one of %s", key, clip(string(v)), strings.Join(words, ", "))
}

// passable reports whether s survives both the way to the kernel (no zero byte) and the one through JSON (UTF-8: other
// bytes would be replaced without a word).
func passable(s string) bool {
	return !strings.ContainsRune(s, 0) && utf8.ValidString(s)
}

// clip keeps an error message readable whatever the input was.
func clip(s string) string {
	const limit = 80
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "..."
}
