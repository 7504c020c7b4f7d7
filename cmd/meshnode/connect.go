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

	"meshnode/node/api"
	"meshnode/node/config"
)

// rootSocket is where the node of root listens, which most operators mean who have none of their own.
const rootSocket = "/var/lib/meshnode/" + config.SocketName

// target holds the flags by which a verb finds its node, and how it prints.
type target struct {
	addr    string
	dataDir string
	json    bool
}

// declareTarget adds the flags that every verb has that talks to a node.
func declareTarget(fs *flag.FlagSet) *target {
	t := &target{}
	fs.BoolVar(&t.json, "json", false, "print JSON, for scripts")
	fs.StringVar(&t.addr, "addr", "", "`socket` socket of the node to talk to (or MESHNODE_ADDR)")
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

// client returns a client of the node; the caller closes it.
func (t *target) client(c *console) *api.Client {
	path := t.socket(c)
	return api.NewClient(func(ctx context.Context) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", path)
		if err != nil {
			return nil, &dialError{path: path, err: err}
		}
		return conn, nil
	})
}

// dialError says why the node of this server cannot be talked to, and what to do.
type dialError struct {
	path string
	err  error
}

func (e *dialError) Unwrap() error { return e.err }

func (e *dialError) Error() string {
	switch {
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
	client := t.client(c)
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
