package supervisor

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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
	case p.record().Ready:
	case p.record().Up: // it said so to a former run of the node, and will not again
		side.Go(p.setReady)
	case p.spec.WaitReady:
	case p.Channel == nil && p.Addr != "" && p.spec.Datagrams:
		side.Go(func() { probeDatagrams(p.Addr, dead, p.setReady) })
	case p.Channel == nil && p.Addr != "":
		side.Go(func() { probe(p.Addr, p.socket, dead, p.setReady) })
	case p.Channel == nil:
		side.Go(func() { outlive(aliveAfter, dead, p.setReady) })
	case p.spec.Undecided:
		side.Go(func() { outlive(quietAfter, dead, func() { p.see(); p.setReady() }) })
	}
	if p.checked() {
		side.Go(func() { p.mindHealth(dead) })
	}
	select {
	case <-s.sup.o.Keeper.Ended(p.PID):
	case <-s.sup.frozen:
		p.letGo()
		close(dead)
		side.Wait()
		return
	}
	p.unroute() // before the offers in flight are settled, so that none comes back to it
	p.end = p.reap()
	p.end.starved = p.hungered(p.end)
	close(dead)
	p.closeSide()
	p.place.router.Ended(p.Worker)
	if !p.spec.Account.LeaveTree {
		s.sup.groups.end(p.number)
		killRun(p.run) // whoever left the group: nothing of a worker outlives it
	}
	side.Wait()
	p.finish()
	s.sup.groups.remove(p.number)
	_ = s.sup.o.Keeper.Drop(keptAs(p.ID))
	close(p.done)
	select {
	case p.events <- event{p: p}:
	case <-s.sup.frozen:
	}
}

// letGo leaves the process to the node's successor.
func (p *process) letGo() {
	if p.Channel != nil {
		ctx, cancel := context.WithTimeout(context.Background(), settleLimit)
		files, e, err := p.Channel.Detach(ctx)
		cancel()
		for _, f := range files {
			f.Close() // the keeper has that of the started process, and the others come back by themselves
		}
		switch {
		case err != nil:
			p.sup.log.Warn("a worker's channel is handed over in the middle of a message", "worker", p.ID, "err", err)
		case e.Root && len(e.Channels) > 0:
			p.note(func(r *record) { r.Root = &e.Channels[0] })
		}
	}
	if p.output != nil {
		lines := p.output.Detach()
		p.note(func(r *record) { r.Lines = lines })
	}
	p.notify.conn.Close()
}

// settleLimit is how long connections that were offered to a worker may take to be taken, before the worker is handed over.
const settleLimit = time.Second

// converse speaks with a Node worker until its channel ends. A worker that lives on without it gets no connection any more; it may
// finish what it has, as one that disconnects by itself does, and is ended then.
func (p *process) converse(s *slot, dead <-chan struct{}) {
	err := p.Channel.Run()
	select {
	case <-s.sup.frozen:
		return
	default:
	}
	if err != nil {
		s.log.Warn("worker's channel ended", "err", err)
	}
	s.sup.meter.count(metricSkipped, p.Channel.Skipped())
	p.unroute()
	t := time.NewTimer(p.spec.Times.Drain + p.spec.Times.Kill)
	defer t.Stop()
	select {
	case <-dead:
	case <-s.sup.hurry:
		p.kill()
	case <-t.C:
		p.kill()
	}
}

// ending is how a process ended.
type ending struct {
	status  unix.WaitStatus
	err     error
	starved bool // the kernel ended it, for memory had run out
}

// String says it in words.
func (e ending) String() string {
	switch {
	case e.err != nil:
		return fmt.Sprintf("ended: %v", e.err)
	case e.starved:
		return "ended by the kernel: out of memory"
	case e.status.Signaled():
		return fmt.Sprintf("ended by signal %d (%s)", int(e.status.Signal()), e.status.Signal())
	}
	return fmt.Sprintf("exited with code %d", e.status.ExitStatus())
}

// code is the exit code, -1 when a signal ended it.
func (e ending) code() int {
	if e.err != nil || e.status.Signaled() {
		return -1
	}
	return e.status.ExitStatus()
}

// reap takes the ended process off the kernel's table and ends the rest of its group: at once, unless the group was told to end and may
// still be at it.
func (p *process) reap() (e ending) {
	p.life.mu.Lock()
	patient := p.life.asked && !p.life.dying || p.spec.Account.LeaveTree
	if !patient {
		_ = syscall.Kill(-p.PID, syscall.SIGKILL)
	}
	e.status, e.err = p.sup.o.Keeper.Reap(p.PID)
	p.life.reaped = true
	p.life.mu.Unlock()
	if !patient || p.spec.Account.LeaveTree {
		return e
	}
	t := time.NewTicker(groupPoll)
	defer t.Stop()
	// While one of the group is left, the kernel gives its number to no other.
	for p.sup.o.Keeper.GroupLives(p.PID) {
		select {
		case <-t.C:
		case <-p.life.killed:
			_ = syscall.Kill(-p.PID, syscall.SIGKILL)
			return e
		}
	}
	return e
}

// life guards a process's number, which after reaping may be another's.
type life struct {
	mu     sync.Mutex
	asked  bool          // the group was told to end
	dying  bool          // the group was killed
	reaped bool          // the number is no longer ours
	killed chan struct{} // closed with dying
}

// ask tells the worker to end: with all that it started, unless that is its own affair.
func (p *process) ask() {
	p.note(func(r *record) { r.Asked = true })
	p.life.mu.Lock()
	p.life.asked = true
	p.life.mu.Unlock()
	if p.spec.Account.StopMessage && p.Channel != nil && p.Channel.Send(json.RawMessage(`"shutdown"`)) == nil {
		return
	}
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	if p.life.reaped {
		return
	}
	_ = syscall.Kill(p.reach(), stopSignal(p.spec.Account.StopSignal))
}

// reach is whom signals go to: the process group, or the process alone.
func (p *process) reach() int {
	if p.spec.Account.LeaveTree {
		return p.PID
	}
	return -p.PID
}

func stopSignal(name string) syscall.Signal {
	if sig := unix.SignalNum(name); sig != 0 {
		return sig
	}
	return syscall.SIGTERM
}

// signal sends a signal to the worker's own process, unless it has ended.
func (p *process) signal(sig syscall.Signal) error {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	if p.life.reaped {
		return syscall.ESRCH
	}
	return syscall.Kill(p.PID, sig)
}

// kill ends it at once.
func (p *process) kill() {
	p.life.mu.Lock()
	defer p.life.mu.Unlock()
	if !p.life.dying {
		p.life.dying = true
		close(p.life.killed)
	}
	if !p.life.reaped {
		_ = syscall.Kill(p.reach(), syscall.SIGKILL)
	}
}

// lastWord is the process's end for those who keep a record. The slot calls it, which knows whether the process was to end.
func (p *process) lastWord() Exit {
	e := Exit{Worker: p.Worker, Code: p.end.code(), Reason: p.end.String()}
	if p.end.err == nil && p.end.status.Signaled() {
		e.Signal = unix.SignalName(p.end.status.Signal())
	}
	switch {
	case p.retiring:
		e.Reason += ", asked to stop"
	case !p.ready:
		e.Reason += " before it was ready"
	}
	return e
}

// place is a process's place in the routing. It never enters after it has left for good: readiness may be reported by a process that has
// ended in the meantime. One that is ill steps out for a while.
type place struct {
	mu      sync.Mutex
	router  Router
	inside  bool
	outside bool // it is ill, or says nothing
	ill     bool
	quiet   bool
	left    bool
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
	was := p.place.inside || p.place.outside
	if p.place.inside {
		p.place.router.Unroute(p.Worker)
	}
	p.place.inside, p.place.outside, p.place.left = false, false, true
	return was
}

// stepOut takes an ill worker out of the routing, and back in when it is well again. It reports whether that is a change.
func (p *process) stepOut(ill bool) bool {
	p.place.mu.Lock()
	defer p.place.mu.Unlock()
	changed := p.place.ill != ill && (p.place.inside || p.place.outside)
	p.place.ill = ill
	p.follow()
	return changed
}

// hush takes a worker out of the routing that says nothing at this moment, and back in at its next word.
func (p *process) hush(quiet bool) {
	p.place.mu.Lock()
	defer p.place.mu.Unlock()
	p.place.quiet = quiet
	p.follow()
}

// follow carries out what the worker's state means to the routing. The lock is held.
func (p *process) follow() {
	out := p.place.ill || p.place.quiet
	switch {
	case p.place.left:
	case out && p.place.inside:
		p.place.inside, p.place.outside = false, true
		p.place.router.Unroute(p.Worker)
	case !out && p.place.outside:
		p.place.inside, p.place.outside = true, false
		p.place.router.Route(p.Worker)
	}
}

// setReady takes in that the worker is up. Where the app has a health check, that has to pass first.
func (p *process) setReady() {
	p.readied.Do(func() {
		p.note(func(r *record) { r.Up = true })
		if !p.checked() {
			p.reportReady()
			return
		}
		close(p.up)
	})
}

// reportReady tells the slot.
func (p *process) reportReady() {
	select {
	case p.events <- event{p: p, ready: true}:
	case <-p.done:
	case <-p.sup.frozen:
	}
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

func (h handler) Listen(q nodeipc.Query) nodeipc.Reply {
	if !q.UDP() && q.Port >= 0 {
		h.p.caught()
	}
	reply := h.p.place.router.Listen(h.p.Worker, q)
	if reply.Errno == 0 {
		h.p.note(func(r *record) { r.Listens = append(r.Listens, q) })
	}
	return reply
}

func (h handler) Unlisten(key string) {
	h.p.note(func(r *record) {
		r.Listens = slices.DeleteFunc(slices.Clone(r.Listens), func(q nodeipc.Query) bool { return q.Key == key })
	})
	h.p.place.router.Unlisten(h.p.Worker, key)
}

func (h handler) Listening() {
	if !h.p.spec.WaitReady {
		h.p.setReady()
	}
}

func (h handler) Load(l nodeipc.Load) {
	if h.p.reports.CompareAndSwap(false, true) {
		h.p.note(func(r *record) { r.Reports = true })
	}
	if h.p.sup.o.OnLoad != nil {
		h.p.sup.o.OnLoad(h.p.Worker, l)
	}
}

func (h handler) Message(raw json.RawMessage) {
	var text string
	if json.Unmarshal(raw, &text) == nil && text == "ready" {
		h.p.saidReady()
	}
}
