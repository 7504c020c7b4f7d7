package supervisor

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/node/supervisor/keeper"
	"meshnode/node/supervisor/nodeipc"
)

// record is what the keeper knows of a worker: all that the node's successor needs to go on with it.
type record struct {
	Spec     Spec            `json:"spec"`
	ID       string          `json:"id"`
	Slot     int             `json:"slot"`
	Number   int             `json:"number"`
	Run      string          `json:"run"`
	Addr     string          `json:"addr,omitempty"`
	Started  time.Time       `json:"started"`
	Restarts int             `json:"restarts,omitempty"`
	Ready    bool            `json:"ready,omitempty"`
	Retiring bool            `json:"retiring,omitempty"`
	Asked    bool            `json:"asked,omitempty"` // it was told to end
	Listens  []nodeipc.Query `json:"listens,omitempty"`
	Rest     []byte          `json:"rest,omitempty"` // the beginning of a message from a Node worker whose end was not read
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
	for _, k := range all {
		if !strings.HasPrefix(k.Name, keptWorkers) {
			continue
		}
		var r record
		if err := json.Unmarshal(k.Meta, &r); err != nil || len(k.FDs) < keptFDs {
			s.log.Error("a worker of a former run cannot be taken over, and is ended", "worker", k.Name, "err", err)
			_ = unix.Kill(-k.PID, unix.SIGKILL)
			closeFDs(k.FDs)
			_ = s.o.Keeper.Drop(k.Name)
			continue
		}
		s.starts.Store(max(s.starts.Load(), int64(r.Number)))
		runs = append(runs, r.Run)
		s.adopt(k, r)
	}
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
	p.Worker = Worker{ID: r.ID, App: r.Spec.App, Slot: r.Slot, Release: r.Spec.Release, Mode: r.Spec.Mode, Serves: r.Spec.Serves,
		Addr: r.Addr, PID: k.PID, Adopted: true}
	p.started, p.notes.record = r.Started, r
	p.output.read(sl.out, &p.output.out, os.NewFile(uintptr(k.FDs[0]), "out"))
	p.output.read(sl.err, &p.output.err, os.NewFile(uintptr(k.FDs[1]), "err"))
	p.notify = adoptNotifier(k.FDs[2])
	if len(k.FDs) > keptFDs {
		p.adoptChannel(k.FDs[keptFDs], r)
	}
	sl.take(p, r)
}

// adoptChannel goes on with a Node worker's channel: what the worker listens on is opened again.
func (p *process) adoptChannel(fd int, r record) {
	conn, err := nodeipc.Inherited(fd)
	if err != nil {
		p.sup.log.Error("the channel of a worker of a former run is lost", "worker", p.ID, "err", err)
		return
	}
	keys := make([]string, 0, len(r.Listens))
	for _, q := range r.Listens {
		keys = append(keys, q.Key)
	}
	// Beyond the numbers of every predecessor, and within what JavaScript counts exactly.
	seq := time.Now().Unix() << 20
	p.Channel = nodeipc.Adopt(conn, r.Rest, keys, seq, handler{p})
	for _, q := range r.Listens {
		p.place.router.Listen(p.Worker, q)
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
}
