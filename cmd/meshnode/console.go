package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/store/spec"
)

// Exit codes.
const (
	exitDone    = 0
	exitFailed  = 1
	exitRefused = 2 // refused, or rolled back: what was there before still is
)

// console is everything of the outside world that a verb may touch.
type console struct {
	in        io.Reader
	out, errs io.Writer
	colour    bool // out is a terminal that shows colours
	environ   []string
	dir       string        // working directory
	poll      time.Duration // between two looks at a change's progress
	version   string
	runNode   func(ctx context.Context, s config.Settings, o nodeOptions) error
	newKey    func() (string, error)
	boot      boot
}

// nodeOptions are what a node is told beside its settings.
type nodeOptions struct {
	out     io.Writer
	version string
	// app finds the app of the verb run; nil = there is none. The node asks for it where it was not put on the cluster before: a file is
	// evaluated once, and what it names may be gone when the node is started again.
	app func(ctx context.Context) (*spec.App, error)
}

// usageError is a mistake in the command line itself.
type usageError struct {
	verb string // whose help is of use; empty = the whole help
	err  error
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &usageError{err: fmt.Errorf(format, args...)}
}

// quiet is the failure of a verb that has told the operator already.
type quiet struct{ code int }

func (q quiet) Error() string { return fmt.Sprintf("exit code %d", q.code) }

// execute carries out a command line and returns the exit code. It prints every error exactly once.
func (c *console) execute(ctx context.Context, args []string) int {
	err := c.dispatch(ctx, args)
	var q quiet
	var usage *usageError
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &q):
		return q.code
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		c.say("meshnode: interrupted")
		return exitFailed
	}
	c.printError(err)
	if errors.As(err, &usage) {
		if usage.verb == "" {
			c.say("see: meshnode help")
		} else {
			c.say("see: meshnode help %s", usage.verb)
		}
	}
	return exitCode(err)
}

// printError prints one problem on one line, and several below each other.
func (c *console) printError(err error) {
	lines := strings.Split(err.Error(), "\n") // errors.Join puts each on a line of its own
	if len(lines) == 1 {
		c.say("meshnode: %s", lines[0])
		return
	}
	c.say("meshnode: there are %d problems:", len(lines))
	for _, line := range lines {
		c.say("  %s", line)
	}
}

func exitCode(err error) int {
	var ended *nodeEnded
	if errors.As(err, &ended) {
		return exitFailed
	}
	switch api.CodeOf(err) {
	case api.CodeConflict, api.CodeForbidden, api.CodeInvalid, api.CodeNoQuorum, api.CodeGivenUp:
		return exitRefused
	}
	return exitFailed
}

// say prints a line of progress or trouble to standard error.
func (c *console) say(format string, args ...any) { fmt.Fprintf(c.errs, format+"\n", args...) }

// confirm asks a question, and reports whether the answer is yes. Nobody there to answer means no.
func (c *console) confirm(question string) bool {
	fmt.Fprintf(c.errs, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(c.in).ReadString('\n') // what there is of it counts
	if !strings.HasSuffix(answer, "\n") {
		c.say("")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true
	}
	return false
}

// print prints a line of the result to standard output.
func (c *console) print(format string, args ...any) error {
	_, err := fmt.Fprintf(c.out, format+"\n", args...)
	return err
}

// printJSON prints a value for scripts.
func (c *console) printJSON(v any) error {
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
