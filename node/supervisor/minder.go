package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	cron "github.com/netresearch/go-cron"
)

// Times of looking after workers.
const (
	mindEvery     = time.Second     // a look at all workers
	weighEvery    = 5               // looks between two at their memory
	stuckAfter    = 2 * time.Second // a worker whose event loop is blocked this long gets no new connection
	renewPatience = time.Minute     // how long a replacement may keep others of the app waiting
	maxRenewals   = MaxSlots        // replacements that wait, of one app (count)
)

// MaxSlots is the largest number of slots of an app on a node.
const MaxSlots = 1024

// minder replaces workers that run but should not go on as they are: too large, stuck, ill, due by the clock, or out of date because a
// file changed. One worker of an app at a time, the successor first. The goroutine of run owns all but what the lock guards.
type minder struct {
	sup   *Supervisor
	looks int
	turns map[string]turn     // by app: the replacement under way
	due   map[string]schedule // by app

	mu    sync.Mutex
	queue map[string][]renewal // by app
}

// turn is a replacement under way.
type turn struct {
	worker string
	since  time.Time
}

// schedule is when the workers of an app are replaced next.
type schedule struct {
	text string
	cron cron.Schedule // nil where the text cannot be read
	next time.Time
}

func newMinder(s *Supervisor) *minder {
	return &minder{sup: s, turns: make(map[string]turn), due: make(map[string]schedule), queue: make(map[string][]renewal)}
}

// run looks after the workers until all is handed over or closed.
func (m *minder) run() {
	t := time.NewTicker(mindEvery)
	defer t.Stop()
	files := newFileWatch(m)
	defer files.close()
	for {
		select {
		case now := <-t.C:
			m.look(now)
			files.follow(m.sup.serving())
		case <-m.sup.frozen:
			return
		case <-m.sup.ending:
			return
		}
	}
}

// look is one look at all workers.
func (m *minder) look(now time.Time) {
	m.looks++
	all := m.sup.serving()
	for _, p := range all {
		m.lookAt(p)
	}
	m.recatch(all)
	m.byClock(all, now)
	m.advance(all, now)
}

// recatch has workers replaced that bind their ports by themselves, once another of the app has shown that it serves in mode port.
func (m *minder) recatch(all []*process) {
	for _, p := range all {
		if p.Channel == nil || p.asked.Load() || !slices.ContainsFunc(all, func(o *process) bool { return o.App == p.App && len(o.Uncaught) > 0 }) {
			continue
		}
		m.enqueue(p.App, renewal{worker: p.ID, reason: "it listens by itself, and its app runs in mode port"})
	}
}

func (m *minder) lookAt(p *process) {
	if limit := p.spec.Restart.MaxMemory; limit > 0 && m.looks%weighEvery == 0 {
		if used := treeMemory(p.PID); used > limit {
			m.enqueue(p.App, renewal{worker: p.ID, reason: fmt.Sprintf("it uses %s of memory, more than %s", megabytes(used), megabytes(limit))})
		}
	}
	ill := p.illness()
	if hang := p.spec.Health.Hang; p.Channel != nil && hang >= 0 {
		_ = p.Channel.Ping() // a channel that is full says as much as no answer
		if silent := p.Channel.Silent(); silent >= stuckAfter {
			ill = fmt.Sprintf("its event loop is blocked for %s", silent.Round(time.Second))
			if silent >= hang {
				m.enqueue(p.App, renewal{worker: p.ID, reason: ill, abrupt: true})
			}
		}
	}
	m.note(p, ill)
	if p.ailing() {
		m.enqueue(p.App, renewal{worker: p.ID, reason: ill})
	}
}

// note keeps an ill worker out of the routing, and lets a well one in.
func (m *minder) note(p *process, ill string) {
	p.stepOut(ill != "")
	if sl := m.sup.slot(p.App, p.Slot); sl != nil && sl.snapshot().Ill != ill {
		sl.publish(func(st *Status) {
			if st.Worker == p.ID {
				st.Ill = ill
			}
		})
	}
}

// enqueue has a worker replaced when it is its turn.
func (m *minder) enqueue(app string, r renewal) {
	m.mu.Lock()
	defer m.mu.Unlock()
	q := m.queue[app]
	if slices.ContainsFunc(q, func(o renewal) bool { return o.worker == r.worker }) || m.turns[app].worker == r.worker {
		return
	}
	if len(q) >= maxRenewals {
		m.sup.meter.count(metricDropped, 1)
		return
	}
	if r.abrupt { // it serves nobody
		m.queue[app] = slices.Insert(q, 0, r)
		return
	}
	m.queue[app] = append(q, r)
}

// byClock has the workers of every app replaced whose time has come.
func (m *minder) byClock(all []*process, now time.Time) {
	seen := make(map[string]bool)
	for _, p := range all {
		text := p.spec.Restart.Cron
		if seen[p.App] || text == "" {
			continue
		}
		seen[p.App] = true
		s, known := m.due[p.App]
		switch {
		case !known || s.text != text:
			m.due[p.App] = newSchedule(text, now)
		case s.cron != nil && !now.Before(s.next):
			s.next = s.cron.Next(now)
			m.due[p.App] = s
			m.all(all, p.App, "its time has come: "+text)
		}
	}
	for app := range m.due {
		if !seen[app] {
			delete(m.due, app)
		}
	}
}

func newSchedule(text string, now time.Time) schedule {
	parser := cron.MustNewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)
	c, err := parser.Parse(text)
	if err != nil {
		return schedule{text: text} // it was checked where it was given; another release may read more
	}
	return schedule{text: text, cron: c, next: c.Next(now)}
}

// all has every worker of an app replaced, one after the other.
func (m *minder) all(serving []*process, app, reason string) {
	for _, p := range serving {
		if p.App == app {
			m.enqueue(app, renewal{worker: p.ID, reason: reason})
		}
	}
}

// advance ends the turns that are over, and begins the next.
func (m *minder) advance(all []*process, now time.Time) {
	serves := make(map[string]bool, len(all))
	for _, p := range all {
		serves[p.ID] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for app, t := range m.turns {
		if !serves[t.worker] && !m.sup.busy(app) || now.Sub(t.since) > renewPatience {
			delete(m.turns, app)
		}
	}
	for app, q := range m.queue {
		q = slices.DeleteFunc(q, func(r renewal) bool { return !serves[r.worker] })
		if _, under := m.turns[app]; !under && len(q) > 0 && !m.sup.busy(app) {
			r := q[0]
			q = q[1:]
			m.turns[app] = turn{r.worker, now}
			m.sup.renew(r, all)
		}
		if m.queue[app] = q; len(q) == 0 {
			delete(m.queue, app)
		}
	}
}

// renew tells the slot of a worker to replace it.
func (s *Supervisor) renew(r renewal, all []*process) {
	i := slices.IndexFunc(all, func(p *process) bool { return p.ID == r.worker })
	if sl := s.slot(all[i].App, all[i].Slot); sl != nil {
		sl.offer(command{renew: &r})
	}
}

// serving are the workers that are ready and nobody has told to end, by app and slot.
func (s *Supervisor) serving() []*process {
	var out []*process
	s.mu.Lock()
	for _, slots := range s.slots {
		for _, sl := range slots {
			if p := sl.serving.Load(); p != nil {
				out = append(out, p)
			}
		}
	}
	s.mu.Unlock()
	slices.SortFunc(out, func(a, b *process) int { return strings.Compare(a.ID, b.ID) })
	return out
}

func (s *Supervisor) slot(app string, index int) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots[app][index]
}

// busy reports whether a worker of the app is being started or replaced.
func (s *Supervisor) busy(app string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sl := range s.slots[app] {
		if st := sl.snapshot(); st.Replacing != 0 || st.State == StateStarting {
			return true
		}
	}
	return false
}

func megabytes(b uint64) string { return fmt.Sprintf("%d MiB", b>>20) }

// treeMemory is the resident memory of a process with all its descendants, in bytes.
func treeMemory(pid int) uint64 {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	raw, err := os.ReadFile(filepath.Join(dir, "statm"))
	f := strings.Fields(string(raw))
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(f[1], 10, 64)
	sum := pages * uint64(os.Getpagesize())
	lists, _ := filepath.Glob(filepath.Join(dir, "task", "[0-9]*", "children"))
	for _, list := range lists {
		raw, _ := os.ReadFile(list) // a thread that has ended has none
		for _, child := range strings.Fields(string(raw)) {
			if n, err := strconv.Atoi(child); err == nil {
				sum += treeMemory(n)
			}
		}
	}
	return sum
}
