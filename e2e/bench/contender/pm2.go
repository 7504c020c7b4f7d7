package contender

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// PM2 is the process manager of that name, as npm installs it.
type PM2 struct {
	cli string // its bin/pm2
	dir string // scratch
}

// NewPM2 returns the PM2 in modules, a node_modules folder. Its home and files are in dir.
func NewPM2(modules, dir string) *PM2 {
	return &PM2{cli: filepath.Join(modules, "pm2", "bin", "pm2"), dir: dir}
}

// Name implements Contender.
func (p *PM2) Name() string { return "pm2" }

// Version implements Contender.
func (p *PM2) Version(ctx context.Context) (string, error) {
	raw, err := os.ReadFile(filepath.Join(filepath.Dir(p.cli), "..", "package.json"))
	if err != nil {
		return "", fmt.Errorf("PM2 is not installed; make bench does it with npm: %w", err)
	}
	_, rest, _ := strings.Cut(string(raw), `"version": "`)
	version, _, _ := strings.Cut(rest, `"`)
	return "PM2 " + version, nil
}

func (p *PM2) home() string { return filepath.Join(p.dir, "pm2") }

func (p *PM2) command(ctx context.Context, limit time.Duration, args ...string) (Outcome, error) {
	return run(ctx, limit, Environ("PM2_HOME="+p.home(), "PM2_DISABLE_VERSION_CHECK=true", "NO_COLOR=1"), "node", append([]string{p.cli}, args...)...)
}

// Open implements Contender.
func (p *PM2) Open(ctx context.Context) error {
	o, err := p.command(ctx, 0, "ping")
	return errors.Join(err, o.Err("pm2 ping"))
}

// Do implements Contender.
func (p *PM2) Do(ctx context.Context, a Action) (Outcome, error) {
	switch a.Verb {
	case Start:
		file, err := appFile(p.dir, a.App)
		if err != nil {
			return Outcome{}, err
		}
		return p.command(ctx, a.App.Limit, "start", file)
	case Reload, Restart:
		return p.command(ctx, a.App.Limit, string(a.Verb), a.App.Name)
	case Scale:
		return p.command(ctx, a.App.Limit, "scale", a.App.Name, strconv.Itoa(a.App.Workers))
	default:
		return Outcome{}, fmt.Errorf("pm2 %s: %w", a.Verb, errors.ErrUnsupported)
	}
}

// Processes implements Contender.
func (p *PM2) Processes() (Processes, error) {
	raw, err := os.ReadFile(filepath.Join(p.home(), "pm2.pid"))
	if err != nil {
		return Processes{}, fmt.Errorf("process id of PM2's daemon: %w", err)
	}
	daemon, err := strconv.Atoi(strings.TrimSpace(string(raw)))
	if err != nil {
		return Processes{}, fmt.Errorf("process id of PM2's daemon: %w", err)
	}
	return Processes{Own: []int{daemon}, Workers: children(daemon)}, nil
}

// Close implements Contender.
func (p *PM2) Close() error {
	o, err := p.command(context.Background(), 0, "kill")
	return errors.Join(err, o.Err("pm2 kill"))
}
