package supervisor

import (
	"fmt"
	"slices"
	"time"
)

// What the ends and the readiness of its processes mean to a slot. All of it runs in the slot's goroutine.

func (s *slot) onReady(p *process) {
	if p.retiring || p != s.procs.cur && p != s.procs.next {
		return // its end is on the way, if it is not here already
	}
	s.procs.deadline.Stop()
	proof := p.spec.Times.Watch
	if p == s.procs.next && proof > 0 && s.procs.renewing == nil && s.procs.cur != nil {
		s.prove(p) // the old worker serves on: a new one that dies again has no client yet
		return
	}
	if !p.route() {
		return // it has ended
	}
	unproven := proof > 0 && p.Release != s.proven
	s.promote(p, unproven)
	if unproven {
		s.prove(p)
	}
}

// prove has a worker that is ready stay up as long as it has to.
func (s *slot) prove(p *process) {
	s.procs.proving = p
	s.procs.watch.Reset(p.spec.Times.Watch)
}

// unprove ends that, and reports whether the worker had not stayed up long enough.
func (s *slot) unprove(p *process) bool {
	if s.procs.proving != p {
		return false
	}
	s.procs.proving = nil
	return s.procs.watch.Stop()
}

// proveAgain goes on with a worker that had not proved itself when its successor came, of which nothing became.
func (s *slot) proveAgain() {
	if p := s.procs.cur; p != nil && p.ready && !p.retiring && s.procs.proving == nil && s.snapshot().Unproven {
		s.prove(p)
	}
}

// onProven takes in that a worker has stayed up, ready, as long as it had to.
func (s *slot) onProven() {
	p := s.procs.proving
	s.procs.proving = nil
	switch {
	case p == nil:
		return
	case p == s.procs.next && p.route():
		s.proven = p.Release
		s.promote(p, false)
	case p == s.procs.cur:
		s.proven = p.Release
		s.publish(func(st *Status) { st.Unproven = false })
	}
}

// promote has a worker that is in the routing be the slot's own; the one before it goes.
func (s *slot) promote(p *process, unproven bool) {
	p.ready = true
	s.runs.Store(&p.spec)
	s.serving.Store(p)
	p.note(func(r *record) { r.Ready = true })
	renewed := s.procs.renewing
	if renewed != nil {
		s.sup.meter.count(metricRenewals, 1)
	}
	if p == s.procs.next {
		old := s.procs.cur
		s.procs.cur, s.procs.next, s.procs.spec, s.procs.renewing = p, nil, p.spec, nil
		if old != nil {
			old.abrupt = renewed != nil && renewed.abrupt && old.stuck()
			s.retire(old)
		}
	}
	s.log.Info("worker is ready", "release", p.Release)
	s.publish(func(st *Status) {
		st.State, st.PID, st.Worker, st.Mode = StateReady, p.PID, p.ID, p.Mode
		st.Release, st.Replacing, st.StartedAt, st.Ill, st.Done, st.Unproven = p.Release, 0, p.started, "", false, unproven
		if renewed != nil {
			st.Restarts++
		}
		if p.Release >= st.Refused { // an older worker that was started again does not mend the refused release
			st.Refused, st.Error, st.Tail = 0, "", nil
		}
	})
	if restarts := s.snapshot().Restarts; renewed != nil {
		p.note(func(r *record) { r.Restarts = restarts })
	}
}

func (s *slot) onExit(p *process) {
	s.procs.live--
	s.serving.CompareAndSwap(p, nil)
	s.publish(func(st *Status) { st.LastExit = p.end.String() })
	if s.sup.o.OnExit != nil {
		s.sup.o.OnExit(p.lastWord())
	}
	switch {
	case p == s.procs.next:
		s.nextEnded(p)
	case p != s.procs.cur: // a retired predecessor
	case s.procs.stopping:
		s.procs.cur = nil
	case s.procs.pending != nil:
		spec := *s.procs.pending
		s.procs.pending, s.procs.cur, s.back = nil, nil, backoff{}
		s.begin(spec)
	case s.procs.next != nil:
		s.procs.cur = nil
		s.unprove(p)
		if s.procs.over = nil; p.stays() {
			s.procs.over = p
		}
		s.standIn(s.procs.next)
	default:
		s.procs.cur = nil
		s.procs.deadline.Stop()
		s.curEnded(p)
	}
}

// standIn has the successor of a worker that has died go on alone. One that is ready serves at once: its while goes on, but not without clients.
func (s *slot) standIn(next *process) {
	if s.procs.proving == next && next.route() {
		s.promote(next, true)
		return
	}
	s.publish(func(st *Status) {
		st.State, st.PID, st.Worker, st.StartedAt = StateStarting, next.PID, next.ID, next.started
	})
}

// nextEnded refuses the release of a successor that has ended, unless it was to be the same as its predecessor's.
func (s *slot) nextEnded(p *process) {
	s.procs.next = nil
	s.procs.deadline.Stop()
	if s.collided(p) {
		s.unprove(p)
		s.again(p.spec)
		return
	}
	what := p.end.String() + " before it was ready"
	if s.unprove(p) {
		what = fmt.Sprintf("%s, %s after its start", p.end, time.Since(p.started).Round(10*time.Millisecond))
	}
	if why := s.procs.renewing; why != nil {
		s.procs.renewing = nil
		s.log.Warn("worker cannot be replaced", "reason", why.reason, "err", what)
		s.publish(func(st *Status) {
			st.Replacing, st.Error, st.Tail = 0, why.reason+", and its successor "+what, p.tail()
		})
	} else {
		s.refuse(p.Release, what, p.tail())
	}
	switch {
	case s.procs.cur != nil:
		s.proveAgain()
	case s.procs.over != nil:
		s.rest(s.procs.over)
	default: // the old worker died meanwhile; its release is the one that is known to work
		s.restart()
	}
}

// curEnded decides what follows the end of the slot's only worker, which nobody asked to end.
func (s *slot) curEnded(p *process) {
	unproven := s.unprove(p)
	if s.collided(p) {
		s.begin(p.spec)
		return
	}
	if p.stays() {
		s.rest(p)
		return
	}
	uptime, what := time.Since(p.started), p.end.String()
	if !p.ready { // a failed start, however long it took
		uptime, what = 0, what+" before it was ready"
	}
	s.failed(uptime, what, p.tail())
	if unproven {
		s.publish(func(st *Status) { st.Unproven = false })
	}
}

// stays reports whether a worker that ended by itself is not to be started again.
func (p *process) stays() bool {
	r := p.spec.Restart
	return r.Off || p.end.code() >= 0 && slices.Contains(r.StopExitCodes, p.end.code())
}

// rest leaves the slot without a worker, as the one that ended wants it.
func (s *slot) rest(p *process) {
	s.log.Info("worker ended, and stays so", "reason", p.end.String())
	s.publish(func(st *Status) {
		st.State, st.PID, st.Worker, st.Release = StateStopped, 0, p.ID, p.Release
		st.Replacing, st.Done, st.Unproven = 0, true, false
		if p.end.code() != 0 && st.Refused == 0 {
			st.Error, st.Tail = p.end.String(), p.tail()
		}
	})
}

// renew starts a successor of the same release, if the worker that is meant still serves.
func (s *slot) renew(why *renewal) {
	cur := s.procs.cur
	if why.worker == "" {
		s.revive(why)
		return
	}
	if cur == nil || !cur.ready || cur.retiring || cur.ID != why.worker || s.procs.next != nil || s.procs.pending != nil {
		return
	}
	s.log.Info("worker is being replaced", "worker", cur.ID, "reason", why.reason)
	if s.procs.spec.Restart.Alone {
		spec := s.procs.spec
		s.procs.pending = &spec
		cur.abrupt = why.abrupt && cur.stuck()
		s.sup.meter.count(metricRenewals, 1)
		s.publish(func(st *Status) {
			st.Replacing = spec.Release
			st.Restarts++
		})
		s.retire(cur)
		return
	}
	s.procs.renewing = why
	s.succeed(s.procs.spec)
}

// revive starts a worker that was given up, that waits for its next start, or that ended by itself.
func (s *slot) revive(why *renewal) {
	if !s.procs.begun || s.procs.cur != nil || s.procs.next != nil || s.procs.pending != nil {
		return
	}
	s.log.Info("worker is started again", "reason", why.reason)
	s.back = backoff{}
	s.publish(func(st *Status) { st.Done = false })
	s.restart()
}
