package store

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"meshnode/store/fsm"
)

// ship proposes a new release of web and returns its number.
func (c *cluster) ship() uint64 {
	c.t.Helper()
	put := &fsm.Put{App: app("web"), PrevModified: fsm.Any, NewRelease: true, Serves: true, Time: 1000}
	return c.must(fsm.Command{Put: put}).App.Release
}

// must applies on the present leader.
func (c *cluster) must(command fsm.Command) fsm.Result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result, err := c.leader().Apply(ctx, command)
	if err != nil {
		c.t.Fatal(err)
	}
	return result
}

// A rollout goes on under the next leader from where it was, and all servers agree on what is kept, also one that restarts from a snapshot.
func TestRolloutOverAChangeOfLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.ship()
		release := c.ship()
		c.must(fsm.Command{Advance: &fsm.Advance{App: "web", Release: release, Nodes: []string{"h1"}}})
		old := c.leader()
		if err := old.TransferLeadership(); err != nil {
			t.Fatal(err)
		}
		c.until("another leads", func() bool { return c.leader() != old })
		c.settle()
		state := c.leader().State()
		for node, want := range map[string]uint64{"h1": release, "h2": release - 1} {
			if got, ok := state.For(state.Apps["web"], node); !ok || got.Release != want {
				t.Errorf("%s runs release %d, want %d", node, got.Release, want)
			}
		}
		c.must(fsm.Command{Advance: &fsm.Advance{App: "web", Release: release, Nodes: []string{"h2"}}})
		c.must(fsm.Command{Refuse: &fsm.Refuse{App: "web", Release: release, Why: "exit code 1", Node: "h2"}})
		if next := c.ship(); next != release+1 {
			t.Errorf("the release after the refused %d is %d", release, next)
		}
		c.settle()
		if err := c.stores["s3"].raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		c.close("s3")
		c.open(c.options("s3", ""))
		c.settle()
		if past, ok := c.stores["s3"].State().Past("web", release); !ok || past.Refused != "exit code 1" {
			t.Errorf("after the restart: %+v", past)
		}
	})
}
