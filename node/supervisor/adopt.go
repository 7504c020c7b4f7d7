package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/node/supervisor/keeper"
	"meshnode/node/supervisor/nodeipc"
	"meshnode/node/supervisor/output"
)

// record is what the keeper knows of a worker: all that the node's successor needs to go on with it.
type record struct {
	Spec     Spec      `json:"spec"`
	ID       string    `json:"id"`
	Slot     int       `json:"slot"`
	Number   int       `json:"number"`
	Run      string    `json:"run"`
	Addr     string    `json:"addr,omitempty"`
	Started  time.Time `json:"started"`
	Restarts int       `json:"restarts,omitempty"`
	stage
	Listens []nodeipc.Query `json:"listens,omitempty"`
	User    int             `json:"user"`
	Lines   [2][]byte       `json:"lines"` // the beginnings of lines of output whose ends were not read
	// Root is what is to be known of the channel that the started process inherited, where it was handed over in good order. Processes below
	// it come back by themselves.
	Root *nodeipc.Remains `json:"root,omitempty"`
}

// stage is how far a worker is.
type stage struct {
	Up       bool `json:"up,omitempty"`    // it said that it is up
	Ready    bool `json:"ready,omitempty"` // and was taken into the routing
	Retiring bool `json:"retiring,omitempty"`
	Asked    bool `json:"asked,omitempty"`   // it was told to end
	Reports  bool `json:"reports,omitempty"` // it reports its load
}

func (r record) encode() (json.RawMessage, error) {
	raw, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("note what is known of the worker: %w", err)
	}
	return raw, nil
}

// record is the process as the keeper is to know it now.
func (p *process) record() record {
	p.notes.mu.Lock()
	defer p.notes.mu.Unlock()
	r := p.notes.record
	r.Spec, r.ID, r.Slot, r.Number, r.Run, r.Addr, r.Started = p.spec, p.ID, p.Slot, p.number, p.run, p.Addr, p.started
	r.User = p.user
	return r
}

// note changes what the keeper knows of the process.
func (p *process) note(change func(*record)) {
	p.notes.mu.Lock()
	change(&p.notes.record)
	p.notes.mu.Unlock()
	if p.PID == 0 {
		return // it is told with the start
	}
	if raw, err := p.record().encode(); err == nil {
		_ = p.sup.o.Keeper.Update(keptAs(p.ID), raw) // a keeper that is gone takes this process with it
	}
}

// Adopt takes over the workers that a former run of the node has left. It returns the marks of what it took, for KillOrphans. Call
// it before anything is started.
func (s *Supervisor) Adopt(all []keeper.Kept) (runs []string) {
	spare := make(map[int]bool)
	for _, k := range all {
		if !strings.HasPrefix(k.Name, keptWorkers) {
			continue
		}
		var r record
		if err := json.Unmarshal(k.Meta, &r); err != nil || len(k.FDs) < keptFDs {
			s.log.Error("a worker of a former run cannot be taken over, and is ended", "worker", k.Name, "err", err)
			s.discard(k)
			continue
		}
		s.starts.Store(max(s.starts.Load(), int64(r.Number)))
		runs = append(runs, r.Run)
		spare[r.Number] = true
		s.adopt(k, r)
	}
	s.groups.sweep(spare)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, slots := range s.slots {
		for _, sl := range slots {
			s.wg.Go(func() {
				sl.run()
				s.remove(sl)
			})
		}
	}
	return runs
}

// discard ends a kept worker that nobody can make sense of.
func (s *Supervisor) discard(k keeper.Kept) {
	closeFDs(k.FDs)
	_ = s.o.Keeper.Drop(k.Name) // a keeper that is gone takes the worker with it
	if k.PID <= 1 {
		return // it has no process
	}
	_ = unix.Kill(-k.PID, unix.SIGKILL)
	s.wg.Go(func() {
		select {
		case <-s.o.Keeper.Ended(k.PID):
			_, _ = s.o.Keeper.Reap(k.PID)
		case <-s.frozen:
		}
	})
}

// keptFDs is the number of descriptors that every worker has with the keeper: output, errors, notify socket.
const keptFDs = 3

func closeFDs(fds []int) {
	for _, fd := range fds {
		unix.Close(fd)
	}
}

// adopt puts a kept worker into its slot. The slot does not run yet.
func (s *Supervisor) adopt(k keeper.Kept, r record) {
	s.mu.Lock()
	if s.slots[r.Spec.App] == nil {
		s.slots[r.Spec.App] = make(map[int]*slot)
	}
	sl := s.slots[r.Spec.App][r.Slot]
	if sl == nil {
		sl = newSlot(s, r.Spec.App, r.Slot, r.Spec.Release)
		s.slots[r.Spec.App][r.Slot] = sl
	}
	s.mu.Unlock()
	p := sl.process(r.Spec, r.Number, r.Run)
	p.Worker = Worker{ID: r.ID, App: r.Spec.App, Slot: r.Slot, Release: r.Spec.Release, Mode: r.Spec.Mode, Serves: r.Spec.Serves, Header: r.Spec.Account.Header, Checking: new(atomic.Uint32),
		Addr: r.Addr, PID: k.PID, Adopted: true, Reports: r.Reports}
	p.started, p.notes.record = startOf(k.PID, r.Started), r
	if u := r.Spec.Uncaught; u != nil {
		s.uncaught.set(r.Spec.App, *u)
		if !u.Alone {
			p.Uncaught = u.Addrs
		}
	}
	p.asked.Store(len(r.Listens) > 0)
	p.reports.Store(r.Reports)
	p.inheritLogs(sl, k.FDs, r)
	p.notify = adoptNotifier(k.FDs[2], r.User)
	p.user = r.User
	if r.Spec.Mode == ModeCluster {
		p.adoptChannel(k.FDs[keptFDs:], r)
	}
	sl.take(p, r)
}

// tick is the unit in which the kernel says when a process was started.
const tick = 10 * time.Millisecond

// startOf is when a process was started, as time that has passed since: the clock by which a former run noted it may have been set.
func startOf(pid int, noted time.Time) time.Time {
	f := statOf(pid)
	var up unix.Timespec
	if len(f) < 20 || unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return noted
	}
	at, err := strconv.ParseInt(f[19], 10, 64)
	if err != nil {
		return noted
	}
	return time.Now().Add(time.Duration(at)*tick - time.Duration(up.Nano()))
}

// inheritLogs goes on with the pipes of a worker's output.
func (p *process) inheritLogs(sl *slot, fds []int, r record) {
	out, err := output.Inherit(uintptr(fds[0]), "out")
	errs, eerr := output.Inherit(uintptr(fds[1]), "err")
	if err := errors.Join(err, eerr); err != nil {
		p.sup.log.Error("the output of a worker of a former run is lost", "worker", p.ID, "err", err)
		return
	}
	p.openLogs(sl, out, errs, r.Lines)
}

// adoptChannel goes on with a Node worker's channels. What the started process listens on is opened again; those below it ask anew.
func (p *process) adoptChannel(fds []int, r record) {
	e := nodeipc.Estate{Path: nodeipc.Rendezvous(p.sup.runDir(), strconv.Itoa(r.Number))}
	var files []*os.File
	for _, fd := range fds[:min(len(fds), 1)] {
		files, e.Root = append(files, os.NewFile(uintptr(fd), "ipc")), true
		rest := nodeipc.Remains{Preload: true, Load: r.Reports} // the former run died without a word
		if r.Root != nil {
			rest = *r.Root
		} else {
			for _, q := range r.Listens {
				rest.Held = append(rest.Held, q.Key)
			}
		}
		e.Channels = append(e.Channels, rest)
	}
	p.notes.record.Root, p.notes.record.Lines = nil, [2][]byte{}
	var err error
	if p.Channel, err = nodeipc.AdoptFamily(files, e, r.User, handler{p}); err != nil {
		p.sup.log.Error("the channel of a worker of a former run is lost", "worker", p.ID, "err", err)
		return
	}
	for _, q := range r.Listens {
		if len(e.Channels) > 0 && slices.Contains(e.Channels[0].Held, q.Key) {
			if reply := p.place.router.Listen(p.Worker, q); reply.Share != nil {
				reply.Share.Close() // it has its own
			}
		}
	}
}

// take gives an adopted process its place in the slot.
func (s *slot) take(p *process, r record) {
	pr := &s.procs
	pr.live++
	p.ready, p.retiring = r.Ready, r.Retiring
	switch {
	case r.Retiring:
		pr.leftover = append(pr.leftover, p)
	case pr.cur == nil:
		pr.cur, pr.begun, pr.spec = p, true, p.spec
		s.status = Status{App: s.app, Slot: s.index, State: StateStarting, PID: p.PID, Worker: p.ID, Mode: p.Mode, Release: p.Release,
			Restarts: r.Restarts, StartedAt: p.started}
		if r.Ready {
			s.status.State = StateReady
		}
	case pr.next == nil && !r.Ready:
		pr.next = p
		s.status.Replacing = p.Release
	default: // two that are ready: the older one was about to be retired
		pr.leftover = append(pr.leftover, pr.cur)
		pr.cur, pr.spec = p, p.spec
		s.status.PID, s.status.Worker, s.status.Release, s.status.StartedAt = p.PID, p.ID, p.Release, p.started
	}
}

// resume sets going what was adopted. It runs in the slot's own goroutine.
func (s *slot) resume() {
	pr := &s.procs
	pr.stopping = pr.live > 0 && pr.cur == nil && pr.next == nil
	for _, p := range []*process{pr.cur, pr.next} {
		if p == nil {
			continue
		}
		s.sup.wg.Go(func() { p.watch(s) })
		if p.ready {
			p.route()
			s.serving.Store(p)
			s.proven = p.Release
		} else {
			pr.deadline.Reset(p.spec.Times.Listen)
		}
	}
	for _, p := range pr.leftover {
		s.sup.wg.Go(func() { p.watch(s) })
		p.retiring = false
		s.retire(p)
	}
	pr.leftover = nil
}

// HandOver lets go of all workers for the node's successor: nothing of them is ended, nothing is started, and what was half read of
// them is left with the keeper. It returns when that is done. Nothing happens after it.
func (s *Supervisor) HandOver() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	close(s.frozen)
	s.wg.Wait()
	s.book.Close()
}
