package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"meshnode/node"
	"meshnode/node/api"
	"meshnode/node/config"
)

// rootSocket is where the node of root listens, which most operators mean who have none of their own.
const rootSocket = "/var/lib/meshnode/" + config.SocketName

// target holds the flags by which a verb finds its node, and how it prints.
type target struct {
	addr    string
	cert    string
	dataDir string
	json    bool
}

// declareTarget adds the flags that every verb has that talks to a node.
func declareTarget(fs *flag.FlagSet) *target {
	t := &target{}
	fs.BoolVar(&t.json, "json", false, "print JSON, for scripts")
	fs.StringVar(&t.addr, "addr", "", "`addr` socket of the node to talk to, or with -cert host[:port] of a server (or MESHNODE_ADDR)")
	fs.StringVar(&t.cert, "cert", "", "`file` certificate to talk to another server with, as operator create makes it (or MESHNODE_CERT)")
	fs.StringVar(&t.dataDir, "data-dir", "", "`dir` data folder of the node to talk to (or MESHNODE_DATA_DIR)")
	return t
}

// socket returns the path of the node's socket: what -addr names, else the one in the data folder. Where neither is
// given and the user has no node, it is the one of root's node, if there is one.
func (t *target) socket(c *console) string {
	if addr := firstOf(t.addr, c.getenv("ADDR")); addr != "" {
		return c.path(strings.TrimPrefix(addr, "unix:"))
	}
	if dir := firstOf(t.dataDir, c.getenv("DATA_DIR")); dir != "" {
		return filepath.Join(c.path(dir), config.SocketName)
	}
	own := filepath.Join(config.DefaultDataDir(c.environ), config.SocketName)
	if !exists(own) && exists(rootSocket) {
		return rootSocket
	}
	return own
}

// remote returns the address of the server that -addr names, host:port; "" where it names a socket. What has a slash in it, or neither a port
// nor a certificate beside it, is a path.
func (t *target) remote(c *console) string {
	addr := firstOf(t.addr, c.getenv("ADDR"))
	if addr == "" || strings.HasPrefix(addr, "unix:") || strings.Contains(addr, "/") {
		return ""
	}
	if _, _, err := net.SplitHostPort(addr); err == nil {
		return addr
	}
	if t.cert == "" {
		return ""
	}
	return net.JoinHostPort(strings.Trim(addr, "[]"), config.PeerPort)
}

// client returns a client of the node; the caller closes it.
func (t *target) client(c *console) (*api.Client, error) {
	if addr := t.remote(c); addr != "" {
		return t.remoteClient(c, addr)
	}
	if t.cert != "" {
		return nil, usagef("-cert is for another server; name it: -addr web-1:%s", config.PeerPort)
	}
	path := t.socket(c)
	return api.NewClient(func(ctx context.Context) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, &dialError{path: path, err: err}
		}
		return conn, nil
	}), nil
}

// remoteClient returns a client of another server's node.
func (t *target) remoteClient(c *console, addr string) (*api.Client, error) {
	cert := firstOf(t.cert, c.getenv("CERT"))
	if cert == "" {
		return nil, usagef("to talk to %s a certificate is needed: have one made there with meshnode operator create, and name it with -cert", addr)
	}
	bundle, err := os.ReadFile(c.path(cert))
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	dial, err := node.DialOperator(bundle, addr)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", cert, err)
	}
	return api.NewClient(func(ctx context.Context) (net.Conn, error) {
		conn, err := dial(ctx)
		if err != nil {
			return nil, &dialError{remote: true, path: addr, err: err}
		}
		return conn, nil
	}), nil
}

// dialError says why the node of this server cannot be talked to, and what to do.
type dialError struct {
	path   string
	remote bool // path is the address of another server
	err    error
}

func (e *dialError) Unwrap() error { return e.err }

func (e *dialError) Error() string {
	switch {
	case e.remote:
		return fmt.Sprintf("%s cannot be reached: %v", e.path, e.err)
	case errors.Is(e.err, fs.ErrNotExist):
		return fmt.Sprintf("no node is running here (no socket at %s); start one with: meshnode", e.path)
	case errors.Is(e.err, syscall.ECONNREFUSED):
		return fmt.Sprintf("no node is running here (nobody answers at %s); start one with: meshnode", e.path)
	case errors.Is(e.err, fs.ErrPermission):
		return fmt.Sprintf("you may not talk to the node here (no permission for %s); try it as root or as the node's user", e.path)
	default:
		return fmt.Sprintf("the node cannot be reached at %s: %v", e.path, e.err)
	}
}

// plainError drops what the layers between wrapped around an error that says it all.
func plainError(err error) error {
	var dial *dialError
	if errors.As(err, &dial) {
		return dial
	}
	return err
}

// with runs what a verb does with its node.
func (t *target) with(c *console, do func(client *api.Client) error) error {
	client, err := t.client(c)
	if err != nil {
		return err
	}
	defer client.Close()
	return plainError(do(client))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func firstOf(words ...string) string {
	for _, w := range words {
		if w != "" {
			return w
		}
	}
	return ""
}

// getenv returns the variable MESHNODE_<name>.
func (c *console) getenv(name string) string {
	for i := len(c.environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(c.environ[i], config.EnvPrefix+name+"="); ok {
			return v
		}
	}
	return ""
}
