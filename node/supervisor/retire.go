package supervisor

import (
	"context"
	"syscall"
	"time"
)

// retire ends a worker without losing a connection: it leaves the routing first, then its connections finish, then it is told to end,
// and what is left at the deadline is killed. It returns at once; the process's end arrives as an event.
func (s *slot) retire(p *process) {
	if p.retiring {
		return
	}
	p.retiring = true
	s.sup.wg.Go(func() { s.sup.retire(s, p) })
}

func (s *Supervisor) retire(sl *slot, p *process) {
	if p.routed.CompareAndSwap(true, false) {
		s.o.Router.Unroute(p.Worker)
		sl.retireState(p, StateDraining)
		s.drain(p)
	}
	sl.retireState(p, StateStopping)
	if p.Channel != nil {
		// A Node worker's channel keeps it alive after its servers are closed; disconnecting lets go of it.
		_ = p.Channel.Disconnect()
	}
	_ = syscall.Kill(p.cmd.Process.Pid, syscall.SIGTERM)
	t := time.NewTimer(p.spec.KillTimeout)
	defer t.Stop()
	select {
	case <-p.done:
		return
	case <-t.C:
		sl.log.Warn("worker did not end in time, killed", "dur", p.spec.KillTimeout)
	case <-s.hurry:
	}
	p.kill()
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
	ctx, cancel := context.WithTimeout(context.Background(), p.spec.DrainTimeout)
	defer cancel()
	stop := make(chan struct{})
	defer close(stop)
	s.wg.Go(func() {
		select {
		case <-p.done:
			cancel()
		case <-s.hurry:
			cancel()
		case <-stop:
		}
	})
	if err := s.o.Router.Drained(ctx, p.Worker); err != nil {
		s.count("drain_expired", 1)
	}
}

// kill ends the whole process group at once.
func (p *process) kill() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) }

// awaited says what a worker that is not ready should have done.
func (p *process) awaited() string {
	switch {
	case p.spec.WaitReady && p.Mode == ModeCluster:
		return "it did not call process.send('ready')"
	case p.spec.WaitReady:
		return "it did not send READY=1 to NOTIFY_SOCKET"
	case p.Mode == ModeCluster:
		return "it did not listen on any port"
	default:
		return "it does not accept connections on the port in PORT (" + p.Addr + ")"
	}
}
