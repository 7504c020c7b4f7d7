package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

func killVerb() verb {
	return verb{
		name: "kill", brief: "stop this server's node; the other servers go on",
		more: []string{
			"It is asked to end as by Ctrl-C: its workers finish their connections, and its apps stay",
			"known. As a service it would come back: use systemctl stop meshnode.",
		},
		examples: []string{"meshnode kill"},
		declare: func(fs *flag.FlagSet) action {
			t := declareTarget(fs)
			wait := 10 * time.Minute
			fs.Var(timeFlag{&wait}, "wait", "`time` how long to wait at most (default 10m)")
			return func(ctx context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				pid, err := t.nodePID(ctx, c)
				if err != nil {
					return err
				}
				if c.boot.systemd && c.boot.systemctl(ctx, "is-active", "--quiet", unitName) == nil {
					return errors.New("the node is a service, and would come back; use: systemctl stop meshnode")
				}
				if err := c.end(ctx, pid, wait); err != nil {
					return err
				}
				if t.json {
					return c.printJSON(map[string]int{"pid": pid})
				}
				return c.print("the node has ended")
			}
		},
	}
}

// nodePID is the process that listens on the node's socket.
func (t *target) nodePID(ctx context.Context, c *console) (int, error) {
	if t.cert != "" || t.remote(c) != "" {
		return 0, usagef("a node is ended on its own server; log in there, or take it out of the cluster with: meshnode leave")
	}
	path := t.socket(c)
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
	if err != nil {
		return 0, &dialError{path: path, err: err}
	}
	defer conn.Close()
	raw, err := conn.(*net.UnixConn).SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("ask who listens: %w", err)
	}
	var peer *unix.Ucred
	var asked error
	err = raw.Control(func(fd uintptr) { peer, asked = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, asked); err != nil {
		return 0, fmt.Errorf("ask who listens: %w", err)
	}
	return int(peer.Pid), nil
}

// end asks a process to end, and waits until it has.
func (c *console) end(ctx context.Context, pid int, limit time.Duration) error {
	fd, err := unix.PidfdOpen(pid, 0) // means this process, whatever becomes of its number
	if err != nil {
		return fmt.Errorf("find the node's process %d: %w", pid, err)
	}
	defer unix.Close(fd)
	if err := unix.PidfdSendSignal(fd, syscall.SIGTERM, nil, 0); err != nil {
		return fmt.Errorf("tell the node's process %d to end: %w", pid, err)
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for ctx.Err() == nil {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(c.poll.Milliseconds()))
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return fmt.Errorf("wait for the end of the node: %w", err)
		case n > 0:
			return nil
		}
	}
	return fmt.Errorf("the node was told to end, and has not yet; its workers finish their connections")
}
