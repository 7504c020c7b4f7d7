package store

import (
	"context"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"

	"meshnode/store/quorum"
)

func TestLeaderTasksFollowTheLeadership(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		var running, runs atomic.Int32
		task := func(ctx context.Context, s *Store) {
			if s.Status().State == "leader" && s.machine.State().ID == "" {
				t.Error("a task began before the cluster had its name")
			}
			if running.Add(1) != 1 {
				t.Error("two servers run a leader's task at once")
			}
			runs.Add(1)
			<-ctx.Done()
			running.Add(-1)
		}
		open := func(id, found string) *Store {
			o := c.options(id, found)
			o.LeaderTasks = []LeaderTask{task}
			return c.open(o)
		}
		open("s1", clusterID)
		c.leader()
		open("s2", "")
		if err := c.stores["s1"].AddServer(t.Context(), Server{ID: "s2", Addr: addrOf("s2"), Voter: true}); err != nil {
			t.Fatal(err)
		}
		c.settle()
		if running.Load() != 1 || runs.Load() != 1 {
			t.Fatalf("%d tasks run, %d started", running.Load(), runs.Load())
		}
		if err := c.stores["s1"].TransferLeadership(); err != nil {
			t.Fatal(err)
		}
		c.until("the task runs on the other server", func() bool {
			return c.stores["s2"].Status().State == "leader" && runs.Load() == 2
		})
		c.close("s2")
		if running.Load() != 0 {
			t.Errorf("%d tasks run after the leader closed", running.Load())
		}
	})
}

// TestQuorumLoop lets the loop build a cluster of seven, kills voters, and wipes a disk.
func TestQuorumLoop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		m := &memberList{members: map[string]quorum.Member{}}
		for _, id := range []string{"s1", "s2", "s3", "s4", "s5", "s6", "s7"} {
			c.openWithLoop(id, m)
		}
		c.until("five voters of seven servers", func() bool {
			voters, servers := c.count()
			return voters == 5 && servers == 7
		})
		c.put("web")
		c.settle()

		dead := ""
		for _, s := range c.leader().Servers() {
			if s.Voter && s.ID != c.leader().id {
				dead = s.ID
			}
		}
		m.set(dead, false)
		c.close(dead)
		c.until("the dead voter's vote has moved", func() bool {
			voters, servers := c.count()
			return voters == 5 && servers == 7 && !c.votes(dead)
		})

		leader := c.leader().id
		m.set(leader, false)
		c.close(leader)
		c.until("another leads and the dead leader's vote is kept: nobody waits for it", func() bool {
			voters, _ := c.count()
			return voters == 5 && c.votes(leader)
		})
		c.put("after")
		c.settle()
	})
}

// memberList is a gossip that knows everything at once.
type memberList struct {
	mu      sync.Mutex
	members map[string]quorum.Member
}

func (m *memberList) set(id string, alive bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.members[id] = quorum.Member{ID: id, Name: id, Addr: addrOf(id), Alive: alive, Since: time.Now()}
}

func (m *memberList) list() []quorum.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Collect(maps.Values(m.members))
}

func (c *cluster) openWithLoop(id string, m *memberList) {
	found := ""
	if len(c.stores) == 0 {
		found = clusterID
	}
	o := c.options(id, found)
	o.LeaderTasks = []LeaderTask{func(ctx context.Context, s *Store) {
		loop := &quorum.Loop{Raft: s, LeaderID: id, Members: m.list, Logger: hclog.NewNullLogger()}
		loop.Run(ctx)
	}}
	m.set(id, true)
	c.open(o)
}

func (c *cluster) count() (voters, servers int) {
	for _, s := range c.leader().Servers() {
		servers++
		if s.Voter {
			voters++
		}
	}
	return voters, servers
}

func (c *cluster) votes(id string) bool {
	for _, s := range c.leader().Servers() {
		if s.ID == id {
			return s.Voter
		}
	}
	return false
}
