package supervisor

import (
	"cmp"
	"context"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"

	"meshnode/node/supervisor/keeper"
)

// Options are what a Supervisor needs.
type Options struct {
	Dir     string // Dir is where the workers' logs are kept, under "logs".
	Node    string // Node is this node's name.
	NodeID  string // NodeID marks this node's processes.
	Preload string // Preload is the path of the preload script for Node workers; "" = none.
	Keeper  *keeper.Client
	Router  Router
	OnExit  func(Exit) // OnExit is told of every end of a worker's process; it must not block. nil = nobody.
	Logger  hclog.Logger
	Metrics *metrics.Metrics // Metrics may be nil.
}

// Supervisor runs the workers of all apps on this node.
type Supervisor struct {
	o       Options
	log     hclog.Logger
	meter   meter
	hub     *hub
	wg      sync.WaitGroup
	hurry   chan struct{}
	frozen  chan struct{} // closed when all is handed over
	ending  chan struct{} // closed by Close
	hurried sync.Once
	changed chan struct{}
	minder  *minder
	starts  atomic.Int64 // processes ever started; numbers them

	mu     sync.Mutex // guards the below
	slots  map[string]map[int]*slot
	closed bool
}

// New returns a Supervisor with no workers. It needs Close, or HandOver.
func New(o Options) *Supervisor {
	s := &Supervisor{o: o, log: o.Logger.Named("supervisor"), meter: meter{o.Metrics}, hub: &hub{followers: make(map[*Follower]struct{})},
		hurry: make(chan struct{}), frozen: make(chan struct{}), ending: make(chan struct{}), changed: make(chan struct{}, 1), slots: make(map[string]map[int]*slot)}
	s.minder = newMinder(s)
	s.wg.Go(s.minder.run)
	return s
}

func (s *Supervisor) logDir() string { return filepath.Join(s.o.Dir, "logs") }

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
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Or(cmp.Compare(a.App, b.App), cmp.Compare(a.Slot, b.Slot)) })
	return out
}

// Follow passes on what the app's workers write from now on; "" follows all apps. The caller closes the follower.
func (s *Supervisor) Follow(app string) *Follower { return s.hub.follow(app) }

// LostLines is the number of output lines that were not stored or not passed to a follower (count).
func (s *Supervisor) LostLines() uint64 { return s.hub.lost.Load() }

// Hurry cuts short every drain and every wait for an orderly end: workers that are ending are killed now.
func (s *Supervisor) Hurry() { s.hurried.Do(func() { close(s.hurry) }) }

// Close drains and ends all workers, hurrying when the context ends, and returns when none is left. Nothing is started after it.
func (s *Supervisor) Close(ctx context.Context) {
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
