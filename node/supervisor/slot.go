package supervisor

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"

	"meshnode/node/supervisor/output"
)

// command is what a slot is told to do.
type command struct {
	stop  bool
	wake  bool     // begin, if the slot is empty
	renew *renewal // replace the worker by one of the same release
	spec  Spec
	order Order
}

// renewal is a replacement that nobody asked for: the worker grew too large, its time has come, or it hangs.
type renewal struct {
	worker string // ID of the worker that is meant; empty for a slot that is to have one again, where none runs
	reason string
	abrupt bool // its connections are stuck: it is not drained
}

// slot is one place for a worker of an app. One goroutine, run, owns everything but the published status.
type slot struct {
	sup    *Supervisor
	app    string
	index  int
	log    hclog.Logger
	cmds   chan command
	events chan event
	ended  chan struct{}
	logs   *output.Slot

	// owned by run
	procs  procs
	back   backoff
	proven uint64 // the last release of which a worker stayed up here

	serving atomic.Pointer[process] // ready, and nobody has told it to end
	runs    atomic.Pointer[Spec]    // what the worker was, or is to be, started with

	mu     sync.Mutex
	status Status
}

// procs are the processes of a slot and what is to become of them.
type procs struct {
	cur      *process // serves, or starts with no older one beside it
	next     *process // the successor that is being started
	live     int      // processes that have not ended, retired ones included
	begun    bool     // spec is set
	spec     Spec     // what cur was, or is to be, started with
	pending  *Spec    // starts when cur has ended (stop-first)
	stopping bool
	renewing *renewal    // why next is started, if nobody asked for it
	over     *process    // ended by itself, and is not to be started again; its successor may yet come up
	leftover []*process  // adopted, to be retired
	deadline *time.Timer // of the start in progress
	retry    *time.Timer // of the back-off
	proving  *process    // is ready, and has to stay up for a while
	watch    *time.Timer // that while
}

func newSlot(sup *Supervisor, app string, index int, release uint64) *slot {
	s := &slot{sup: sup, app: app, index: index, log: sup.log.With("worker", app+"/"+strconv.Itoa(index)),
		// The slot reads events until all its processes have ended.
		cmds: make(chan command, 8), events: make(chan event), ended: make(chan struct{}),
		logs: sup.book.Slot(app, index, sup.book.Policy(app))}
	s.status = Status{App: app, Slot: index, State: StateStarting, Release: release}
	return s
}

// run is the slot's life: it ends when the slot was stopped and nothing of it runs any more.
func (s *slot) run() {
	defer func() {
		s.logs.Close()
		s.publish(func(st *Status) { st.State, st.PID = StateStopped, 0 })
		close(s.ended)
	}()
	s.procs.deadline, s.procs.retry, s.procs.watch = stoppedTimer(), stoppedTimer(), stoppedTimer()
	defer s.procs.deadline.Stop()
	defer s.procs.retry.Stop()
	defer s.procs.watch.Stop()
	s.resume()
	for !s.procs.stopping || s.procs.live > 0 {
		select {
		case <-s.sup.frozen:
			return
		case c := <-s.cmds:
			s.obey(c)
		case e := <-s.events:
			if e.ready {
				s.onReady(e.p)
			} else {
				s.onExit(e.p)
			}
		case <-s.procs.deadline.C:
			s.onDeadline()
		case <-s.procs.retry.C:
			s.restart()
		case <-s.procs.watch.C:
			s.onProven()
		}
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

func (s *slot) obey(c command) {
	switch {
	case s.procs.stopping:
	case c.stop:
		s.procs.stopping = true
		s.procs.retry.Stop()
		s.procs.deadline.Stop()
		s.abandonNext()
		if s.procs.cur != nil {
			s.retire(s.procs.cur)
		}
	case c.wake:
		if s.procs.cur == nil && s.procs.begun {
			s.begin(s.procs.spec)
		}
	case c.renew != nil:
		s.renew(c.renew)
	case s.procs.next != nil && s.procs.cur != nil && s.procs.cur.ready && s.procs.renewing == nil && c.spec.Release == s.procs.spec.Release:
		s.abandonNext() // the successor's release was taken back
		s.publish(func(st *Status) { st.Replacing = 0 })
	case s.procs.begun && c.spec.Release == s.procs.heading():
		// Told twice: whoever plans looks at a snapshot, which may be older than the last command.
	case s.procs.cur == nil:
		s.abandonNext()
		s.back = backoff{}
		s.publish(func(st *Status) { st.Done = false })
		s.begin(c.spec)
	case !s.procs.cur.ready:
		// What is being started is outdated; it serves nobody.
		s.procs.pending = &c.spec
		s.procs.cur.kill()
	case c.order == StopFirst || s.procs.cur.retiring:
		s.abandonNext()
		s.procs.pending = &c.spec
		s.publish(func(st *Status) { st.Replacing = c.spec.Release })
		s.retire(s.procs.cur)
	default:
		s.abandonNext()
		s.succeed(c.spec)
	}
}

// heading is the release that the slot runs or is about to run.
func (p *procs) heading() uint64 {
	switch {
	case p.pending != nil:
		return p.pending.Release
	case p.next != nil:
		return p.next.Release
	default:
		return p.spec.Release
	}
}

// begin starts the slot's worker with no older one beside it.
func (s *slot) begin(spec Spec) {
	s.procs.retry.Stop()
	s.procs.spec, s.procs.begun, s.procs.over = spec, true, nil
	s.runs.Store(&spec)
	if s.spare(spec) {
		return
	}
	p, err := s.start(spec)
	if err != nil {
		s.failed(0, err.Error(), nil)
		return
	}
	s.procs.cur = p
	s.procs.live++
	s.procs.deadline.Reset(spec.Times.Listen)
	s.publish(func(st *Status) {
		st.State, st.PID, st.Worker = StateStarting, p.PID, p.ID
		st.Release, st.Replacing, st.StartedAt, st.Mode = spec.Release, 0, p.started, p.Mode
		if st.Spare {
			st.Spare, st.Done, st.Error = false, false, ""
		}
	})
}

// restart starts the slot's worker again after an unexpected end.
func (s *slot) restart() {
	s.publish(func(st *Status) { st.Restarts++ })
	s.begin(s.procs.spec)
}

// succeed starts the successor of a worker that goes on serving.
func (s *slot) succeed(spec Spec) {
	s.publish(func(st *Status) { st.Replacing = spec.Release })
	if s.replaceAlone(spec) {
		return
	}
	p, err := s.start(spec)
	if err != nil && s.procs.renewing != nil {
		s.log.Warn("worker cannot be replaced", "reason", s.procs.renewing.reason, "err", err)
		s.procs.renewing = nil
		s.publish(func(st *Status) { st.Replacing, st.Error = 0, err.Error() })
		return
	}
	if err != nil {
		s.refuse(spec.Release, err.Error(), nil)
		return
	}
	s.procs.next = p
	s.procs.live++
	s.procs.deadline.Reset(spec.Times.Listen)
}

// onDeadline ends a start that took too long. What the process's end means is decided by onExit.
func (s *slot) onDeadline() {
	p := s.procs.next
	if p == nil {
		p = s.procs.cur
	}
	if p == nil || p.ready {
		return
	}
	p.remark(fmt.Sprintf("meshnode: not ready after %s: %s", p.spec.Times.Listen, p.awaited()))
	p.kill()
}

// failed waits for the next start, or gives the slot up after too many failed ones.
func (s *slot) failed(uptime time.Duration, what string, tail []string) {
	delay, giveUp := s.back.next(s.procs.spec.Restart, uptime)
	state := StateBackoff
	if giveUp {
		state = StateFailed
		what = fmt.Sprintf("%s; given up after %d failed starts in a row", what, s.back.failures)
		s.log.Error("worker ended, and is not started again", "reason", what)
	} else {
		s.procs.retry.Reset(delay)
		s.log.Warn("worker ended", "reason", what, "dur", delay)
	}
	s.sup.meter.count(metricFailures, 1)
	s.publish(func(st *Status) {
		st.State, st.PID, st.Release, st.Replacing = state, 0, s.procs.spec.Release, 0
		st.Error, st.Tail = what, tail
	})
}

// refuse keeps the old worker and remembers which release did not come up.
func (s *slot) refuse(release uint64, what string, tail []string) {
	s.log.Error("release refused, the old worker stays", "release", release, "reason", what)
	s.sup.meter.count(metricRefused, 1)
	s.publish(func(st *Status) { st.Replacing, st.Refused, st.Error, st.Tail = 0, release, what, tail })
}

// abandonNext ends a successor that nobody waits for any more.
func (s *slot) abandonNext() {
	if p := s.procs.next; p != nil {
		s.procs.next, s.procs.renewing = nil, nil
		s.procs.deadline.Stop()
		s.unprove(p)
		p.kill()
		s.proveAgain()
	}
}

func (s *slot) publish(change func(*Status)) {
	s.mu.Lock()
	change(&s.status)
	s.mu.Unlock()
	s.sup.poke()
}

func (s *slot) snapshot() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// offer gives the slot a command that may as well be lost.
func (s *slot) offer(c command) {
	select {
	case s.cmds <- c:
	default:
	}
}

// tell gives the slot a command, and reports whether it may carry it out: one that has ended takes none.
func (s *slot) tell(c command) bool {
	select {
	case <-s.ended:
		return false
	default:
	}
	select {
	case s.cmds <- c:
		return true
	case <-s.ended:
		return false
	}
}
