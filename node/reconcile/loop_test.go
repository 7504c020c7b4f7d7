package reconcile

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// node is an Actuator whose workers are up at once.
type node struct {
	mu    sync.Mutex
	known bool
	want  []Want
	have  []Have
	done  []Step
}

func (n *node) State() ([]Want, []Have, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.want), slices.Clone(n.have), n.known
}

func (n *node) Do(s Step) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done = append(n.done, s)
	n.have = apply(n.want, n.have, []Step{s})
}

func (n *node) set(known bool, want ...Want) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.known, n.want = known, want
}

func (n *node) took() []Step {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := n.done
	n.done = nil
	return d
}

func TestLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &node{}
		config, slots := make(chan struct{}, 1), make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(t.Context())
		var ended sync.WaitGroup
		n.set(false, Want{App: "a", Workers: 1, Release: 1})
		ended.Go(func() { NewLoop(n, config, slots).Run(ctx) })
		round := func(poke chan struct{}, want ...Step) {
			t.Helper()
			if poke != nil {
				poke <- struct{}{}
			}
			synctest.Wait()
			if got := n.took(); !slices.Equal(got, want) {
				t.Errorf("steps %v, want %v", got, want)
			}
		}
		round(nil) // the configuration is not known: what runs is left alone
		n.set(true, Want{App: "a", Workers: 1, Release: 1})
		round(config, Step{Start, "a", 0})
		round(slots) // nothing to do any more
		n.set(true, Want{App: "a", Workers: 1, Release: 2})
		round(config, Step{Replace, "a", 0})
		close(config) // that side has ended; the other goes on
		n.set(true)
		round(slots, Step{Stop, "a", 0})
		cancel()
		ended.Wait()
	})
}
