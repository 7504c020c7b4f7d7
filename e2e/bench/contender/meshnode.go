package contender

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Meshnode is one node of meshnode, a cluster of its own.
type Meshnode struct {
	bin string
	dir string // scratch

	cmd  *exec.Cmd
	done chan struct{} // closed when the process started by Open has ended
}

// NewMeshnode returns the meshnode of a binary. Its data folder and files are in dir.
func NewMeshnode(bin, dir string) *Meshnode { return &Meshnode{bin: bin, dir: dir} }

// Name implements Contender.
func (m *Meshnode) Name() string { return "meshnode" }

// Version implements Contender.
func (m *Meshnode) Version(ctx context.Context) (string, error) {
	o, err := run(ctx, 0, Environ(), m.bin, "version")
	return Last(o.Output, 80), errors.Join(err, o.Err("meshnode version"))
}

func (m *Meshnode) data() string { return filepath.Join(m.dir, "data") }

// Open implements Contender.
func (m *Meshnode) Open(ctx context.Context) error {
	if err := m.launch(); err != nil {
		return err
	}
	return m.leads(ctx)
}

// Revive starts the same command line again, once what was started has ended.
func (m *Meshnode) Revive(ctx context.Context) error {
	select {
	case <-m.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	return m.launch()
}

// launch starts the process.
func (m *Meshnode) launch() error {
	log, err := os.OpenFile(filepath.Join(m.dir, "meshnode.log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close() // the node has its own
	m.cmd = exec.Command(m.bin, "-node", "bench", "-data-dir", m.data(), "-http", "off", "-bind", "127.0.0.1:7946", "-app-bind", "127.0.0.1", "-insecure")
	m.cmd.Env = Environ()
	m.cmd.Stdout, m.cmd.Stderr = log, log
	if err := m.cmd.Start(); err != nil {
		return fmt.Errorf("start meshnode: %w", err)
	}
	done, cmd := make(chan struct{}), m.cmd
	m.done = done
	go func() {
		defer close(done)
		_ = cmd.Wait() // how it ended stands in its log
	}()
	return nil
}

// leads waits until the node can be told something.
func (m *Meshnode) leads(ctx context.Context) error {
	for end := time.Now().Add(30 * time.Second); ; {
		o, err := m.command(ctx, 0, "status", "-json")
		if err != nil {
			return err
		}
		var s struct {
			Leader string `json:"leader"`
			Quorum bool   `json:"quorum"`
		}
		if o.Code == 0 && json.Unmarshal([]byte(o.Output), &s) == nil && s.Quorum && s.Leader != "" {
			return nil
		}
		select {
		case <-m.done:
			return fmt.Errorf("meshnode ended at once, see %s", filepath.Join(m.dir, "meshnode.log"))
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			return o.Err("meshnode has no leader: meshnode status")
		}
	}
}

func (m *Meshnode) command(ctx context.Context, limit time.Duration, verb string, args ...string) (Outcome, error) {
	return run(ctx, limit, Environ("MESHNODE_DATA_DIR="+m.data()), m.bin, append([]string{verb}, args...)...)
}

// has reports whether this meshnode knows a verb.
func (m *Meshnode) has(ctx context.Context, verb string) error {
	o, err := m.command(ctx, 0, "help", verb)
	if err == nil && o.Code != 0 {
		err = fmt.Errorf("meshnode has no verb %s: %w", verb, errors.ErrUnsupported)
	}
	return err
}

// Do implements Contender.
func (m *Meshnode) Do(ctx context.Context, a Action) (Outcome, error) {
	switch a.Verb {
	case Start:
		return m.start(ctx, a.App)
	case Reload, Restart:
		return m.command(ctx, a.App.Limit, string(a.Verb), a.App.Name)
	case Scale:
		return m.command(ctx, a.App.Limit, "scale", a.App.Name, strconv.Itoa(a.App.Workers))
	case Rollback:
		if err := m.has(ctx, "rollback"); err != nil {
			return Outcome{}, err
		}
		return m.command(ctx, a.App.Limit, "rollback", a.App.Name)
	case Upgrade:
		return m.upgrade(ctx, a.App.Limit)
	default:
		return Outcome{}, fmt.Errorf("meshnode %s: %w", a.Verb, errors.ErrUnsupported)
	}
}

// start uses flags for what they can say, and an app file for the rest.
func (m *Meshnode) start(ctx context.Context, a App) (Outcome, error) {
	if a.needsFile() {
		if err := m.has(ctx, "validate"); err != nil { // it came together with app files
			return Outcome{}, err
		}
		file, err := appFile(m.dir, a)
		if err != nil {
			return Outcome{}, err
		}
		return m.command(ctx, a.Limit, "start", file)
	}
	args := []string{"-n", a.Name, "-i", strconv.Itoa(a.Workers), "-cwd", filepath.Dir(a.Script)}
	for _, k := range slices.Sorted(maps.Keys(a.Env)) {
		args = append(args, "-env", k+"="+a.Env[k])
	}
	args = append(append(args, a.Extra...), a.Script)
	if len(a.Args) > 0 {
		args = append(append(args, "--"), a.Args...)
	}
	return m.command(ctx, a.Limit, "start", args...)
}

// upgrade swaps the binary for a copy of itself under another name.
func (m *Meshnode) upgrade(ctx context.Context, limit time.Duration) (Outcome, error) {
	if err := m.has(ctx, "upgrade"); err != nil {
		return Outcome{}, err
	}
	raw, err := os.ReadFile(m.bin)
	if err != nil {
		return Outcome{}, err
	}
	next := filepath.Join(m.dir, "meshnode.next")
	if err := os.WriteFile(next, raw, 0o755); err != nil {
		return Outcome{}, err
	}
	return m.command(ctx, limit, "upgrade", next)
}

// Processes implements Contender. The process that was started may watch over a child of the same program that does the work; then that is
// the first one.
func (m *Meshnode) Processes() (Processes, error) {
	if m.cmd == nil {
		return Processes{}, errors.New("meshnode is not started")
	}
	top := m.cmd.Process.Pid
	p := Processes{Own: []int{top}}
	for _, pid := range Descendants(top) {
		if filepath.Base(Executable(pid)) == filepath.Base(Executable(top)) || Executable(pid) == filepath.Join(m.dir, "meshnode.next") {
			p.Own = append([]int{pid}, p.Own...)
		} else {
			p.Workers = append(p.Workers, pid)
		}
	}
	return p, nil
}

// Close implements Contender.
func (m *Meshnode) Close() error {
	if m.cmd == nil {
		return nil
	}
	_ = m.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-m.done:
		return nil
	case <-time.After(45 * time.Second):
		_ = m.cmd.Process.Kill()
		<-m.done
		return errors.New("meshnode did not end within 45 s of SIGTERM and was killed")
	}
}
