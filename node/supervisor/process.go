package supervisor

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"meshnode/node/supervisor/nodeipc"
	"meshnode/node/supervisor/output"
)

// process is one run of a slot's worker, from fork to the end of all that it started.
type process struct {
	Worker
	spec    Spec
	number  int    // unique for the life of the node
	run     string // the mark of its descendants
	cmd     *exec.Cmd
	notify  *notifier
	output  *output.Run
	place   place
	life    life
	started time.Time
	readied sync.Once
	events  chan<- event
	done    chan struct{} // closed when the process has ended and its output is stored

	standing        // owned by the slot
	exit     string // how it ended; set before done is closed
}

// standing is what a process is to its slot.
type standing struct{ ready, retiring bool }

// event is what a process tells its slot.
type event struct {
	p     *process
	ready bool // it became ready; else it ended
}

// ipcFD is the descriptor of the IPC channel in the worker: the first after standard input, output and error.
const ipcFD = 3

// start forks a worker for the slot. The returned process reports its end, and before it perhaps its readiness, to the slot's events.
func (s *slot) start(spec Spec) (*process, error) {
	number := int(s.sup.starts.Add(1))
	id := fmt.Sprintf("%s/%d#%d", s.app, s.index, number)
	p := &process{spec: spec, number: number, run: s.sup.o.NodeID + "/" + id, done: make(chan struct{}), events: s.events,
		place: place{router: s.sup.o.Router}, life: life{killed: make(chan struct{})},
		Worker: Worker{ID: id, App: s.app, Slot: s.index, Release: spec.Release, Mode: spec.Mode, Serves: spec.Serves}}
	if err := p.prepare(s); err != nil {
		return nil, err
	}
	if err := p.launch(s); err != nil {
		return nil, err
	}
	s.sup.meter.count(metricStarts, 1)
	return p, nil
}

// prepare chooses what the process needs before its fork.
func (p *process) prepare(s *slot) error {
	if fi, err := os.Stat(p.spec.Dir); err != nil || !fi.IsDir() {
		return fmt.Errorf("the app's folder %s is not on this server; copy the app here, to the same path", p.spec.Dir)
	}
	if text := scriptOf(p.spec.Command); text != "" {
		if _, err := os.Stat(text); err != nil {
			return fmt.Errorf("%s is not on this server; copy the app here, to the same path", text)
		}
	}
	if p.spec.Mode == ModePort && p.spec.Serves {
		addr, err := freeLoopback()
		if err != nil {
			return err
		}
		p.Addr = addr
		_, port, _ := net.SplitHostPort(addr)
		p.spec.Port, _ = strconv.Atoi(port)
	}
	p.cmd = exec.Command(p.spec.Command[0], p.spec.Command[1:]...)
	p.cmd.Dir = p.spec.Dir
	p.cmd.Env = s.sup.o.environ(os.Environ(), p.spec, s.index, p.run)
	// Its own process group, so that a stop reaches all of it; killed with the node, so that it never outlives it unnoticed.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return nil
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
func (p *process) launch(s *slot) (err error) {
	var theirs []*os.File // the worker's ends, which are not ours after the fork
	defer func() {
		for _, f := range theirs {
			f.Close()
		}
		if err != nil {
			p.closeSide()
			p.finish()
		}
	}()
	if theirs, err = p.pipes(s); err != nil {
		return err
	}
	if p.notify, err = newNotifier(p.run); err != nil {
		return err
	}
	p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+p.notify.addr)
	if p.spec.Mode == ModeCluster {
		ours, inherited, err := nodeipc.Pair()
		if err != nil {
			return err
		}
		theirs = append(theirs, inherited)
		p.cmd.ExtraFiles = []*os.File{inherited}
		p.cmd.Env = append(p.cmd.Env, nodeipc.Environ(ipcFD, p.number)...)
		p.Channel = nodeipc.New(ours, handler{p})
	}
	p.started = time.Now()
	if err := s.sup.o.Spawner.do(p.cmd.Start); err != nil {
		return fmt.Errorf("start %s: %w", p.spec.Command[0], unwrapExec(err))
	}
	s.sup.wg.Go(func() { p.watch(s) })
	return nil
}

// unwrapExec takes the wrapping off that would repeat the program's name.
func unwrapExec(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return e.Err
	}
	var pe *os.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

func (p *process) closeSide() {
	if p.Channel != nil {
		p.Channel.Close()
	}
	if p.notify != nil {
		p.notify.conn.Close()
	}
}
