package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/node/supervisor/nodeipc"
)

// groupPoll is how often a group whose leader has ended in an orderly stop is asked whether any of it is left.
const groupPoll = 20 * time.Millisecond

// watch lives as long as the process: it listens to it, waits for its end, ends what it left behind, and tells the slot.
func (p *process) watch(s *slot) {
	var side sync.WaitGroup
	dead := make(chan struct{})
	side.Go(func() { p.notify.wait(p.saidReady) })
	if p.Channel != nil {
		side.Go(func() { p.converse(s, dead) })
	}
	switch {
	case p.spec.WaitReady:
	case p.Channel == nil && p.Addr != "":
		side.Go(func() { probe(p.Addr, dead, p.setReady) })
	case p.Channel == nil:
		side.Go(func() { outlive(aliveAfter, dead, p.setReady) })
	case p.spec.Undecided:
		side.Go(func() { outlive(quietAfter, dead, p.setReady) })
	}
	awaitExit(p.cmd.Process.Pid)
	p.unroute() // before the offers in flight are settled, so that none comes back to it
	err := p.reap()
	p.exit = describe(p.cmd.ProcessState, err)
	close(dead)
	p.closeSide()
	p.place.router.Ended(p.Worker)
	killRun(p.run) // whoever left the group: nothing of a worker outlives it
	side.Wait()
	p.finish()
	close(p.done)
	p.events <- event{p: p}
}

// converse speaks with a Node worker until its channel ends. A worker that lives on without it gets no connection any more; it may
// finish what it has, as one that disconnects by itself does, and is ended then.
func (p *process) converse(s *slot, dead <-chan struct{}) {
	if err := p.Channel.Run(); err != nil {
		s.log.Warn("worker's channel ended", "err", err)
	}
	s.sup.meter.count(metricSkipped, p.Channel.Skipped())
	p.unroute()
	t := time.NewTimer(p.spec.DrainTimeout + p.spec.KillTimeout)
	defer t.Stop()
	select {
	case <-dead:
	case <-s.sup.hurry:
		p.kill()
	case <-t.C:
		p.kill()
	}
}

// awaitExit blocks until the process has ended, and leaves it for reap: until then its number, and its group's, are nobody else's.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, syscall.EINTR) {
			return
		}
	}
}

// reap takes the ended process off the kernel's table and ends the rest of its group: at once, unless the group was told to end and may
// still be at it.
func (p *process) reap() error {
	p.life.mu.Lock()
	patient := p.life.asked && !p.life.dying
	if !patient {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
	err := p.cmd.Wait()
	p.life.reaped = true
	p.life.mu.Unlock()
	if !patient {
		return err
	}
	t := time.NewTicker(groupPoll)
	defer t.Stop()
	// While one of the group is left, the kernel gives its number to no other.
	for reapGroup(p.cmd.Process.Pid) {
		select {
		case <-t.C:
		case <-p.life.killed:
			_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
			return err
		}
	}
	return err
}

// life guards a process's number, which after reaping may be another's.
type life struct {
	mu     sync.Mutex
	asked  bool          // the group was told to end
	dying  bool          // the group was killed
	reaped bool          // the number is no longer ours
	killed chan struct{} // closed with dying
}

// ask tells the whole process group to end.
func (p *process) ask() {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	if !p.life.reaped {
		p.life.asked = true
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	}
}

// kill ends the whole process group at once.
func (p *process) kill() {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	if !p.life.dying {
		p.life.dying = true
		close(p.life.killed)
	}
	if !p.life.reaped {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// lastWord is the process's end for those who keep a record. The slot calls it, which knows whether the process was to end.
func (p *process) lastWord() Exit {
	e := Exit{Worker: p.Worker, Code: p.cmd.ProcessState.ExitCode(), Reason: p.exit}
	if ws, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		e.Signal = unix.SignalName(ws.Signal())
	}
	switch {
	case p.retiring:
		e.Reason += ", asked to stop"
	case !p.ready:
		e.Reason += " before it was ready"
	}
	return e
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

// place is a process's place in the routing. It enters once at most, and never after it has left: readiness may be reported by a process
// that has ended in the meantime.
type place struct {
	mu     sync.Mutex
	router Router
	inside bool
	left   bool
}

// route takes the process into the routing, and reports whether it is there.
func (p *process) route() bool {
	p.place.mu.Lock()
	defer p.place.mu.Unlock()
	if !p.place.left && !p.place.inside {
		p.place.inside = true
		p.place.router.Route(p.Worker)
	}
	return p.place.inside
}

// unroute takes the process out of the routing for good, and reports whether it was there. From its return on the process is
// given no new connection, whoever called it first.
func (p *process) unroute() bool {
	p.place.mu.Lock()
	defer p.place.mu.Unlock()
	was := p.place.inside
	p.place.inside, p.place.left = false, true
	if was {
		p.place.router.Unroute(p.Worker)
	}
	return was
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

// saidReady takes the worker's own word, which counts where the app declares that it will give it: many send it as they were written to
// for another process manager, some before they listen.
func (p *process) saidReady() {
	if p.spec.WaitReady {
		p.setReady()
	}
}

// handler receives what a Node worker says over its IPC channel.
type handler struct{ p *process }

func (h handler) Listen(q nodeipc.Query) nodeipc.Reply { return h.p.place.router.Listen(h.p.Worker, q) }
func (h handler) Unlisten(key string)                  { h.p.place.router.Unlisten(h.p.Worker, key) }

func (h handler) Listening() {
	if !h.p.spec.WaitReady {
		h.p.setReady()
	}
}

func (h handler) Message(raw json.RawMessage) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text == "ready" {
		h.p.saidReady()
	}
}
