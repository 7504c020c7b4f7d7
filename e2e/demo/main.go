package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

const (
	nodes    = 3    // nodes of the cluster (count)
	workers  = 2    // workers on each (count)
	appPort  = 3000 // where clients connect
	peerPort = 7946 // where the nodes talk to each other
	appName  = "hello"
)

func main() {
	runtime.LockOSThread()
	first := flag.String("first", "127.0.0.1", "address of the first node; the others take the next ones")
	bin := flag.String("bin", filepath.Join("bin", "meshnode"), "where to build meshnode, from the root of its source")
	once := flag.Bool("once", false, "stop after the first round of requests")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := demo(ctx, os.Stdout, options{first: *first, bin: *bin, once: *once})
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// options are what demo is told.
type options struct {
	first string // address of the first node
	bin   string // where the binary is built
	once  bool   // stop after the first round
}

// demo runs the whole: build, cluster, app, requests, and what to try next.
func demo(ctx context.Context, out io.Writer, o options) (err error) {
	addrs, err := addresses(o.first)
	if err != nil {
		return err
	}
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "meshnode-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	bin := o.bin
	if !filepath.IsAbs(bin) {
		bin = filepath.Join(root, bin)
	}
	say(out, "building %s ...", bin)
	if err := build(ctx, root, bin, "./cmd/meshnode"); err != nil {
		return err
	}
	c := &cluster{bin: bin, dir: dir, addrs: addrs, out: out}
	defer func() { err = errors.Join(err, c.stop()) }()
	say(out, "starting %d nodes, as if each were a server of its own ...", nodes)
	if err := c.start(ctx); err != nil {
		return err
	}
	if err := c.formed(ctx); err != nil {
		return err
	}
	start, err := appCommand(ctx, root, dir)
	if err != nil {
		return err
	}
	say(out, "\n$ meshnode start %s", shown(start))
	if err := c.verb(ctx, append([]string{"start"}, start...)...); err != nil {
		return err
	}
	door := fmt.Sprintf("http://%s:%d/", addrs[0], appPort)
	say(out, "\n%d requests, %d at a time, all to the first node (%s):\n", requests, parallel, door)
	answers, failed, err := flood(ctx, door)
	if err != nil {
		return err
	}
	printTable(out, answers, failed)
	say(out, "\n$ meshnode status")
	if err := c.verb(ctx, "status"); err != nil || o.once {
		return err
	}
	c.hints()
	<-ctx.Done()
	say(out, "\nstopping ...")
	return nil
}

// appCommand is what stands behind "meshnode start": the Node.js server, or a Go one where there is no node.
func appCommand(ctx context.Context, root, dir string) ([]string, error) {
	args := []string{"-n", appName, "-i", fmt.Sprint(workers)}
	if _, err := exec.LookPath("node"); err == nil {
		return append(args, "-cwd", root, filepath.Join(root, "e2e", "demo", "server.js")), nil
	}
	bin := filepath.Join(dir, appName)
	if err := build(ctx, root, bin, "./e2e/demo/goapp"); err != nil {
		return nil, err
	}
	return append(args, "-cwd", root, "-mode", "port", "-port", fmt.Sprint(appPort), bin), nil
}

// shown is the command as one would type it in the app's folder.
func shown(args []string) string {
	text := ""
	for i := 0; i < len(args); i++ {
		if args[i] == "-cwd" {
			i++
			continue
		}
		text += filepath.Base(args[i]) + " "
	}
	return text
}

func build(ctx context.Context, root, bin, pkg string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", bin, pkg)
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", pkg, err, text)
	}
	return nil
}

// addresses are those of the nodes, from the first on.
func addresses(first string) ([]string, error) {
	a, err := netip.ParseAddr(first)
	if err != nil || !a.IsLoopback() {
		return nil, fmt.Errorf("-first %s: not a loopback address such as 127.0.0.1", first)
	}
	var out []string
	for range nodes {
		out = append(out, a.String())
		a = a.Next()
	}
	return out, nil
}

// moduleRoot is the folder of go.mod, from the present one up.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, err := os.Stat(filepath.Join(dir, "cmd", "meshnode")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("run it inside the source of meshnode: make demo")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}

func say(out io.Writer, format string, args ...any) { fmt.Fprintf(out, format+"\n", args...) }
