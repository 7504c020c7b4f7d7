package supervisor

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/node/supervisor/keeper"
	"meshnode/node/supervisor/output"
)

// process is one run of a slot's worker, from fork to the end of all that it started.
type process struct {
	Worker
	birth
	rise
	spec   Spec
	sup    *Supervisor
	notify *notifier
	output *output.Run // nil until it has pipes
	place  place
	life   life
	health health
	notes  notes
	events chan<- event
	done   chan struct{} // closed when the process has ended and its output is stored

	standing // owned by the slot
	minded   // owned by the minder
}

// birth is what is settled at the fork.
type birth struct {
	number  int      // unique for the life of the keeper
	run     string   // the mark of its descendants
	user    int      // whom it runs as
	account *account // nil = the node's own
	started time.Time
}

// rise is the way to readiness.
type rise struct {
	inherit *os.File      // the socket that a worker in mode socket takes over, until its fork
	socket  int           // our own descriptor of it, until the worker is ready; -1 = none
	up      chan struct{} // closed when it is up, and has to pass its health check
	readied sync.Once
	asked   atomic.Bool // it asked over its channel for a TCP port
	reports atomic.Bool // it reports its load
}

// notes are what the keeper was told of a process.
type notes struct {
	mu     sync.Mutex
	record record
}

// standing is what a process is to its slot.
type standing struct {
	ready    bool
	retiring bool
	abrupt   bool   // it is not drained: its connections are stuck
	end      ending // set before done is closed
}

// event is what a process tells its slot.
type event struct {
	p     *process
	ready bool // it became ready; else it ended
}

// ipcFD is the descriptor of the IPC channel in the worker: the first after standard input, output and error.
const ipcFD = 3

// start forks a worker for the slot. The returned process reports its end, and before it perhaps its readiness, to the slot's events.
func (s *slot) start(spec Spec) (*process, error) {
	spec = s.sup.fallBack(spec)
	number := int(s.sup.starts.Add(1))
	id := fmt.Sprintf("%s/%d#%d", s.app, s.index, number)
	p := s.process(spec, number, s.sup.o.NodeID+"/"+id)
	p.Worker = Worker{ID: id, App: s.app, Slot: s.index, Release: spec.Release, Mode: spec.Mode, Serves: spec.Serves, Header: spec.Account.Header,
		Checking: new(atomic.Uint32)}
	if u := spec.Uncaught; u != nil && !u.Alone {
		p.Uncaught = u.Addrs
	}
	path, err := p.prepare()
	if err != nil {
		return nil, err
	}
	if err := p.launch(s, path); err != nil {
		return nil, err
	}
	s.sup.meter.count(metricStarts, 1)
	return p, nil
}

func (s *slot) process(spec Spec, number int, run string) *process {
	return &process{spec: spec, birth: birth{number: number, run: run}, rise: rise{socket: -1, up: make(chan struct{})}, sup: s.sup,
		done: make(chan struct{}), events: s.events, place: place{router: s.sup.o.Router}, life: life{killed: make(chan struct{})},
		notes: notes{record: record{Restarts: s.snapshot().Restarts}}}
}

// prepare chooses what the process needs before its fork, and returns the program's path.
func (p *process) prepare() (string, error) {
	if fi, err := os.Stat(p.spec.Dir); err != nil || !fi.IsDir() {
		return "", fmt.Errorf("the app's folder %s is not on this server; copy the app here, to the same path", p.spec.Dir)
	}
	if text := scriptOf(p.spec.Command); text != "" {
		if _, err := os.Stat(text); err != nil {
			return "", fmt.Errorf("%s is not on this server; copy the app here, to the same path", text)
		}
	}
	if p.spec.Mode != ModeCluster && p.spec.Serves {
		if err := p.choosePort(); err != nil {
			return "", err
		}
	}
	return program(p.spec.Command[0], p.spec.Dir)
}

// choosePort finds a private port; in mode socket the worker inherits the socket that listens on it.
func (p *process) choosePort() (err error) {
	if p.spec.Mode == ModeSocket {
		p.Addr, p.inherit, err = listenLoopback()
	} else {
		p.Addr, err = freeLoopback()
	}
	if err == nil {
		_, port, _ := net.SplitHostPort(p.Addr)
		p.spec.Port, err = strconv.Atoi(port)
	}
	return err
}

// program finds the file of a command's first word: a path is taken from the working directory, a bare name looked up in PATH.
func program(name, dir string) (string, error) {
	if strings.Contains(name, "/") {
		if !filepath.IsAbs(name) {
			name = filepath.Join(dir, name)
		}
		return name, nil
	}
	path, err := exec.LookPath(name)
	if err != nil {
		return "", fmt.Errorf("start %s: it is not in PATH on this server", name)
	}
	return filepath.Abs(path)
}

// scriptOf returns the first argument that is the absolute path of a program text: it must be there for the worker to start. Those
// after it are the program's own business.
func scriptOf(command []string) string {
	for _, arg := range command[1:] {
		if !strings.HasPrefix(arg, "/") {
			continue
		}
		for _, end := range []string{".js", ".cjs", ".mjs", ".ts", ".py", ".rb", ".sh", ".php"} {
			if strings.HasSuffix(arg, end) {
				return arg
			}
		}
	}
	return ""
}

// launch forks the process and starts all that watches over it.
func (p *process) launch(s *slot, path string) (err error) {
	if p.account, err = accountOf(p.spec.Account); err != nil {
		return err
	}
	if p.user = os.Getuid(); p.account != nil {
		p.user = int(p.account.UID)
	}
	b := &baggage{}
	defer func() {
		b.close()
		if err != nil {
			p.closeSide()
			p.finish()
			s.sup.groups.remove(p.number)
		}
	}()
	if err := b.pack(p, s); err != nil {
		return err
	}
	env := s.sup.o.environ(os.Environ(), p)
	p.started = time.Now()
	argv := p.spec.Command
	if p.inherit != nil { // LISTEN_PID is the number of the process, which is known only once it is there
		path, argv = "/bin/sh", append([]string{"sh", "-c", `export LISTEN_PID=$$; exec "$@"`, "sh"}, argv...)
		if p.socket, err = unix.FcntlInt(uintptr(number(p.inherit)), unix.F_DUPFD_CLOEXEC, 0); err != nil {
			return fmt.Errorf("keep the worker's socket: %w", err)
		}
	}
	start := keeper.Start{Name: keptAs(p.ID), Path: path, Argv: argv, Env: append(env, b.env...), Dir: p.spec.Dir,
		OpenFiles: p.spec.Account.Limits.OpenFiles, Inherit: len(b.theirs), Cgroup: b.cgroup >= 0}
	if p.account != nil {
		start.User = &p.account.Account
	}
	if start.Meta, err = p.record().encode(); err != nil {
		return err
	}
	p.PID, err = s.sup.o.Keeper.Start(start, b.all())
	if err != nil {
		return err
	}
	s.sup.wg.Go(func() { p.watch(s) })
	return nil
}

func (p *process) closeSide() {
	if p.Channel != nil {
		p.Channel.Close()
	}
	if p.notify != nil {
		p.notify.conn.Close()
	}
	if p.inherit != nil { // it never began
		p.inherit.Close()
	}
}

// keptAs is the name under which the keeper keeps what belongs to a worker.
func keptAs(worker string) string { return keptWorkers + worker }

const keptWorkers = "worker/"
