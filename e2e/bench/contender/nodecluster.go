package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// NodeCluster is Node's own cluster module, and a primary of a few lines that starts a worker again when one has ended.
type NodeCluster struct {
	primary string // its script
	dir     string
	cmd     *exec.Cmd
}

// NewNodeCluster returns the cluster of a primary's script. Its logs are in dir.
func NewNodeCluster(primary, dir string) *NodeCluster {
	return &NodeCluster{primary: primary, dir: dir}
}

// Name implements Contender.
func (n *NodeCluster) Name() string { return "Node's cluster" }

// Version implements Contender.
func (n *NodeCluster) Version(context.Context) (string, error) { return "", nil }

// Open implements Contender.
func (n *NodeCluster) Open(context.Context) error { return nil }

// Do implements Contender: it knows start only.
func (n *NodeCluster) Do(_ context.Context, a Action) (Outcome, error) {
	if a.Verb != Start {
		return Outcome{}, fmt.Errorf("%s: %w", a.Verb, errors.ErrUnsupported)
	}
	log, err := os.OpenFile(filepath.Join(n.dir, "cluster.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return Outcome{}, err
	}
	defer log.Close() // the process has its own
	n.cmd = exec.Command("node", n.primary, a.App.Script)
	n.cmd.Env = Environ("WORKERS=" + strconv.Itoa(a.App.Workers))
	for k, v := range a.App.Env {
		n.cmd.Env = append(n.cmd.Env, k+"="+v)
	}
	n.cmd.Stdout, n.cmd.Stderr = log, log
	if err := n.cmd.Start(); err != nil {
		return Outcome{}, fmt.Errorf("start the cluster: %w", err)
	}
	go func() { _ = n.cmd.Wait() }() // how it ended stands in its log
	return Outcome{}, nil
}

// Processes implements Contender.
func (n *NodeCluster) Processes() (Processes, error) {
	return Processes{Own: []int{n.cmd.Process.Pid}, Workers: children(n.cmd.Process.Pid)}, nil
}

// Close implements Contender.
func (n *NodeCluster) Close() error {
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(syscall.SIGKILL) // it may have ended
	}
	return nil
}
