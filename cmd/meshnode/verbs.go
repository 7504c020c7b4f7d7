package main

import (
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"meshnode/node/appfile"
	"meshnode/node/config"
)

// verb is one word of the command line.
type verb struct {
	name     string
	aliases  []string
	args     string   // what follows it, as help shows it
	brief    string   // what it does, for the list of verbs
	more     []string // further lines for its own help
	examples []string
	declare  func(fs *flag.FlagSet) action
}

// action carries out a verb once its flags are parsed.
type action func(ctx context.Context, c *console, in input) error

// input is what the command line holds beside flags.
type input struct {
	args  []string
	after []string // behind "--"
}

// verbs returns every verb in the order help lists them.
func verbs() []verb {
	return []verb{
		runVerb(), startVerb(), listVerb(), statusVerb(), describeVerb(), explainVerb(), logsVerb(), flushVerb(), reloadLogsVerb(), reloadVerb(), restartVerb(),
		releasesVerb(), rollbackVerb(), scaleVerb(), stopVerb(), deleteVerb(), envVerb(), pidVerb(), signalVerb(), resetVerb(),
		initVerb(), validateVerb(), planVerb(), applyVerb(), startupVerb(), unstartupVerb(), membersVerb(), admitVerb(), tokenVerb(), keyVerb(), setVerb(), auditVerb(), operatorVerb(), leaveVerb(), forceLeaveVerb(), upgradeVerb(), snapshotVerb(), recoverVerb(),
		keygenVerb(), versionVerb(), helpVerb(), killVerb(), jlistVerb(), saveVerb(), resurrectVerb(),
	}
}

func findVerb(word string) (verb, bool) {
	for _, v := range verbs() {
		if v.name == word || slices.Contains(v.aliases, word) {
			return v, true
		}
	}
	return verb{}, false
}

// dispatch finds the verb of the command line, or runs the node when there is none.
func (c *console) dispatch(ctx context.Context, args []string) error {
	if len(args) > 0 && slices.Contains([]string{"-h", "-help", "--help"}, args[0]) {
		return c.helpOverview()
	}
	if len(args) > 0 && slices.Contains([]string{"-v", "-version", "--version"}, args[0]) {
		args = append([]string{"version"}, args[1:]...)
	}
	if len(args) == 0 || strings.HasPrefix(args[0], "-") {
		return c.foreground(ctx, args)
	}
	v, ok := findVerb(args[0])
	if !ok {
		return c.unknownVerb(args[0])
	}
	fs := flag.NewFlagSet(v.name, flag.ContinueOnError)
	act := v.declare(fs)
	positional, after, err := config.ParseArgs(fs, args[1:])
	switch {
	case errors.Is(err, flag.ErrHelp):
		return c.helpOn(v)
	case err != nil:
		return &usageError{verb: v.name, err: err}
	}
	err = act(ctx, c, input{args: positional, after: after})
	var usage *usageError
	if errors.As(err, &usage) {
		usage.verb = v.name
	}
	return err
}

func (c *console) unknownVerb(word string) error {
	if _, script := appfile.Interpreters()[filepath.Ext(word)]; script {
		return usagef("there is no verb %q; to start that script: meshnode start %s", word, word)
	}
	var words []string
	for _, v := range verbs() {
		words = append(words, v.name)
	}
	if near := config.Nearest(word, words); near != "" {
		return usagef("there is no verb %q; did you mean %s?", word, near)
	}
	if info, err := os.Stat(c.path(word)); err == nil && info.Mode().IsRegular() {
		return usagef("there is no verb %q; to start that file: meshnode start %s", word, word)
	}
	return usagef("there is no verb %q", word)
}

// path makes a path of the command line absolute.
func (c *console) path(p string) string {
	if filepath.IsAbs(p) {
		return filepath.Clean(p)
	}
	return filepath.Join(c.dir, p)
}

// noArgs refuses arguments of a verb that takes none.
func (in input) noArgs() error {
	if rest := append(slices.Clone(in.args), in.after...); len(rest) > 0 {
		return usagef("%q is one argument too many", rest[0])
	}
	return nil
}
