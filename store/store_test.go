package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"meshnode/store/fsm"
	"meshnode/store/raftlog"
	"meshnode/store/spec"
)

func TestFoundAndApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		s := c.open(c.options("s1", clusterID))
		if has, err := HasState(c.dir("s1")); err != nil || !has {
			t.Fatalf("HasState after founding = %v, %v", has, err)
		}
		c.leader()
		result := c.put("web")
		if result.App.Release != 1 || result.App.Mode != spec.ModeAuto || result.App.Timeouts.Drain != spec.DefaultDrainSeconds {
			t.Fatalf("stored app = %+v", result.App)
		}
		st := s.Status()
		if st.State != "leader" || !st.Quorum || st.LeaderID != "s1" || st.LeaderAddr != addrOf("s1") || st.LastContact != 0 {
			t.Errorf("status = %+v", st)
		}
		if st.AppliedIndex != result.Index || s.State().ID != clusterID || st.Fault != nil {
			t.Errorf("status = %+v, state %+v", st, s.State())
		}
		if !s.IsServer("s1") || s.IsServer("s2") {
			t.Error("IsServer is wrong")
		}
	})
}

func TestApplyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 1)
		s := c.leader()
		c.put("web")
		_, err := s.Apply(t.Context(), fsm.Command{Put: &fsm.Put{App: app("web")}})
		if !errors.Is(err, fsm.ErrExists) {
			t.Errorf("put of an existing app: %v", err)
		}
		result, err := s.Apply(t.Context(), fsm.Command{Delete: &fsm.Delete{Name: "nope"}})
		if !errors.Is(err, fsm.ErrNotFound) || result.Index != s.State().Index {
			t.Errorf("delete of a missing app: %v at %d", err, result.Index)
		}
		bad := fsm.Command{Put: &fsm.Put{App: spec.App{Name: "all", Dir: "relative"}}}
		if _, err := s.Apply(t.Context(), bad); !errors.Is(err, fsm.ErrInvalid) {
			t.Errorf("put of an invalid app: %v", err)
		}
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Apply(gone, putApp("late")); !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
			t.Errorf("apply after the context ended: %v", err)
		}
	})
}

func TestNotLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		leader := c.leader()
		for id, s := range c.stores {
			if s == leader {
				continue
			}
			_, err := s.Apply(t.Context(), putApp("web"))
			var not *NotLeaderError
			if !errors.As(err, &not) || not.ID != leader.id || not.Addr != addrOf(leader.id) {
				t.Errorf("apply on %s: %v", id, err)
			}
			if err := s.RemoveServer(t.Context(), leader.id); !errors.As(err, &not) {
				t.Errorf("remove on %s: %v", id, err)
			}
			if err := s.TransferLeadership(); !errors.As(err, &not) {
				t.Errorf("transfer on %s: %v", id, err)
			}
			if st := s.Status(); !st.Quorum || st.LeaderID != leader.id || st.LastContact < 0 {
				t.Errorf("status of %s: %+v", id, st)
			}
		}
		if err := leader.RemoveServer(t.Context(), leader.id); err == nil {
			t.Error("the leader removed itself")
		}
	})
}

func TestFailover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.put("before")
		old := c.leader()
		start := time.Now()
		c.close(old.id)
		next := c.leader()
		if took := time.Since(start); took > 10*time.Second {
			t.Errorf("a new leader took %s", took)
		}
		if next == old {
			t.Fatal("no new leader")
		}
		result := c.put("after")
		for id, s := range c.stores {
			if err := s.WaitIndex(t.Context(), result.Index); err != nil {
				t.Errorf("%s: %v", id, err)
			}
			if len(s.State().Apps) != 2 {
				t.Errorf("%s has %d apps", id, len(s.State().Apps))
			}
		}
		c.open(c.options(old.id, ""))
		c.settle()
	})
}

func TestNoQuorum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.put("web")
		c.settle()
		left := c.leader()
		for id := range c.stores {
			if id != left.id {
				c.net.isolate(addrOf(id))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if _, err := left.Apply(ctx, putApp("lost")); !errors.Is(err, ErrTimeout) || ctx.Err() != nil {
			t.Errorf("apply while the lease still held: %v", err)
		}
		start := time.Now()
		_, err := left.Apply(ctx, putApp("refused"))
		if !errors.Is(err, ErrNoLeader) || !strings.Contains(err.Error(), "2 of 3") || time.Since(start) > time.Second {
			t.Errorf("apply without quorum after %s: %v", time.Since(start), err)
		}
		if st := left.Status(); st.Quorum || st.State == "leader" {
			t.Errorf("status without quorum: %+v", st)
		}
		if _, ok := left.State().Apps["web"]; !ok {
			t.Error("the configuration is gone without quorum")
		}
		for id := range c.stores {
			c.net.heal(addrOf(id))
		}
		c.put("again")
		c.settle()
	})
}

func TestPartitionedLeaderStepsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		old := c.leader()
		c.net.isolate(addrOf(old.id))
		c.until("a second leader, and the old one resigned", func() bool {
			leaders := 0
			for id, s := range c.stores {
				if id != old.id && s.Status().State == "leader" {
					leaders++
				}
			}
			return leaders == 1 && old.Status().State != "leader"
		})
		result := c.put("new-side")
		term := c.leader().Status().Term
		c.net.heal(addrOf(old.id))
		if err := old.WaitIndex(t.Context(), result.Index); err != nil {
			t.Fatal(err)
		}
		c.settle()
		if now := c.leader().Status().Term; now != term {
			t.Errorf("the healed server disturbed the leader: term %d became %d", term, now)
		}
	})
}

func TestWatchSeesTheLatest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 2)
		follower := c.stores["s2"]
		ctx, cancel := context.WithCancel(t.Context())
		watch := follower.Watch(ctx)
		if first := <-watch; first.ID != clusterID {
			t.Errorf("first value = %+v", first)
		}
		var last fsm.Result
		for _, name := range []string{"a", "b", "c", "d"} {
			last = c.put(name)
		}
		if err := follower.WaitIndex(t.Context(), last.Index); err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the wait may have been told before the watch
		if got := <-watch; got.Index != last.Index || len(got.Apps) != 4 {
			t.Errorf("watch has index %d, want %d", got.Index, last.Index)
		}
		cancel()
		synctest.Wait()
		if _, open := <-watch; open {
			t.Error("the channel is open after its context ended")
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := follower.WaitIndex(short, last.Index+100); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("waiting for an index that never comes: %v", err)
		}
	})
}

func TestRestartKeepsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 1)
		c.put("web")
		before := c.stores["s1"].Status()
		c.close("s1")
		s := c.open(c.options("s1", "another"))
		if got := s.Status(); got.AppliedIndex != before.AppliedIndex || got.Hash != before.Hash {
			t.Errorf("right after the start: index %d hash %s, want %d %s", got.AppliedIndex, got.Hash, before.AppliedIndex, before.Hash)
		}
		c.leader()
		if s.State().ID != clusterID {
			t.Errorf("cluster is %q after a restart that asked for another", s.State().ID)
		}
		c.put("more")
		if s.machine.State().Hash() != s.State().Hash() {
			t.Error("what was published is not what the machine has")
		}
	})
}

func TestStartWithoutQuorumServesLastConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.put("web")
		c.settle()
		want := c.leader().Status()
		for _, id := range []string{"s1", "s2", "s3"} {
			c.close(id)
		}
		s := c.open(c.options("s2", ""))
		got := s.Status()
		if got.AppliedIndex != want.AppliedIndex || got.Hash != want.Hash || got.Quorum {
			t.Errorf("alone: %+v, want index %d", got, want.AppliedIndex)
		}
		// Its raft has applied nothing yet; what it publishes on its way there must not go backwards.
		watch := s.Watch(t.Context())
		<-watch
		c.open(c.options("s1", ""))
		c.leader()
		c.put("more")
		if c := <-watch; c.Index < want.AppliedIndex {
			t.Errorf("the index fell from %d to %d", want.AppliedIndex, c.Index)
		}
		c.settle()
	})
}

func TestDamagedKeptConfigurationIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 1)
		c.put("web")
		c.close("s1")
		flip(t, filepath.Join(c.dir("s1"), raftlog.ConfigurationFile))
		s := c.open(c.options("s1", ""))
		c.leader()
		c.until("the log brought it back", func() bool { return len(s.State().Apps) == 1 })
	})
}

func TestSnapshotBringsAFollowerUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 2)
		leader := c.leader()
		rc := leader.raft.ReloadableConfig()
		rc.TrailingLogs = 1
		if err := leader.raft.ReloadConfig(rc); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			c.put(name)
		}
		if err := leader.raft.Snapshot().Error(); err != nil {
			t.Fatal(err)
		}
		first, err := leader.log.FirstIndex()
		if err != nil || first < 5 {
			t.Fatalf("the log was not compacted: begins at %d, %v", first, err)
		}
		s := c.open(c.options("s9", ""))
		if err := leader.AddServer(t.Context(), Server{ID: "s9", Addr: addrOf("s9")}); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitIndex(t.Context(), leader.State().Index); err != nil {
			t.Fatal(err)
		}
		c.settle()
		c.close("s9")
		c.open(c.options("s9", ""))
		c.put("f")
		c.settle()
	})
}

func TestLostLogIsNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 1)
		c.close("s1")
		if err := os.Truncate(filepath.Join(c.dir("s1"), "raft.db"), 0); err != nil {
			t.Fatal(err)
		}
		if has, err := HasState(c.dir("s1")); err != nil || !has {
			t.Errorf("HasState = %v, %v: a node would found a second cluster", has, err)
		}
		if _, err := Open(c.options("s1", clusterID)); !errors.Is(err, raftlog.ErrLogLost) {
			t.Errorf("open = %v", err)
		}
		if err := Remove(c.dir("s1")); err != nil {
			t.Fatal(err)
		}
		if has, err := HasState(c.dir("s1")); err != nil || has {
			t.Errorf("HasState after Remove = %v, %v", has, err)
		}
	})
}

func TestSecondOpenOfAFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 1)
		start := time.Now()
		if _, err := Open(c.options("s1", "")); !errors.Is(err, raftlog.ErrInUse) || time.Since(start) > 2*time.Second {
			t.Errorf("second open: %v after %s", err, time.Since(start))
		}
	})
}

func TestClosedStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 1)
		s := c.leader()
		watch := s.Watch(t.Context())
		c.close("s1")
		if err := s.Close(); err != nil {
			t.Errorf("second close: %v", err)
		}
		<-watch
		if _, open := <-watch; open {
			t.Error("watch is open after close")
		}
		if _, err := s.Apply(t.Context(), putApp("web")); err == nil {
			t.Error("apply on a closed store")
		}
		if err := s.WaitIndex(t.Context(), 1000); !errors.Is(err, ErrClosed) {
			t.Errorf("wait on a closed store: %v", err)
		}
		if st := s.Status(); st.State != "shutdown" || st.Quorum {
			t.Errorf("status of a closed store: %+v", st)
		}
	})
}

func TestHaltedLeaderHandsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		bad := c.stores["s2"]
		bad.machine.Machine.Apply(bad.State().Index, []byte("bit rot"))
		if !errors.Is(bad.Status().Fault, fsm.ErrCorrupt) {
			t.Fatalf("fault = %v", bad.Status().Fault)
		}
		leader := c.leader()
		if leader == bad {
			t.Fatal("the halted server leads already")
		}
		future := leader.raft.LeadershipTransferToServer(raft.ServerID("s2"), raft.ServerAddress(addrOf("s2")))
		if err := future.Error(); err != nil {
			t.Fatal(err)
		}
		c.until("a healthy leader", func() bool {
			st := c.leader().Status()
			return st.Fault == nil
		})
		c.put("web")
	})
}
