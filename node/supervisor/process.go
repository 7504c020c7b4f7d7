package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"meshnode/node/supervisor/nodeipc"
)

// process is one run of a slot's worker, from fork to the end of all that it started.
type process struct {
	Worker
	spec    Spec
	number  int    // unique for the life of the node
	run     string // the mark of its descendants
	cmd     *exec.Cmd
	notify  *notifier
	started time.Time
	done    chan struct{} // closed when the process has ended and its output is stored
	readied sync.Once
	events  chan<- event
	router  Router
	routed  atomic.Bool

	// owned by the slot
	ready    bool
	retiring bool

	exit string // how it ended; set before done is closed
	code int
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
	number := int(s.sup.starts.Add(1))
	id := fmt.Sprintf("%s/%d#%d", s.app, s.index, number)
	p := &process{spec: spec, number: number, run: s.sup.o.NodeID + "/" + id, done: make(chan struct{}), events: s.events, router: s.sup.o.Router,
		Worker: Worker{ID: id, App: s.app, Slot: s.index, Release: spec.Release, Mode: spec.Mode, Serves: spec.Serves}}
	if err := p.prepare(s); err != nil {
		return nil, err
	}
	return p, p.launch(s)
}

// prepare chooses what the process needs before its fork.
func (p *process) prepare(s *slot) error {
	if fi, err := os.Stat(p.spec.Dir); err != nil || !fi.IsDir() {
		return fmt.Errorf("the app's folder %s is not on this server; copy the app here, to the same path", p.spec.Dir)
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
	for _, arg := range p.spec.Command[1:] {
		if !script(arg) {
			continue
		}
		if _, err := os.Stat(arg); err != nil {
			return fmt.Errorf("%s is not on this server; copy the app here, to the same path", arg)
		}
	}
	return nil
}

// script reports whether an argument is the absolute path of a program text, which must be there for the worker to start.
func script(arg string) bool {
	return strings.HasPrefix(arg, "/") && (strings.HasSuffix(arg, "js") || strings.HasSuffix(arg, ".ts") || strings.HasSuffix(arg, ".py") ||
		strings.HasSuffix(arg, ".rb") || strings.HasSuffix(arg, ".sh") || strings.HasSuffix(arg, ".php"))
}

// launch forks the process and starts all that watches over it.
func (p *process) launch(s *slot) (err error) {
	var out sync.WaitGroup
	var closers []*os.File
	defer func() {
		for _, f := range closers {
			f.Close()
		}
	}()
	so, err := s.out.pipe(&out)
	if err != nil {
		return err
	}
	closers = append(closers, so)
	se, err := s.err.pipe(&out)
	if err != nil {
		return err
	}
	closers = append(closers, se)
	p.cmd.Stdout, p.cmd.Stderr = so, se
	if p.spec.Mode == ModeCluster {
		ours, theirs, err := nodeipc.Pair()
		if err != nil {
			return err
		}
		closers = append(closers, theirs)
		p.cmd.ExtraFiles = []*os.File{theirs}
		p.cmd.Env = append(p.cmd.Env, nodeipc.Environ(ipcFD, p.number)...)
		p.Channel = nodeipc.New(ours, handler{p})
	} else if p.notify, err = newNotifier(p.run); err != nil {
		return err
	} else {
		p.cmd.Env = append(p.cmd.Env, "NOTIFY_SOCKET="+p.notify.addr)
	}
	p.started = time.Now()
	if err := s.sup.o.Spawner.do(p.cmd.Start); err != nil {
		p.closeSide()
		return fmt.Errorf("start %s: %w", p.spec.Command[0], unwrapExec(err))
	}
	s.sup.wg.Go(func() { p.watch(&out) })
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

// watch lives as long as the process: it listens to it, waits for its end, ends what it left behind, and tells the slot.
func (p *process) watch(out *sync.WaitGroup) {
	var side sync.WaitGroup
	dead := make(chan struct{})
	if p.Channel != nil {
		side.Go(func() { _ = p.Channel.Run() })
	} else {
		side.Go(func() { p.notify.wait(p.cmd.Process.Pid, p.setReady) })
		if !p.spec.WaitReady {
			side.Go(func() { probe(p.Addr, dead, p.setReady) })
		}
	}
	err := p.cmd.Wait()
	close(dead)
	p.code, p.exit = p.cmd.ProcessState.ExitCode(), describe(p.cmd.ProcessState, err)
	if p.routed.CompareAndSwap(true, false) {
		p.router.Unroute(p.Worker) // before the offers in flight are settled, so that none comes back to it
	}
	p.closeSide()
	p.router.Ended(p.Worker)
	// Its group, then whoever left the group: they hold the output open, and nothing of a worker outlives it.
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	killRun(p.run)
	side.Wait()
	out.Wait()
	close(p.done)
	p.events <- event{p: p}
}

// describe says in words how a process ended.
func describe(st *os.ProcessState, err error) string {
	if st == nil {
		return fmt.Sprintf("ended: %v", err)
	}
	if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return fmt.Sprintf("ended by signal %d (%s)", int(ws.Signal()), ws.Signal())
	}
	return fmt.Sprintf("exited with code %d", st.ExitCode())
}

// setReady reports readiness to the slot, once.
func (p *process) setReady() {
	p.readied.Do(func() {
		select {
		case p.events <- event{p: p, ready: true}:
		case <-p.done:
		}
	})
}

// handler receives what a Node worker says over its IPC channel.
type handler struct{ p *process }

func (h handler) Listen(q nodeipc.Query) nodeipc.Reply { return h.p.router.Listen(h.p.Worker, q) }
func (h handler) Unlisten(key string)                  { h.p.router.Unlisten(h.p.Worker, key) }

func (h handler) Listening(string) {
	if !h.p.spec.WaitReady {
		h.p.setReady()
	}
}

func (h handler) Message(raw json.RawMessage) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text == "ready" {
		h.p.setReady()
	}
}
