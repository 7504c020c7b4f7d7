package lab

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"meshnode/node/api"
)

// Node is a meshnode process on a host, over its restarts.
type Node struct {
	*Host
	Dir  string
	Verb string   // Verb is what it is started with, "" = none; set it before the start.
	Env  []string // Env is added to its environment at the next start.
	// Program is what runs instead of the binary that was built; set it before the start.
	Program string
	args    []string

	mu   sync.Mutex
	cmd  *exec.Cmd
	out  *bytes.Buffer
	done chan struct{}
	err  error
}

// Start starts a node on the host with the lab's key, its own data folder and the given further arguments.
func (h *Host) Start(args ...string) *Node {
	h.lab.t.Helper()
	n := h.Prepare(args...)
	n.Restart()
	return n
}

// Prepare returns a node that is not started yet.
func (h *Host) Prepare(args ...string) *Node {
	n := &Node{Host: h, Dir: filepath.Join(h.lab.dir, h.Name), args: args, out: &bytes.Buffer{}}
	h.lab.mu.Lock()
	h.lab.nodes = append(h.lab.nodes, n)
	h.lab.mu.Unlock()
	return n
}

// Args are the arguments that every node gets: its name and data folder, and on loopback its addresses.
func (n *Node) arguments() []string {
	a := []string{"-node", n.Name, "-data-dir", n.Dir}
	if n.ns == "" {
		a = append(a, "-bind", n.IP+":7946", "-app-bind", n.IP, "-http", n.IP+":7947")
	}
	return append(a, n.args...)
}

// Restart starts the node's process, which must not be running, with the same command line.
func (n *Node) Restart() {
	n.lab.t.Helper()
	if err := n.launch(); err != nil {
		n.lab.t.Fatal(err)
	}
}

func (n *Node) launch() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	args := n.arguments()
	if n.Verb != "" {
		args = append([]string{n.Verb}, args...)
	}
	program := n.Program
	if program == "" {
		program = Binary(n.lab.t)
	}
	c := n.Command(program, args...)
	c.Env = append(append(os.Environ(), "MESHNODE_KEY="+n.lab.Key), n.Env...)
	w := &locked{mu: &n.mu, b: n.out}
	c.Stdout, c.Stderr = w, w
	c.WaitDelay = time.Second
	if err := c.Start(); err != nil {
		return err
	}
	n.cmd, n.done = c, make(chan struct{})
	go func(done chan struct{}) {
		err := c.Wait()
		n.mu.Lock()
		n.err = err
		n.mu.Unlock()
		close(done)
	}(n.done)
	return nil
}

type locked struct {
	mu *sync.Mutex
	b  *bytes.Buffer
}

// Write implements io.Writer.
func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// Output is all that the node's processes have printed.
func (n *Node) Output() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.out.String()
}

// PID is the process of the node.
func (n *Node) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.Process.Pid
}

// Signal sends a signal to the node's process.
func (n *Node) Signal(s syscall.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd != nil {
		_ = n.cmd.Process.Signal(s)
	}
}

// Kill ends the node's process at once, as a crash does, and waits for its end.
func (n *Node) Kill() {
	n.Signal(syscall.SIGKILL)
	n.wait(10 * time.Second)
}

// Stop ends the node in an orderly way and returns its exit error.
func (n *Node) Stop(limit time.Duration) error {
	n.Signal(syscall.SIGTERM)
	if !n.wait(limit) {
		return errors.New("the node did not end in time")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.err
}

// wait waits for the end of the process.
func (n *Node) wait(limit time.Duration) bool {
	n.mu.Lock()
	done := n.done
	n.mu.Unlock()
	if done == nil {
		return true
	}
	select {
	case <-done:
		return true
	case <-time.After(limit):
		return false
	}
}

// Exited waits until the process has ended by itself, and returns its exit code and all it printed.
func (n *Node) Exited(limit time.Duration) (int, string, error) {
	if !n.wait(limit) {
		return 0, n.Output(), fmt.Errorf("%s still runs after %s", n.Name, limit)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.cmd.ProcessState.ExitCode(), n.out.String(), nil
}

// Result is what a verb said.
type Result struct {
	Code     int
	Out, Err string
}

// Run runs a verb against this node, from outside its host: the control socket is a file.
func (n *Node) Run(verb string, args ...string) Result {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, Binary(n.lab.t), append([]string{verb, "-data-dir", n.Dir}, args...)...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	c.Dir = n.lab.dir
	_ = c.Run()
	return Result{Code: c.ProcessState.ExitCode(), Out: out.String(), Err: errs.String()}
}

// Must runs a verb that has to succeed.
func (n *Node) Must(verb string, args ...string) Result {
	n.lab.t.Helper()
	r := n.Run(verb, args...)
	if r.Code != 0 {
		n.lab.t.Fatalf("meshnode %s %s: exit %d\n%s%s", verb, strings.Join(args, " "), r.Code, r.Out, r.Err)
	}
	return r
}

// Status is what the verb status says at this node.
func (n *Node) Status() (api.Status, error) {
	var s api.Status
	return s, n.read(&s, "status")
}

// Workers is what the verb list says at this node.
func (n *Node) Workers() ([]api.WorkerStatus, error) {
	var w []api.WorkerStatus
	return w, n.read(&w, "list")
}

func (n *Node) read(v any, verb string) error {
	r := n.Run(verb, "-json")
	if r.Code != 0 {
		return fmt.Errorf("%s: exit %d: %s", verb, r.Code, r.Err)
	}
	if err := json.Unmarshal([]byte(r.Out), v); err != nil {
		return fmt.Errorf("%s -json: %w: %s", verb, err, r.Out)
	}
	return nil
}

// Voters waits until the node sees a leader, the given number of living members, and that many voters.
func (n *Node) Voters(limit time.Duration, alive, voters int) time.Duration {
	n.lab.t.Helper()
	return Eventually(n.lab.t, limit, func() error {
		s, err := n.Status()
		if err != nil {
			return err
		}
		a, v := 0, 0
		for _, m := range s.Members {
			if m.Status == "alive" {
				a++
			}
			if m.Role == "leader" || m.Role == "voter" {
				v++
			}
		}
		if s.Leader == "" || !s.Quorum || a != alive || v != voters {
			return fmt.Errorf("%s sees leader %q, quorum %v, %d alive, %d voters; want %d and %d", n.Name, s.Leader, s.Quorum, a, v, alive, voters)
		}
		return nil
	})
}

// Cluster starts a node on each host with the very same join address, the first host's, and waits until all are one cluster.
func (l *Lab) Cluster(args ...string) []*Node {
	l.t.Helper()
	var nodes []*Node
	for _, h := range l.hosts {
		nodes = append(nodes, h.Start(append([]string{"-join", l.hosts[0].IP + ":7946"}, args...)...))
	}
	odd := len(nodes)
	if odd%2 == 0 {
		odd--
	}
	nodes[0].Voters(30*time.Second, len(nodes), min(odd, 5))
	return nodes
}
