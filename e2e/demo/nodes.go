package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	formLimit = 30 * time.Second // for three nodes to become one cluster; it takes about three
	stopLimit = 20 * time.Second // for a node to end before it is killed
)

// cluster is the nodes of the demo.
type cluster struct {
	bin   string
	dir   string
	addrs []string
	out   io.Writer
	procs []*proc
}

// proc is one node's process.
type proc struct {
	name  string
	cmd   *exec.Cmd
	log   string        // path of its output
	ended chan struct{} // closed when it has ended
}

// start starts the nodes. It must run on a locked thread that outlives them.
func (c *cluster) start(ctx context.Context) error {
	for _, addr := range c.addrs {
		for _, port := range []int{peerPort, appPort} {
			if err := free(addr, port); err != nil {
				return err
			}
		}
	}
	key, err := exec.CommandContext(ctx, c.bin, "keygen").Output()
	if err != nil {
		return fmt.Errorf("make a cluster key: %w", err)
	}
	for i, addr := range c.addrs {
		if err := c.startNode(i, addr, strings.TrimSpace(string(key))); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) startNode(i int, addr, key string) error {
	name := fmt.Sprintf("s%d", i+1)
	p := &proc{name: name, log: filepath.Join(c.dir, name+".log"), ended: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close() // the node has its own
	p.cmd = exec.Command(c.bin, "-node", name, "-bind", fmt.Sprintf("%s:%d", addr, peerPort), "-join", fmt.Sprintf("%s:%d", c.addrs[0], peerPort),
		"-data-dir", c.data(i), "-app-bind", addr, "-http", "off")
	p.cmd.Env = append(clean(os.Environ()), "MESHNODE_KEY="+key)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	// A group of its own, so that Ctrl-C is the demo's to hear; and an end with the demo, however that ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start node %s: %w", name, err)
	}
	c.procs = append(c.procs, p)
	go func() {
		_ = p.cmd.Wait() // how it ended stands in its output
		close(p.ended)
	}()
	return nil
}

func (c *cluster) data(i int) string { return filepath.Join(c.dir, fmt.Sprintf("s%d", i+1)) }

// clean drops settings of meshnode that the user may have in the environment.
func clean(environ []string) []string {
	var out []string
	for _, e := range environ {
		if !strings.HasPrefix(e, "MESHNODE_") {
			out = append(out, e)
		}
	}
	return out
}

// free reports whether a port can be had.
func free(addr string, port int) error {
	l, err := net.Listen("tcp", net.JoinHostPort(addr, fmt.Sprint(port)))
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("%s:%d is in use by another program; stop that one, or choose other addresses: go run ./e2e/demo -first 127.0.5.1", addr, port)
	case err != nil:
		return fmt.Errorf("%s:%d cannot be opened: %w", addr, port, err)
	}
	return l.Close()
}

// formed waits until every node sees all of them in one cluster with a leader.
func (c *cluster) formed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, formLimit)
	defer cancel()
	for i, p := range c.procs {
		for !c.complete(ctx, i) {
			t := time.NewTimer(200 * time.Millisecond)
			select {
			case <-t.C:
			case <-p.ended:
				t.Stop()
				return fmt.Errorf("node %s has ended:\n%s", p.name, tail(p.log))
			case <-ctx.Done():
				t.Stop()
				return fmt.Errorf("the nodes did not become one cluster within %s; %s says:\n%s", formLimit, p.name, tail(p.log))
			}
		}
	}
	return nil
}

// complete reports whether node i sees the whole cluster.
func (c *cluster) complete(ctx context.Context, i int) bool {
	raw, err := c.command(ctx, i, "status", "-json").Output()
	if err != nil {
		return false
	}
	var st struct {
		Quorum  bool   `json:"quorum"`
		Leader  string `json:"leader"`
		Members []struct {
			Status string `json:"status"`
			Role   string `json:"role"`
		} `json:"members"`
	}
	if json.Unmarshal(raw, &st) != nil || !st.Quorum || st.Leader == "" || len(st.Members) < nodes {
		return false
	}
	voters := 0
	for _, m := range st.Members {
		if m.Status == "alive" && (m.Role == "voter" || m.Role == "leader") {
			voters++
		}
	}
	return voters == nodes
}

func tail(path string) string {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// command is a verb, given to node i.
func (c *cluster) command(ctx context.Context, i int, verb string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, c.bin, append([]string{verb, "-data-dir", c.data(i)}, args...)...)
	cmd.Env = clean(os.Environ())
	return cmd
}

// verb runs a verb at the first node and shows what it prints.
func (c *cluster) verb(ctx context.Context, words ...string) error {
	cmd := c.command(ctx, 0, words[0], words[1:]...)
	var text bytes.Buffer
	cmd.Stdout, cmd.Stderr = &text, &text
	err := cmd.Run()
	_, _ = c.out.Write(text.Bytes())
	if err != nil {
		return fmt.Errorf("meshnode %s: %w", words[0], err)
	}
	return nil
}

// hints prints what to try while the cluster runs.
func (c *cluster) hints() {
	say(c.out, "\nThe cluster runs until Ctrl-C. Try, in another terminal:\n")
	for _, a := range c.addrs {
		say(c.out, "  curl http://%s:%d/", a, appPort)
	}
	say(c.out, "  %s status -data-dir %s", c.bin, c.data(0))
	say(c.out, "  %s reload %s -data-dir %s", c.bin, appName, c.data(1))
	last := c.procs[len(c.procs)-1]
	say(c.out, "  kill -9 %d      # server %s breaks down; ask the others again", last.cmd.Process.Pid, last.name)
}

// stop ends the nodes, all at once, and returns when none is left. The error names those that had to be killed.
func (c *cluster) stop() error {
	for _, p := range c.procs {
		_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopLimit)
	defer cancel()
	var errs []error
	for _, p := range c.procs {
		select {
		case <-p.ended:
		case <-ctx.Done():
			_ = p.cmd.Process.Kill()
			<-p.ended
			errs = append(errs, fmt.Errorf("node %s did not stop within %s and was killed; it said:\n%s", p.name, stopLimit, tail(p.log)))
		}
	}
	return errors.Join(errs...)
}
