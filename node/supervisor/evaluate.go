package supervisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Evaluation is one run of a program that answers and ends: no worker, but a tool that a verb needs.
type Evaluation struct {
	Command []string // Command is argv; a bare program name is looked up in PATH.
	Dir     string   // Dir is the absolute working directory; empty for that of this process.
	Env     []string // Env is the whole environment.
	Input   io.Reader
	Time    time.Duration // Time is how long it may take.
	Size    int           // Size is the limit of each of its outputs, in bytes.
}

// Answer is what an evaluated program left.
type Answer struct {
	Code   int    // Code is the exit code.
	Out    []byte // Out is its standard output, Err its standard error.
	Err    []byte
	Result []byte // Result is what it wrote to descriptor 3.
}

// ErrEvaluation is wrapped by the errors of Evaluate that a limit caused.
var ErrEvaluation = errors.New("limit of the evaluation")

// evaluationGrace is how long the outputs of an ended program may stay open: somebody it started holds them.
const evaluationGrace = 500 * time.Millisecond

// Evaluate runs a program to its end and returns what it wrote. It is ended, with all it started, when ctx ends, when its time is over,
// or when it writes more than it may. An exit code other than 0 is no error. It blocks, and runs on any goroutine.
func Evaluate(ctx context.Context, e Evaluation) (Answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.Time, fmt.Errorf("%s does not end within %s: %w", e.Command[0], e.Time, ErrEvaluation))
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	over := func() { stop(fmt.Errorf("%s writes more than %d bytes: %w", e.Command[0], e.Size, ErrEvaluation)) }
	out, errs := &capped{limit: e.Size, over: over}, &capped{limit: e.Size, over: over}
	result := &capped{limit: e.Size, over: over}
	r, w, err := os.Pipe()
	if err != nil {
		return Answer{}, fmt.Errorf("evaluate: %w", err)
	}
	defer r.Close()
	c := exec.CommandContext(ctx, e.Command[0], e.Command[1:]...)
	c.Dir, c.Env, c.Stdin, c.Stdout, c.Stderr = e.Dir, e.Env, e.Input, out, errs
	c.ExtraFiles = []*os.File{w} // descriptor 3
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	c.WaitDelay = evaluationGrace
	err = c.Start()
	w.Close()
	if err != nil {
		return Answer{}, fmt.Errorf("evaluate: %w", err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(result, r) // a broken pipe is the end of the result
	}()
	err = c.Wait()
	_ = r.SetReadDeadline(time.Now().Add(evaluationGrace))
	<-read
	if errors.Is(err, exec.ErrWaitDelay) { // what it left behind holds its outputs
		_ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL)
	}
	var exit *exec.ExitError
	if cause := context.Cause(ctx); cause != nil {
		return Answer{}, cause
	}
	if err != nil && !errors.As(err, &exit) && !errors.Is(err, exec.ErrWaitDelay) {
		return Answer{}, fmt.Errorf("evaluate: %w", err)
	}
	return Answer{Code: c.ProcessState.ExitCode(), Out: out.b.Bytes(), Err: errs.b.Bytes(), Result: result.b.Bytes()}, nil
}

// capped keeps what is written to it up to a limit, and calls over when more comes. One goroutine writes.
type capped struct {
	b     bytes.Buffer
	limit int
	over  func()
}

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	if c.b.Len()+len(p) > c.limit {
		c.over()
		return 0, ErrEvaluation
	}
	return c.b.Write(p)
}
