package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	cron "github.com/netresearch/go-cron"
)

// Times of looking after workers.
const (
	mindEvery     = time.Second            // a look at all workers
	listenEvery   = 50 * time.Millisecond  // a look at who says nothing
	heldUp        = 150 * time.Millisecond // one that comes this long after the last says nothing either: the node itself did not run
	lateAfter     = 2 * mindEvery          // a look that comes this long after the last one says nothing of hung workers: the node itself did not run
	stuckAfter    = 2 * time.Second        // a worker whose event loop is blocked this long gets no new connection
	takeUp        = 2 * mindEvery          // how long a slot may take to begin a replacement
	renewPatience = time.Minute            // how long after a replacement that failed the next one of the same worker is tried
	maxRenewals   = MaxSlots               // replacements that wait, of one app (count)
)

// MaxSlots is the largest number of slots of an app on a node.
const MaxSlots = 1024

// minder replaces workers that run but should not go on as they are: too large, stuck, ill, due by the clock, or out of date because a
// file changed. One worker of an app at a time, the successor first. The goroutine of run owns all but the rounds.
type minder struct {
	sup     *Supervisor
	looks   int
	last    time.Time
	late    bool                 // this look is
	heard   time.Time            // when it was last looked who says nothing
	turns   map[string]turn      // by app: the replacement under way
	due     map[string]schedule  // by app
	clock   time.Time            // what the clock showed at the last look at those
	rations map[*slot]ration     // of slots whose workers grew too large
	queue   map[string][]renewal // by app

	mu     sync.Mutex
	rounds map[string]round // by app
}

// minded is what the minder keeps of a worker.
type minded struct {
	tried time.Time // when a replacement of it began that failed
	grown time.Time // when it was first seen to be too large
}

// turn is a replacement under way.
type turn struct {
	worker string
	since  time.Time
}

// round is a replacement of all workers of an app that were started before it.
type round struct {
	since  time.Time
	reason string
	told   bool // slots without a worker were told to start one
}

// schedule is when the workers of an app are replaced next.
type schedule struct {
	text string
	cron cron.Schedule // nil where the text cannot be read
	next time.Time
}

func newMinder(s *Supervisor) *minder {
	return &minder{sup: s, turns: make(map[string]turn), due: make(map[string]schedule), rations: make(map[*slot]ration),
		queue: make(map[string][]renewal), rounds: make(map[string]round)}
}

// run looks after the workers until all is handed over or closed.
func (m *minder) run() {
	t, beat := time.NewTicker(mindEvery), time.NewTicker(listenEvery)
	defer t.Stop()
	defer beat.Stop()
	files := newFileWatch(m)
	defer files.close()
	for {
		select {
		case <-t.C:
			m.look(time.Now())
			files.follow(m.sup.running())
		case <-beat.C:
			m.listen(time.Now())
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
	m.late = !m.last.IsZero() && now.Sub(m.last) > lateAfter
	m.last = now
	m.sup.starved.look()
	all := m.sup.serving()
	for _, p := range all {
		m.lookAt(p, now)
	}
	m.recatch(all, now)
	m.byClock(now)
	m.goRound(all)
	m.advance(all, now)
	m.tidyRations()
}

// recatch has workers replaced that bind their ports by themselves, once another of the app has shown that it serves in mode port.
func (m *minder) recatch(all []*process, now time.Time) {
	for _, p := range all {
		if p.Channel == nil || p.asked.Load() || !slices.ContainsFunc(all, func(o *process) bool { return o.App == p.App && len(o.Uncaught) > 0 }) {
			continue
		}
		m.again(p, renewal{worker: p.ID, reason: "it listens by itself, and its app runs in mode port"}, now)
	}
}

func (m *minder) lookAt(p *process, now time.Time) {
	if m.looks%weighEvery == 0 {
		m.weigh(p, now)
	}
	ill := p.illness()
	if ill != "" && p.ailing() {
		m.again(p, renewal{worker: p.ID, reason: ill}, now)
	}
	if hang := p.spec.Health.Hang; p.Channel != nil && hang >= 0 && !m.late {
		silent := p.Channel.Silent()
		_ = p.Channel.Ping() // a channel that is full says as much as no answer
		if silent >= stuckAfter {
			ill = fmt.Sprintf("its event loop is blocked for %s", silent.Round(time.Second))
			if silent >= hang {
				m.again(p, renewal{worker: p.ID, reason: ill, abrupt: true}, now)
			}
		}
	}
	if !m.late {
		m.note(p, ill)
	}
}

// listen keeps workers out of the routing whose event loops are blocked at this moment; what waits for them goes to others. Where that are all
// of an app's, it is as likely that this server is held up, and nobody would be left: then none is kept out.
func (m *minder) listen(now time.Time) {
	late := !m.heard.IsZero() && now.Sub(m.heard) > heldUp
	m.heard = now
	if late {
		return
	}
	quiet, talks := make(map[*process]bool), make(map[string]bool)
	all := m.sup.serving()
	for _, p := range all {
		quiet[p] = p.Channel != nil && p.spec.Health.Hang >= 0 && p.Channel.Quiet() > 0
		talks[p.App] = talks[p.App] || !quiet[p]
	}
	for _, p := range all {
		p.hush(quiet[p] && talks[p.App])
	}
}

// stuck reports whether the worker's event loop is blocked.
func (p *process) stuck() bool { return p.Channel != nil && p.Channel.Silent() >= stuckAfter }

// note keeps an ill worker out of the routing, and lets a well one in.
func (m *minder) note(p *process, ill string) {
	if p.stepOut(ill != "") {
		if ill != "" {
			m.sup.log.Warn("worker gets no connections", "worker", p.ID, "reason", ill)
		} else {
			m.sup.log.Info("worker is well again, and gets connections", "worker", p.ID)
		}
	}
	if sl := m.sup.slot(p.App, p.Slot); sl != nil && sl.snapshot().Ill != ill {
		sl.publish(func(st *Status) {
			if st.Worker == p.ID {
				st.Ill = ill
			}
		})
	}
}

// again has a worker replaced for a reason that lasts, unless that failed a moment ago.
func (m *minder) again(p *process, r renewal, now time.Time) {
	if p.tried.IsZero() || now.Sub(p.tried) >= renewPatience {
		m.enqueue(p.App, r)
	}
}

// enqueue has a worker replaced when it is its turn.
func (m *minder) enqueue(app string, r renewal) {
	q := m.queue[app]
	i := slices.IndexFunc(q, func(o renewal) bool { return o.worker == r.worker })
	switch {
	case m.turns[app].worker == r.worker, i >= 0 && (q[i].abrupt || !r.abrupt):
		return
	case i >= 0:
		q = slices.Delete(q, i, i+1)
	case len(q) >= maxRenewals:
		m.sup.meter.count(metricDropped, 1)
		return
	}
	if r.abrupt { // it serves nobody
		m.queue[app] = slices.Insert(q, 0, r)
		return
	}
	m.queue[app] = append(q, r)
}

// byClock has the workers of every app replaced whose time has come. One that had ended by itself is started again.
func (m *minder) byClock(now time.Time) {
	shown := now.Round(0)
	setBack := shown.Before(m.clock)
	m.clock = shown
	running := m.sup.running()
	for app, spec := range running {
		text := spec.Restart.Cron
		if text == "" {
			continue
		}
		s, known := m.due[app]
		if !known || s.text != text {
			m.due[app] = newSchedule(text, now)
			continue
		}
		if s.step(now, setBack) {
			m.begin(app, "its time has come: "+text)
		}
		m.due[app] = s
	}
	for app := range m.due {
		if spec := running[app]; spec == nil || spec.Restart.Cron == "" {
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

// step reports whether the time has come, and reckons the next one. setBack: the clock was, so that what was next may be years away.
func (s *schedule) step(now time.Time, setBack bool) (due bool) {
	if s.cron == nil {
		return false
	}
	due = !now.Before(s.next)
	if due || setBack {
		s.next = s.cron.Next(now)
	}
	return due
}

// begin has every worker of an app replaced that runs now, one after the other, and slots without one start one. It runs on any goroutine.
func (m *minder) begin(app, reason string) {
	m.mu.Lock()
	m.rounds[app] = round{since: time.Now(), reason: reason}
	m.mu.Unlock()
}

// goRound puts those into the queue that a round still has to reach. It ends when all workers are younger, or could not be replaced.
func (m *minder) goRound(all []*process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for app, r := range m.rounds {
		if !r.told {
			r.told = true
			m.rounds[app] = r
			for _, sl := range m.sup.slotsOf(app) {
				sl.offer(command{renew: &renewal{reason: r.reason}})
			}
		}
		over := !m.sup.busy(app) && m.turns[app].worker == ""
		for _, p := range all {
			if p.App == app && p.started.Before(r.since) && !p.tried.After(r.since) {
				m.enqueue(app, renewal{worker: p.ID, reason: r.reason})
				over = false
			}
		}
		if over {
			delete(m.rounds, app)
		}
	}
}

// advance ends the turns that are over, and begins the next.
func (m *minder) advance(all []*process, now time.Time) {
	serving := make(map[string]*process, len(all))
	for _, p := range all {
		serving[p.ID] = p
	}
	for app, t := range m.turns {
		p := serving[t.worker]
		switch {
		case m.sup.busy(app), p != nil && now.Sub(t.since) < takeUp:
			continue
		case p != nil: // it could not be replaced
			p.tried = t.since // what came up meanwhile is a reason to try again
		}
		delete(m.turns, app)
	}
	for app, q := range m.queue {
		q = slices.DeleteFunc(q, func(r renewal) bool { return serving[r.worker] == nil })
		if _, under := m.turns[app]; !under && len(q) > 0 && !m.sup.busy(app) {
			r := q[0]
			q = q[1:]
			m.turns[app] = turn{r.worker, time.Now()} // later than every round that it serves
			if sl := m.sup.slot(app, serving[r.worker].Slot); sl != nil {
				sl.offer(command{renew: &r})
			}
		}
		if m.queue[app] = q; len(q) == 0 {
			delete(m.queue, app)
		}
	}
}

// serving are the workers that are ready and nobody has told to end.
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

// running is what the workers here are started with, by app; of several releases the newest.
func (s *Supervisor) running() map[string]*Spec {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make(map[string]*Spec, len(s.slots))
	for app, slots := range s.slots {
		for _, sl := range slots {
			if spec := sl.runs.Load(); spec != nil && (out[app] == nil || out[app].Release < spec.Release) {
				out[app] = spec
			}
		}
	}
	return out
}

func (s *Supervisor) slot(app string, index int) *slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.slots[app][index]
}

func (s *Supervisor) slotsOf(app string) []*slot {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*slot, 0, len(s.slots[app]))
	for _, sl := range s.slots[app] {
		out = append(out, sl)
	}
	return out
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
