package config

import (
	"flag"
	"fmt"
	"strconv"
	"strings"
)

// ParseArgs sets the flags of fs from args. Flags may stand before or after the arguments, with one dash or two; the
// first "--" ends them, and what follows it is returned as after (nil when there was no "--", empty when nothing
// followed). A negative number is an argument, not a flag.
//
// It returns flag.ErrHelp for -h and -help where fs does not declare them, and otherwise an error that names the flag
// and, for an unknown one, the nearest that exists. Nothing is printed.
func ParseArgs(fs *flag.FlagSet, args []string) (positional, after []string, err error) {
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		if arg == "--" {
			return positional, append([]string{}, args...), nil
		}
		if !isFlag(fs, arg) {
			positional = append(positional, arg)
			continue
		}
		name, value, hasValue := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-"), "=")
		f := fs.Lookup(name)
		if f == nil {
			return nil, nil, unknownFlag(fs, name)
		}
		switch {
		case hasValue:
		case isBool(f):
			value = "true"
		case len(args) == 0 || args[0] == "--":
			return nil, nil, fmt.Errorf("-%s needs a value", name)
		default:
			value, args = args[0], args[1:]
		}
		if err := fs.Set(name, value); err != nil {
			return nil, nil, fmt.Errorf("-%s: %w", name, err)
		}
	}
	return positional, nil, nil
}

func isFlag(fs *flag.FlagSet, arg string) bool {
	if len(arg) < 2 || arg[0] != '-' {
		return false
	}
	if _, err := strconv.Atoi(arg); err == nil {
		return fs.Lookup(arg[1:]) != nil
	}
	return true
}

func isBool(f *flag.Flag) bool {
	b, ok := f.Value.(interface{ IsBoolFlag() bool })
	return ok && b.IsBoolFlag()
}

func unknownFlag(fs *flag.FlagSet, name string) error {
	if name == "h" || name == "help" {
		return flag.ErrHelp
	}
	var names []string
	fs.VisitAll(func(f *flag.Flag) { names = append(names, f.Name) })
	if near := Nearest(name, names); near != "" {
		return fmt.Errorf("there is no flag -%s; did you mean -%s?", name, near)
	}
	return fmt.Errorf("there is no flag -%s", name)
}
