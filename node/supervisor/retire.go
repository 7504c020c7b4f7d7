package supervisor

import (
	"context"
	"errors"
	"strings"
	"time"
)

// retire ends a worker without losing a connection: it leaves the routing first, then its connections finish, then it is told to end,
// and what is left at the deadline is killed. It returns at once; the process's end arrives as an event.
func (s *slot) retire(p *process) {
	if p.retiring {
		return
	}
	p.retiring = true
	s.serving.CompareAndSwap(p, nil)
	p.note(func(r *record) { r.Retiring = true })
	served := p.ready // also one that has left the routing by itself may have connections
	s.sup.wg.Go(func() { s.sup.retire(s, p, served) })
}

func (s *Supervisor) retire(sl *slot, p *process, served bool) {
	if p.unroute(); served && !p.abrupt {
		sl.retireState(p, StateDraining)
		s.drain(p)
	}
	select {
	case <-p.done:
		return
	case <-s.frozen:
		return
	default:
	}
	sl.retireState(p, StateStopping)
	if !s.ended(p) {
		sl.log.Warn("worker did not end in time, killed", "dur", p.spec.Times.Kill)
		s.meter.count(metricKilled, 1)
	}
	select {
	case <-s.frozen:
	default:
		p.kill()
	}
}

// abruptLimit is how long a worker that is stuck may take to end.
const abruptLimit = time.Second

// letGoAfter is when a Node worker that was told to end is disconnected. Its channel keeps it alive after its servers are closed, so somebody
// must let go of it; but not at once, or the worker would end before its own handler of the signal ran.
const letGoAfter = 250 * time.Millisecond

// ended tells the worker to end, and reports whether it did so in time. It does not wait where the node must hurry.
func (s *Supervisor) ended(p *process) bool {
	if !p.record().Asked { // a former run of the node may have done it: many programs take a second signal for a hurry
		p.ask()
	}
	var letGo <-chan time.Time
	if p.Channel != nil {
		t := time.NewTimer(letGoAfter)
		defer t.Stop()
		letGo = t.C
	}
	limit := p.spec.Times.Kill
	if p.abrupt {
		limit = min(limit, abruptLimit)
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		select {
		case <-p.done:
			return true
		case <-letGo:
			_ = p.Channel.Disconnect() // it may be gone
		case <-t.C:
			return false
		case <-s.hurry:
			return true
		case <-s.frozen:
			return true
		}
	}
}

// retireState shows what happens to the slot's worker, unless a successor serves in its place already.
func (s *slot) retireState(p *process, state State) {
	s.publish(func(st *Status) {
		if st.Worker == p.ID {
			st.State = state
		}
	})
}

// drain waits until the worker's connections are done, its process has ended, the deadline has passed or the node must hurry.
func (s *Supervisor) drain(p *process) {
	if p.Channel != nil {
		_ = p.Channel.Drain()
	}
	ctx, cancel := context.WithTimeout(context.Background(), p.spec.Times.Drain)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	s.wg.Go(func() {
		select {
		case <-p.done:
			cancel()
		case <-s.hurry:
			cancel()
		case <-s.frozen:
			cancel()
		case <-stop:
		}
	})
	if err := s.o.Router.Drained(ctx, p.Worker); err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		s.meter.count(metricDrainExpired, 1)
	}
}

// awaited says what a worker that is not ready should have done.
func (p *process) awaited() string {
	switch {
	case p.isUp():
		return "its health check does not pass: " + p.lastFailure()
	case p.spec.WaitReady && p.Mode == ModeCluster:
		return "it did not call process.send('ready')"
	case p.spec.WaitReady:
		return "it did not send READY=1 to NOTIFY_SOCKET"
	case p.Mode == ModeSocket:
		return "it does not accept connections on the socket that it inherits (" + p.Addr + ")"
	case p.Mode == ModeCluster && len(p.ownAddrs()) > 0:
		return "it listens by itself on " + strings.Join(p.ownAddrs(), ", ") + " (run it in mode port)"
	case p.Mode == ModeCluster:
		return "it did not listen on any port (an app that serves nobody runs in mode port)"
	default:
		return "it does not accept connections on the port in PORT (" + p.Addr + ")"
	}
}
