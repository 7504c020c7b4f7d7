package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"meshnode/node/config"
	"meshnode/node/supervisor"
)

const (
	unitName = "meshnode.service"
	bootTime = 2 * time.Minute // of one call of systemctl: a node may be asked to stop
)

// boot is what startup touches of this server.
type boot struct {
	folder    string // of units
	program   string // path of this binary
	user      string // who runs this
	systemd   bool   // whether systemd runs this server
	home      func(user string) (string, error)
	systemctl func(ctx context.Context, args ...string) error
}

func realBoot() boot {
	b := boot{folder: "/etc/systemd/system", systemd: exists("/run/systemd/system")}
	b.program, _ = os.Executable() // looked at when it is needed
	if u, err := user.Current(); err == nil {
		b.user = u.Username
	}
	b.home = func(name string) (string, error) {
		u, err := user.Lookup(name)
		if err != nil {
			return "", fmt.Errorf("there is no user %q on this server", name)
		}
		return u.HomeDir, nil
	}
	b.systemctl = func(ctx context.Context, args ...string) error {
		answer, err := supervisor.Evaluate(ctx, supervisor.Evaluation{Command: append([]string{"systemctl"}, args...), Env: os.Environ(), Time: bootTime, Size: 1 << 20})
		if err == nil && answer.Code != 0 {
			err = fmt.Errorf("systemctl %s: exit code %d: %s", strings.Join(args, " "), answer.Code, strings.TrimSpace(string(answer.Err)))
		}
		return err
	}
	return b
}

func startupVerb() verb {
	return verb{
		name: "startup", args: "[-- flags of the node]", brief: "have the node start with the server, by systemd",
		more: []string{
			"It writes the unit meshnode.service for this program, with the flags of the node that stand",
			"behind --, and starts it. Apps come back with the node; nothing needs to be saved.",
		},
		examples: []string{"meshnode startup -- -join 10.0.0.1:7946", "meshnode startup -user deploy -print"},
		declare: func(fs *flag.FlagSet) action {
			var u unit
			var show bool
			fs.BoolVar(&show, "print", false, "print the unit and change nothing")
			fs.StringVar(&u.user, "user", "", "`user` whom the node runs as (default who calls this)")
			fs.StringVar(&u.user, "u", "", sameAs+"user")
			fs.StringVar(&u.dataDir, "data-dir", "", "`dir` data folder of the node (default that user's)")
			return func(ctx context.Context, c *console, in input) error {
				if !slices.Equal(in.args, []string{"systemd"}) { // which PM2's users may name, and which is the only one
					if err := (input{args: in.args}).noArgs(); err != nil {
						return err
					}
				}
				if err := u.settle(c, in.after); err != nil {
					return err
				}
				if show {
					return c.printText(u.text())
				}
				return c.install(ctx, u)
			}
		},
	}
}

func unstartupVerb() verb {
	return verb{
		name: "unstartup", brief: "undo startup: stop the node's service and remove its unit",
		more:     []string{"The node's data folder stays. The apps' connections may finish first."},
		examples: []string{"meshnode unstartup"},
		declare: func(*flag.FlagSet) action {
			return func(ctx context.Context, c *console, in input) error {
				if err := in.noArgs(); err != nil {
					return err
				}
				path := filepath.Join(c.boot.folder, unitName)
				if !exists(path) {
					return c.print("there is no %s; nothing to undo", path)
				}
				if err := c.mayBoot("unstartup"); err != nil {
					return err
				}
				if err := c.boot.systemctl(ctx, "disable", "--now", unitName); err != nil {
					return err
				}
				if err := os.Remove(path); err != nil {
					return fmt.Errorf("remove the unit: %w", err)
				}
				if err := c.boot.systemctl(ctx, "daemon-reload"); err != nil {
					return err
				}
				return c.print("%s is stopped and removed", unitName)
			}
		},
	}
}

// mayBoot refuses what only root can do on a server with systemd, and says how.
func (c *console) mayBoot(words ...string) error {
	switch {
	case !c.boot.systemd:
		return errors.New("systemd does not run this server; start the node by what does, in the foreground: meshnode")
	case c.boot.user != "root":
		line := append([]string{"sudo", "env", "PATH=" + c.variable("PATH"), c.boot.program}, words...)
		return fmt.Errorf("only root may do that; run: %s", commandText(line))
	}
	return nil
}

// install writes the unit and starts it.
func (c *console) install(ctx context.Context, u unit) error {
	words := append([]string{"startup", "-user", u.user, "-data-dir", u.dataDir, "--"}, u.args...)
	if err := c.mayBoot(words...); err != nil {
		return err
	}
	active := c.boot.systemctl(ctx, "is-active", "--quiet", unitName) == nil
	if !active && answers(ctx, filepath.Join(u.dataDir, config.SocketName)) {
		return fmt.Errorf("a node runs with the data folder %s already, and not as a service; stop it, then do this again", u.dataDir)
	}
	path := filepath.Join(c.boot.folder, unitName)
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read the unit: %w", err)
	}
	changed := string(old) != u.text()
	if changed {
		if err := os.WriteFile(path, []byte(u.text()), 0o644); err != nil {
			return fmt.Errorf("write the unit: %w", err)
		}
		c.say("%s is written", path)
	}
	for _, call := range [][]string{{"daemon-reload"}, {"enable", unitName}, {"start", "--no-block", unitName}} {
		if err := c.boot.systemctl(ctx, call...); err != nil {
			return err
		}
	}
	if active && changed {
		return c.print("the node starts with this server; the one that runs keeps its old flags until: systemctl restart meshnode")
	}
	return c.print("the node starts now, and with this server; look with: systemctl status meshnode")
}

// answers reports whether a node listens on a socket.
func answers(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// variable returns a variable of the environment.
func (c *console) variable(name string) string {
	for i := len(c.environ) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(c.environ[i], name+"="); ok {
			return v
		}
	}
	return ""
}

// unit is a systemd unit to be.
type unit struct {
	program string
	user    string
	dataDir string
	path    string   // PATH of the workers; empty = systemd's
	args    []string // of the node
}

// settle fills in what no flag said, and checks the node's flags before systemd meets them.
func (u *unit) settle(c *console, args []string) error {
	u.program, u.path, u.args = c.boot.program, c.variable("PATH"), args
	if u.program == "" {
		return errors.New("the path of this program cannot be told; write the unit by hand, from deploy/meshnode.service")
	}
	if u.user == "" {
		u.user = c.boot.user
	}
	home, err := c.boot.home(u.user)
	if err != nil {
		return err
	}
	flags := flag.NewFlagSet("meshnode", flag.ContinueOnError)
	node := config.NewFlags(flags)
	rest, after, err := config.ParseArgs(flags, args)
	if err != nil {
		return usagef("behind --: %v", err)
	}
	if rest = append(rest, after...); len(rest) > 0 {
		return usagef("behind -- stand flags of the node; %q is none", rest[0])
	}
	if _, err := node.Resolve(nil); err != nil {
		return err
	}
	named := ""
	flags.Visit(func(f *flag.Flag) {
		if f.Name == "data-dir" {
			named = f.Name
		}
	})
	switch {
	case named != "":
		return usagef("-%s belongs before --", named)
	case u.dataDir != "":
		u.dataDir = c.path(u.dataDir)
	case u.user == "root" || home == rootData:
		u.dataDir = rootData
	default:
		u.dataDir = filepath.Join(home, ".local/state/meshnode")
	}
	return nil
}
