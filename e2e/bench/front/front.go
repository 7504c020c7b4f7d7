package front

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"meshnode/e2e/bench/contender"
)

// Front takes connections and shares them among servers.
type Front interface {
	// Open starts it with the servers behind it, and returns once all answers.
	Open(ctx context.Context, s Service) error
	// Doors are the host:port addresses that clients may use: each node of meshnode is one.
	Doors() []string
	// Processes are those that run now.
	Processes() Processes
	// Version is what it says of its version.
	Version(ctx context.Context) (string, error)
	// Close ends all.
	Close() error
}

// Processes are the parts of a front and what stands behind it.
type Processes struct {
	Own     []int   // Own are those whose processor time is the price of the front.
	Back    []int   // Back are the front's on the servers' side, which only meshnode has.
	Servers [][]int // Servers are those of each server; of meshnode whole nodes, with those of Back.
}

// Serving are the servers' own processes.
func (p Processes) Serving() []int {
	var out []int
	for _, s := range p.Servers {
		for _, pid := range s {
			if !slices.Contains(p.Back, pid) {
				out = append(out, pid)
			}
		}
	}
	return out
}

// Service is what stands behind a front.
type Service struct {
	Servers int               // Servers is how many there are.
	Command []string          // Command starts one, which listens on 127.0.0.1 at the port in PORT. SERVER is s1, s2, ...
	Env     map[string]string // Env is for all of them.
	Slots   int               // Slots is how many requests a server handles at once, and about the most that it is given; 0 = no bound.
	Nodes   int               // Nodes is on how many nodes meshnode runs them; their names are s1, s2, ...
	Node    bool              // Node says that the command is an unmodified Node.js app, which listens at the port in APP_PORT.
	Door    bool              // Door says that a node of meshnode that runs no server comes first.
}

// doorPort is where clients connect.
const doorPort = 8100

// firstPort is the port of the first server behind a proxy.
const firstPort = 9001

// New returns the front of that name: "nginx", "nginx http", "haproxy", "haproxy http", "haproxy tls", "caddy", "meshnode", "meshnode tls", each
// with a policy behind a slash where it is to have another than its default. bin is meshnode's binary, dir a scratch folder.
func New(name, bin, dir string) (Front, error) {
	what, policy, _ := strings.Cut(name, "/")
	p := proxy{dir: dir, policy: policy}
	switch what {
	case "nginx":
		p.setup = nginxStream
	case "nginx http":
		p.setup = nginxHTTP
	case "haproxy":
		p.setup = haproxyTCP
	case "haproxy http":
		p.setup = haproxyHTTP
	case "haproxy tls":
		p.setup, p.tls = haproxyTLS, true
	case "caddy":
		p.setup = caddy
	case "meshnode", "meshnode tls":
		return &Mesh{bin: bin, dir: dir, policy: policy, tls: what == "meshnode tls"}, nil
	default:
		return nil, fmt.Errorf("%s: no such front", name)
	}
	return &p, nil
}

// find is the path of a program, which may be in a folder that only root has in its PATH.
func find(program, pkg string) (string, error) {
	if path, err := exec.LookPath(program); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path := filepath.Join(dir, program); executableFile(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not installed: apt-get install %s: %w", program, pkg, errors.ErrUnsupported)
}

func executableFile(path string) bool {
	fi, err := os.Stat(path)
	return err == nil && fi.Mode().IsRegular() && fi.Mode()&0o111 != 0
}

// process is something that was started.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

// launch starts a program whose output goes into a file of the folder.
func launch(dir, name string, env []string, args ...string) (*process, error) {
	p := &process{log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close() // the program has its own
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Env, p.cmd.Dir = env, dir
	p.cmd.Stdout, p.cmd.Stderr = log, log
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // how it ended stands in its log
	}()
	return p, nil
}

// pids are the process and all that it has started.
func (p *process) pids() []int {
	return append([]int{p.cmd.Process.Pid}, contender.Descendants(p.cmd.Process.Pid)...)
}

// end ends it and all that it has started.
func (p *process) end() {
	all := p.pids()
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
	}
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-p.done
}

// said is the end of what it printed.
func (p *process) said() string {
	raw, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return contender.Last(string(raw), 600)
}

// answers waits until something listens at an address.
func answers(ctx context.Context, addr string, p *process) error {
	for end := time.Now().Add(20 * time.Second); ; {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended at once: %s", p.cmd.Path, p.said())
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("nothing listens on %s: %w: %s", addr, err, p.said())
		}
	}
}

// environ is the environment of a server.
func (s Service) environ(port int, name string) []string {
	env := contender.Environ("PORT="+strconv.Itoa(port), "APP_PORT="+strconv.Itoa(port), "SERVER="+name)
	for _, k := range slices.Sorted(maps.Keys(s.Env)) {
		env = append(env, k+"="+s.Env[k])
	}
	return env
}
