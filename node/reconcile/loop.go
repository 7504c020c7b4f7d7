package reconcile

import (
	"context"
	"sync"
)

// Actuator is what the loop acts on.
type Actuator interface {
	// State returns both sides of the comparison as they are now. ok is false while the configuration is not known yet: then nothing is done.
	State() (want []Want, have []Have, ok bool)
	// Do begins a step and returns at once; its effect shows in a later State.
	Do(s Step)
}

// Loop plans and acts whenever it is poked.
type Loop struct {
	actuator Actuator
	pokes    []<-chan struct{}
}

// NewLoop returns a loop over a. It plans once at the start of Run and then at every poke.
func NewLoop(a Actuator, pokes ...<-chan struct{}) *Loop {
	return &Loop{actuator: a, pokes: pokes}
}

// Run reconciles until the context ends.
func (l *Loop) Run(ctx context.Context) {
	merged := make(chan struct{}, 1)
	var relays sync.WaitGroup
	defer relays.Wait()
	for _, p := range l.pokes {
		relays.Go(func() { relay(ctx, p, merged) })
	}
	for {
		if want, have, ok := l.actuator.State(); ok {
			for _, s := range Plan(want, have) {
				l.actuator.Do(s)
			}
		}
		select {
		case <-merged:
		case <-ctx.Done():
			return
		}
	}
}

// relay passes pokes on until the context ends; several may become one.
func relay(ctx context.Context, from <-chan struct{}, to chan<- struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case _, ok := <-from:
			if !ok {
				return
			}
			select {
			case to <- struct{}{}:
			default:
			}
		}
	}
}
