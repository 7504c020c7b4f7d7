package contender

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Inherited are workers that inherit one listening socket, and nobody between: the least that several workers can cost.
type Inherited struct {
	addr string
	dir  string
	all  []*exec.Cmd
}

// NewInherited returns workers that share a socket on addr. Their logs are in dir.
func NewInherited(addr, dir string) *Inherited { return &Inherited{addr: addr, dir: dir} }

// Name implements Contender.
func (i *Inherited) Name() string { return "workers that inherit a socket" }

// Version implements Contender.
func (i *Inherited) Version(context.Context) (string, error) { return "", nil }

// Open implements Contender.
func (i *Inherited) Open(context.Context) error { return nil }

// Do implements Contender: it knows start only.
func (i *Inherited) Do(_ context.Context, a Action) (Outcome, error) {
	if a.Verb != Start {
		return Outcome{}, fmt.Errorf("%s: %w", a.Verb, errors.ErrUnsupported)
	}
	lc := net.ListenConfig{KeepAlive: -1}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", i.addr)
	if err != nil {
		return Outcome{}, err
	}
	defer l.Close() // the workers have it
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		return Outcome{}, err
	}
	defer f.Close()
	for range a.App.Workers {
		log, err := os.OpenFile(filepath.Join(i.dir, "worker.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
		if err != nil {
			return Outcome{}, err
		}
		c := exec.Command("node", append([]string{a.App.Script}, a.App.Args...)...)
		c.Env = Environ("APP_FD=3")
		for k, v := range a.App.Env {
			c.Env = append(c.Env, k+"="+v)
		}
		c.ExtraFiles, c.Stdout, c.Stderr = []*os.File{f}, log, log
		err = c.Start()
		log.Close() // the worker has its own
		if err != nil {
			return Outcome{}, fmt.Errorf("start a worker: %w", err)
		}
		i.all = append(i.all, c)
		go func() { _ = c.Wait() }() // a worker that is killed is gone
	}
	return Outcome{}, nil
}

// Processes implements Contender: it has none of its own.
func (i *Inherited) Processes() (Processes, error) {
	var p Processes
	for _, c := range i.all {
		p.Workers = append(p.Workers, c.Process.Pid)
	}
	return p, nil
}

// Close implements Contender.
func (i *Inherited) Close() error {
	for _, c := range i.all {
		_ = c.Process.Signal(syscall.SIGKILL) // it may have ended
	}
	return nil
}
