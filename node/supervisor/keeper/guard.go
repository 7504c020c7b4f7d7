package keeper

import (
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// limits are how long the steps may take.
type limits struct {
	standby time.Duration // a successor, to say that it is able to start
	yield   time.Duration // the present node, to let go of everything
	start   time.Duration // the successor, to serve
	end     time.Duration // at the end, what the node has left
}

func usual() limits {
	return limits{standby: 20 * time.Second, yield: 20 * time.Second, start: 60 * time.Second, end: 30 * time.Second}
}

// Times of the node's life.
const (
	retryFirst  = 100 * time.Millisecond // wait before the second start after a crash; the first is at once
	retryMax    = 15 * time.Second
	steadyAfter = 10 * time.Second // a node that lived this long has not crashed in a row
	crashCode   = 2                // exit code of a Go program that panicked
)

// process is one run of a node.
type process struct {
	pid     int
	link    *link
	exe     *os.File
	started time.Time
	ready   bool
	why     string // why it was ended from here
}

// guard is the life of the node: it is started, started again when it crashes, and replaced by another binary.
type guard struct {
	k       *Keeper
	o       Options
	exe     *os.File // the binary that is known to serve
	notify  func(state string)
	node    *process         // serves, or starts
	heir    *process         // is to take its place
	retired map[int]*process // finish what crosses them
	outcome Outcome
	asked   bool // the node was asked to yield
	retry   *time.Timer
	limit   *time.Timer // of the upgrade's present step
	wait    time.Duration
	served  bool // some node was ready
	limits  limits
	end     ending
}

// ending is how all of it ends.
type ending struct {
	stopping bool
	over     bool
	code     int
}

func newGuard(k *Keeper, o Options, notify func(string)) (*guard, error) {
	exe, err := openProgram("/proc/self/exe") // stays what it is, whatever happens to the file's name
	if err != nil {
		return nil, fmt.Errorf("open the program itself: %w", err)
	}
	g := &guard{k: k, o: o, exe: exe, notify: notify, retired: make(map[int]*process), retry: idleTimer(), limit: idleTimer(), limits: usual()}
	k.guard = g
	return g, nil
}

// highFD is above all descriptors that a node is started with: those take the places of the keeper's own in the child.
const highFD = 64

func openProgram(path string) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, highFD)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), path), nil
}

func idleTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// launch starts a node of the given binary.
func (g *guard) launch(exe *os.File, standby bool) (*process, error) {
	ours, theirs, err := pair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	env := nodeEnviron(g.o.Env, standby)
	attr := &syscall.ProcAttr{Env: env, Files: []uintptr{0, 1, 2, theirs.Fd()},
		// A group of its own: what is typed on the terminal reaches it through here alone.
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}}
	pid, err := fork("/proc/self/fd/"+strconv.Itoa(int(exe.Fd())), g.o.Args, attr)
	if err != nil {
		ours.Close()
		return nil, err
	}
	g.k.children.add(pid)
	return &process{pid: pid, link: g.k.attach(ours, pid), exe: exe, started: time.Now()}, nil
}

// nodeEnviron is the environment of a node: this process's own without what concerns this process alone.
func nodeEnviron(own []string, standby bool) []string {
	var out []string
	for _, kv := range own {
		if !strings.HasPrefix(kv, "NOTIFY_SOCKET=") && !strings.HasPrefix(kv, "WATCHDOG_") && !strings.HasPrefix(kv, "_MESHNODE_") {
			out = append(out, kv)
		}
	}
	out = append(out, variable+"=3")
	if standby {
		out = append(out, standbyVariable+"=1")
	}
	return out
}

// begin starts the node that is to serve.
func (g *guard) begin() {
	p, err := g.launch(g.exe, false)
	if err != nil {
		g.k.log.Error("cannot start the node", "err", err)
		g.again()
		return
	}
	g.node, g.k.current = p, p.link
}

// again starts the node anew: at once after its first crash in a row, then later and later.
func (g *guard) again() {
	g.retry.Reset(g.wait)
	g.wait = min(max(retryFirst, g.wait*3/2), retryMax)
}

// stop ends all of it in good order.
func (g *guard) stop() {
	g.end.stopping = true
	g.retry.Stop()
	g.notify("STOPPING=1")
	if g.node == nil && g.heir != nil { // it is its turn: all is its own to end
		g.node = g.heir
		g.failed("the node is being stopped")
	}
	g.abandon("the node is being stopped")
	for pid := range g.retired {
		g.k.children.signal(pid, syscall.SIGTERM)
	}
	if g.node == nil {
		g.end.over = true
		return
	}
	g.k.children.signal(g.node.pid, syscall.SIGTERM)
}

// ended takes in that a child has ended, and reports whether it was a node.
func (g *guard) ended(pid int) bool {
	p := g.process(pid)
	if p == nil {
		return false
	}
	g.k.settle(p.link) // what it said last may have changed its part
	switch {
	case g.retired[pid] != nil:
		delete(g.retired, pid)
		g.reaped(pid)
	case g.heir != nil && g.heir.pid == pid:
		g.heirEnded(g.reaped(pid))
	default:
		g.nodeEnded(g.reaped(pid))
	}
	return true
}

// process is the node of that number, nil if it is none.
func (g *guard) process(pid int) *process {
	for _, p := range []*process{g.node, g.heir, g.retired[pid]} {
		if p != nil && p.pid == pid {
			return p
		}
	}
	return nil
}

func (g *guard) reaped(pid int) unix.WaitStatus {
	var status uint32
	if raw, err := g.k.children.reap(pid); err == nil {
		_ = json.Unmarshal(raw, &status) // written above
	}
	return unix.WaitStatus(status)
}

func (g *guard) nodeEnded(status unix.WaitStatus) {
	p := g.node
	g.node, g.asked = nil, false
	if g.k.current == p.link {
		g.k.current = nil
	}
	g.limit.Stop()
	if g.heir != nil {
		g.abandon("the node ended in the middle of it: " + words(status))
	}
	crashed := status.Signaled() || status.ExitStatus() == crashCode
	switch {
	case g.end.stopping || !crashed && (p.ready || !g.served):
		g.end.over, g.end.code = true, max(status.ExitStatus(), 0)
		if status.Signaled() {
			g.end.code = 128 + int(status.Signal())
		}
		return
	case !g.served && !p.ready: // it never came up: whoever started it has to look
		g.k.log.Error("the node ended before it served", "reason", words(status))
		g.end.over, g.end.code = true, 1
		return
	}
	g.k.log.Error("the node ended and is started again; its workers go on", "reason", words(status))
	if time.Since(p.started) > steadyAfter {
		g.wait = 0
	}
	g.again()
}

func words(status unix.WaitStatus) string {
	if status.Signaled() {
		return fmt.Sprintf("signal %d (%s)", int(status.Signal()), status.Signal())
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}

// answer serves what the nodes ask about their own life.
func (g *guard) answer(r request) (json.RawMessage, error) {
	switch r.p.Kind {
	case kindReady:
		g.ready(r.from)
		return nil, nil
	case kindUpgrade:
		return nil, g.upgrade(r)
	case kindOutcome:
		return json.Marshal(g.outcome)
	case kindYielded:
		g.yielded(r.from)
		return nil, nil
	}
	return nil, fmt.Errorf("%q is not known here; the node and its keeper are of different releases", r.p.Kind)
}

func (g *guard) ready(from *link) {
	switch {
	case g.heir != nil && from == g.heir.link:
		g.k.log.Info("the new binary serves", "path", g.outcome.Path)
		g.node, g.heir, g.asked = g.heir, nil, false
		g.exe.Close()
		g.exe = g.node.exe
		g.outcome.Running = false
		g.limit.Stop()
	case g.node == nil || from != g.node.link:
		return
	}
	g.node.ready, g.served = true, true
	g.notify("READY=1")
}
