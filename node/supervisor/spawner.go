package supervisor

import (
	"errors"
	"sync"
	"time"
)

// ErrSpawnerClosed is returned for starts after Spawner.Close.
var ErrSpawnerClosed = errors.New("the node is ending: no more workers are started")

// Spawner runs forks on one thread. The kernel sends a child its parent-death signal when the thread that forked it ends or
// calls exec, so all workers are forked on the main thread, which lives as long as the process and keeps its identity over
// an exec of a new binary.
type Spawner struct {
	jobs   chan func()
	closed chan struct{}
	once   sync.Once
}

// NewSpawner returns a Spawner; nothing is started before Run.
func NewSpawner() *Spawner {
	return &Spawner{jobs: make(chan func()), closed: make(chan struct{})}
}

// Run carries out starts until Close. The caller has locked its goroutine to the process's main thread. Meanwhile the process adopts the
// orphans of its workers, and reaps them.
func (s *Spawner) Run() {
	adopt(true)
	defer adopt(false)
	t := time.NewTicker(reapEvery)
	defer t.Stop()
	var r reaper
	for {
		select {
		case job := <-s.jobs:
			job()
		case <-t.C:
			r.pass()
		case <-s.closed:
			return
		}
	}
}

// Close ends Run.
func (s *Spawner) Close() { s.once.Do(func() { close(s.closed) }) }

// do runs job on the spawner's thread and waits for it.
func (s *Spawner) do(job func() error) error {
	done := make(chan error, 1)
	select {
	case s.jobs <- func() { done <- job() }:
		return <-done
	case <-s.closed:
		return ErrSpawnerClosed
	}
}
