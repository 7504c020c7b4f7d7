package contender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// run runs a command to its end.
func run(ctx context.Context, limit time.Duration, env []string, name string, args ...string) (Outcome, error) {
	if limit == 0 {
		limit = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Env = env
	c.WaitDelay = time.Second // what it leaves behind may hold its output open
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	begun := time.Now()
	err := c.Run()
	o := Outcome{Output: out.String(), Took: time.Since(begun)}
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return o, fmt.Errorf("%s %s: not done within %s: %s", name, strings.Join(args, " "), limit, Last(o.Output, 600))
	case errors.As(err, &exit):
		o.Code = exit.ExitCode()
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return o, fmt.Errorf("run %s: %w", name, err)
	}
	return o, nil
}

// Environ is the environment without settings of either contender, and with some more.
func Environ(more ...string) []string {
	var out []string
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "MESHNODE_") && !strings.HasPrefix(e, "PM2_") {
			out = append(out, e)
		}
	}
	return append(out, more...)
}

// Last returns the end of a text.
func Last(s string, n int) string {
	s = strings.TrimSpace(s)
	if len(s) > n {
		return "..." + s[len(s)-n:]
	}
	return s
}

// NodeVersion is what Node.js says of itself.
func NodeVersion(ctx context.Context) string {
	o, err := run(ctx, 0, Environ(), "node", "-v")
	if err != nil {
		return "no Node.js"
	}
	return "Node.js " + strings.TrimSpace(o.Output)
}
