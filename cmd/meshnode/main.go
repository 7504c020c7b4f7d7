package main

import (
	"context"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"meshnode/node/config"
	"meshnode/node/supervisor/keeper"
)

func main() {
	runtime.LockOSThread() // the node forks its workers on the main thread
	os.Exit(run())
}

// run carries out the command line and returns the exit code.
func run() int {
	dir, err := os.Getwd()
	if err != nil {
		dir = "/" // deleted under us: only relative paths are lost, and they say so themselves
	}
	c := &console{
		in:      os.Stdin,
		out:     os.Stdout,
		colour:  isTerminal(os.Stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb",
		errs:    os.Stderr,
		environ: os.Environ(),
		dir:     dir,
		poll:    200 * time.Millisecond,
		version: version(),
		runNode: func(ctx context.Context, s config.Settings, o nodeOptions) error {
			outlivePipes()
			return runNode(ctx, s, o)
		},
		newKey: newKey,
		boot:   realBoot(),
	}
	ctx, cancel := untilSignal()
	defer cancel()
	return c.execute(ctx, os.Args[1:])
}

// untilSignal returns a context that ends with the first signal to stop. The second one ends the process at once, for an
// operator who does not want to wait for the drain.
func untilSignal() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	stop := []os.Signal{syscall.SIGINT, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) { // nohup ignores it, and so do we then
		stop = append(stop, syscall.SIGHUP)
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, stop...)
	go func() {
		<-signals
		cancel()
		if keeper.IsNode(os.Environ()) {
			return // what an operator sends to all processes of the name comes twice; with the keeper this one ends at once
		}
		<-signals
		os.Exit(exitFailed)
	}()
	return ctx, cancel
}

// outlivePipes keeps the node alive when the program that reads its output is gone. The signal is caught and not
// ignored, as workers would inherit the latter.
func outlivePipes() { signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) }

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
