package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"meshnode/store/fsm"
)

const (
	// barrierTimeout is how long a new leader waits for raft to take its barrier.
	barrierTimeout = 5 * time.Second
	// foundRetry is the pause between attempts to name a new cluster.
	foundRetry = time.Second
)

// LeaderTask is something only the leader does. It starts when this server leads and has applied everything committed
// before, and must return soon after its context ends, which is when the leadership is lost or the store closes.
type LeaderTask func(ctx context.Context, s *Store)

// leadership follows raft's notifications and runs the leader's tasks. The goroutine of run owns every field.
type leadership struct {
	store  *Store
	tasks  []LeaderTask
	notify chan bool
	stop   chan struct{} // closed: end the tasks, take no new turn
	idle   chan struct{} // closed by run: no task is running, none will
	quit   chan struct{} // closed: raft is down, stop draining
	done   chan struct{} // closed by run
}

func newLeadership(s *Store, tasks []LeaderTask) *leadership {
	return &leadership{
		store: s, tasks: tasks, notify: make(chan bool, 8),
		stop: make(chan struct{}), idle: make(chan struct{}), quit: make(chan struct{}), done: make(chan struct{}),
	}
}

// run always takes what raft notifies, because raft waits for it. Turns of leadership follow each other: one starts when
// the one before has ended.
func (l *leadership) run() {
	defer close(l.done)
	cancel := func() {}
	previous := make(chan struct{})
	close(previous)
	stop := l.stop
	for {
		select {
		case leads := <-l.notify:
			cancel()
			l.report(leads)
			if !leads || stop == nil {
				continue
			}
			var ctx context.Context
			ctx, cancel = context.WithCancel(context.Background())
			ended := make(chan struct{})
			go l.turn(ctx, previous, ended)
			previous = ended
		case <-stop:
			cancel()
			stop = nil
			go func(last <-chan struct{}) {
				<-last
				close(l.idle)
			}(previous)
		case <-l.quit:
			cancel()
			return
		}
	}
}

func (l *leadership) report(leads bool) {
	v := float32(0)
	if leads {
		v = 1
	}
	l.store.meter.gauge(metricLeader, v)
}

// turn is one time of being the leader.
func (l *leadership) turn(ctx context.Context, previous <-chan struct{}, ended chan<- struct{}) {
	defer close(ended)
	<-previous
	if ctx.Err() != nil {
		return
	}
	s := l.store
	if err := s.raft.Barrier(barrierTimeout).Error(); err != nil {
		s.logger.Warn("lost the leadership before taking it up", "err", err)
		return
	}
	if err := s.machine.Fault(); err != nil {
		s.logger.Error("this node must not lead, handing over", "err", err)
		if err := s.TransferLeadership(); err != nil {
			s.logger.Error("cannot hand over the leadership", "err", err)
		}
		return
	}
	s.logger.Info("leading the cluster")
	defer s.logger.Info("not leading any more")
	l.found(ctx)
	var wg sync.WaitGroup
	for _, task := range l.tasks {
		wg.Go(func() { task(ctx, s) })
	}
	wg.Wait()
}

// found names the cluster if this server was told to found one and that has not been done.
func (l *leadership) found(ctx context.Context) {
	s := l.store
	id := s.log.Cluster()
	for id != "" && s.machine.State().ID == "" && ctx.Err() == nil {
		_, err := s.Apply(ctx, fsm.Command{Found: &fsm.Found{ClusterID: id}})
		if err == nil || errors.Is(err, fsm.ErrConflict) {
			return
		}
		s.logger.Warn("cannot name the new cluster, trying again", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(foundRetry):
		}
	}
}
