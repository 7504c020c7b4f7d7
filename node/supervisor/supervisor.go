package supervisor

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"

	"meshnode/node/supervisor/keeper"
	"meshnode/node/supervisor/nodeipc"
	"meshnode/node/supervisor/output"
)

// Options are what a Supervisor needs.
type Options struct {
	Dir     string // Dir is where the workers' logs are kept, under "logs".
	Node    string // Node is this node's name.
	NodeID  string // NodeID marks this node's processes.
	Preload string // Preload is the path of the preload script for Node workers; "" = none.
	Keeper  *keeper.Client
	Cgroups bool // Cgroups gives each worker a control group of its own, where that can be.
	Router  Router
	OnLoad  func(Worker, nodeipc.Load) // OnLoad is told what Node.js workers report; it must not block. nil = nobody.
	OnExit  func(Exit)                 // OnExit is told of every end of a worker's process; it must not block. nil = nobody.
	Logger  hclog.Logger
	Metrics *metrics.Metrics // Metrics may be nil.
}

// Supervisor runs the workers of all apps on this node.
type Supervisor struct {
	o     Options
	log   hclog.Logger
	meter meter
	book  *output.Book
	wg    sync.WaitGroup
	ends
	changed  chan struct{}
	minder   *minder
	groups   *cgroups
	starved  *starvation
	uncaught uncaughtApps
	starts   atomic.Int64 // processes ever started; numbers them

	mu     sync.Mutex // guards the below
	slots  map[string]map[int]*slot
	closed bool
}

// ends are the ways in which a supervisor ends.
type ends struct {
	hurry   chan struct{} // closed when nothing is waited for any more
	frozen  chan struct{} // closed when all is handed over
	ending  chan struct{} // closed by Close
	hurried sync.Once
}

// New returns a Supervisor with no workers. It needs Close, or HandOver.
func New(o Options) *Supervisor {
	s := &Supervisor{o: o, log: o.Logger.Named("supervisor"), meter: meter{o.Metrics},
		book: output.Open(output.Options{Dir: filepath.Join(o.Dir, "logs"), Metrics: o.Metrics, Logger: o.Logger}),
		ends: ends{hurry: make(chan struct{}), frozen: make(chan struct{}), ending: make(chan struct{})}, changed: make(chan struct{}, 1), slots: make(map[string]map[int]*slot), starved: newStarvation()}
	if o.Cgroups {
		s.groups = openCgroups("/proc/self/mounts", "/proc/self/cgroup", os.Getppid())
	}
	s.minder = newMinder(s)
	s.wg.Go(s.minder.run)
	return s
}

// runDir is where processes below a worker find the node.
func (s *Supervisor) runDir() string { return filepath.Join(s.o.Dir, "run") }

// Changed is poked after every change of a slot's status; several changes may become one poke. It has one reader.
func (s *Supervisor) Changed() <-chan struct{} { return s.changed }

func (s *Supervisor) poke() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// Start has a worker run in the app's slot: started if the slot is empty, replaced in the given order if it is not. It returns at
// once; Status tells how it goes. It does nothing where the slot runs or awaits that release already, while the slot is being
// stopped (Changed is poked when it is empty), and after Close.
func (s *Supervisor) Start(index int, spec Spec, order Order) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	c := command{spec: spec, order: order}
	if sl := s.slots[spec.App][index]; sl != nil && sl.tell(c) {
		return
	}
	sl := newSlot(s, spec.App, index, spec.Release)
	if s.slots[spec.App] == nil {
		s.slots[spec.App] = make(map[int]*slot)
	}
	s.slots[spec.App][index] = sl
	sl.cmds <- c // there is room, and nobody else knows the slot
	s.wg.Go(func() {
		sl.run()
		s.remove(sl)
	})
}

// Stop drains and ends the worker in a slot, and empties the slot. It returns at once.
func (s *Supervisor) Stop(app string, index int) {
	s.mu.Lock()
	sl := s.slots[app][index]
	s.mu.Unlock()
	if sl != nil {
		sl.tell(command{stop: true})
	}
}

// remove forgets a slot that has ended.
func (s *Supervisor) remove(sl *slot) {
	s.mu.Lock()
	if s.slots[sl.app][sl.index] == sl {
		delete(s.slots[sl.app], sl.index)
		if len(s.slots[sl.app]) == 0 {
			delete(s.slots, sl.app)
		}
		s.bequeath(sl)
	}
	s.mu.Unlock()
	s.poke()
}

// Status returns a snapshot of all slots, by app and slot.
func (s *Supervisor) Status() []Status {
	s.mu.Lock()
	var all []*slot
	for _, m := range s.slots {
		for _, sl := range m {
			all = append(all, sl)
		}
	}
	s.mu.Unlock()
	out := make([]Status, len(all))
	for i, sl := range all {
		out[i] = sl.snapshot()
		if p := sl.serving.Load(); p != nil && p.Channel != nil {
			out[i].Busy.Share, out[i].Busy.Known = p.Channel.Busy()
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Slot, b.Slot)) })
	return out
}

// Hurry cuts short every drain and every wait for an orderly end: workers that are ending are killed now.
func (s *Supervisor) Hurry() { s.hurried.Do(func() { close(s.hurry) }) }

// Close drains and ends all workers, hurrying when the context ends, and returns when none is left. Nothing is started after it.
func (s *Supervisor) Close(ctx context.Context) {
	defer s.book.Close()
	s.mu.Lock()
	if !s.closed {
		close(s.ending)
	}
	s.closed = true
	s.mu.Unlock()
	for _, st := range s.Status() {
		s.Stop(st.App, st.Slot)
	}
	done := make(chan struct{})
	go func() { // ends with the last worker, which Hurry makes certain
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		s.Hurry()
		<-done
	}
}

// known reports whether the app has a slot here.
func (s *Supervisor) known(app string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots[app]) > 0
}
