package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"meshnode/store/raftlog"
)

// choosy is a listener that takes no stream of a server that was given up, as package node has it.
type choosy struct {
	net.Listener
	gaveUp func(addr string) bool
}

func (l *choosy) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil || !l.gaveUp(c.(*memConn).ends[0]) {
			return c, err
		}
		_ = c.Close()
	}
}

// choose gives the stores that are opened from now on listeners that refuse those servers.
func (c *cluster) choose(lost ...string) {
	c.guard = func(l net.Listener) net.Listener {
		return &choosy{l, func(addr string) bool {
			return slices.ContainsFunc(lost, func(id string) bool { return addrOf(id) == addr })
		}}
	}
}

// lose ends servers for good, in the eyes of the others.
func (c *cluster) lose(ids ...string) {
	for _, id := range ids {
		c.close(id)
	}
}

func (c *cluster) ask(id string, lost []string, others ...string) Recovery {
	c.t.Helper()
	r := Recovery{ID: id, Cluster: clusterID, Lost: lost, Asked: time.Now()}
	for _, o := range others {
		r.Others = append(r.Others, Server{ID: o, Addr: addrOf(o), Voter: true})
	}
	if err := AskRecovery(c.dir(id), r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// diverged is a cluster of five of which s4 has all that was confirmed, and s5 a longer log of changes that never were: it led while it was cut off.
func diverged(t *testing.T) *cluster {
	t.Helper()
	c := grow(t, 5)
	c.put("a")
	c.settle()
	if err := c.leader().raft.LeadershipTransferToServer("s5", "s5.test:7946").Error(); err != nil {
		t.Fatal(err)
	}
	c.until("s5 leads and has nothing to do", func() bool { return c.leader().id == "s5" })
	c.put("b")
	c.settle()
	c.net.isolate(addrOf("s5"))
	cut := c.stores["s5"]
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if _, err := cut.Apply(ctx, putApp(fmt.Sprintf("ghost-%d", i))); err == nil {
				t.Error("a server that is cut off confirmed a change")
			}
		})
	}
	wg.Wait()
	c.until("another leads", func() bool {
		leader := c.leader()
		return leader.id != "s5"
	})
	c.put("c")
	c.put("d")
	last := c.leader().State().Index
	if err := c.stores["s4"].WaitIndex(t.Context(), last); err != nil {
		t.Fatal(err)
	}
	ours, ourTerm, _ := c.stores["s4"].Last()
	theirs, theirTerm, _ := cut.Last()
	if theirs <= ours || theirTerm >= ourTerm {
		t.Fatalf("s4 ends at %d of term %d, s5 at %d of term %d: want it longer and older", ours, ourTerm, theirs, theirTerm)
	}
	return c
}

func TestRecover(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := diverged(t)
		lost := []string{"s1", "s2", "s3"}
		c.lose(lost...)
		c.net.heal(addrOf("s5"))
		c.choose(lost...)
		time.Sleep(time.Minute)
		for id, s := range c.stores {
			if st := s.Status(); st.Quorum {
				t.Fatalf("%s has a quorum: %+v", id, st)
			}
		}
		c.close("s5")
		c.open(c.options("s5", ""))
		c.close("s4")
		c.ask("s4", lost, "s5")
		s := c.open(c.options("s4", ""))
		if r, err := s.Recovered(); err != nil || r == nil || !slices.Equal(r.Lost, lost) {
			t.Fatalf("recovered %+v, %v", r, err)
		}
		if c.leader() != s {
			t.Fatal("another leads")
		}
		c.put("e")
		c.settle()
		for id, s := range c.stores {
			state := s.State()
			if len(state.Apps) != 5 || !slices.Equal(state.Lost, lost) {
				t.Errorf("%s has %d apps and lost %v", id, len(state.Apps), state.Lost)
			}
			if servers := s.Servers(); len(servers) != 2 || !slices.Contains(servers, Server{ID: "s4", Addr: addrOf("s4"), Voter: true}) ||
				!slices.Contains(servers, Server{ID: "s5", Addr: addrOf("s5")}) {
				t.Errorf("%s knows the servers %+v", id, servers)
			}
		}
		if err := s.AddServer(t.Context(), Server{ID: "s5", Addr: addrOf("s5"), Voter: true}); err != nil {
			t.Fatal(err)
		}
		c.put("f")
		c.settle()
		c.returns(s, lost)
	})
}

// returns has lost servers come back, which are a majority of what they know, and checks that nothing comes of it.
func (c *cluster) returns(leader *Store, lost []string) {
	c.t.Helper()
	before := leader.Status()
	c.guard = nil
	for _, id := range lost {
		o := c.options(id, "")
		back, err := Open(o)
		if err != nil {
			c.t.Fatal(err)
		}
		defer func() {
			if err := back.Close(); err != nil {
				c.t.Error(err)
			}
		}()
	}
	time.Sleep(time.Minute)
	after := leader.Status()
	if after.State != "leader" || after.Term != before.Term || after.Hash != before.Hash || after.AppliedIndex != before.AppliedIndex {
		c.t.Errorf("lost servers came back: %+v became %+v", before, after)
	}
	c.put("g")
	c.settle()
}

// TestRecoverAgain repeats what was carried out already, as after a crash before it was forgotten.
func TestRecoverAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.put("a")
		c.settle()
		c.lose("s1", "s2", "s3")
		c.ask("s2", []string{"s1", "s3"})
		path := filepath.Join(c.dir("s2"), raftlog.RecoveryFile)
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			c.open(c.options("s2", ""))
			c.close("s2")
			if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
				t.Fatalf("it is not forgotten: %v", err)
			}
			if err := os.WriteFile(path, text, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		s := c.open(c.options("s2", ""))
		c.leader()
		c.put("b")
		if st := s.State(); len(st.Apps) != 2 || !slices.Equal(st.Lost, []string{"s1", "s3"}) {
			t.Errorf("%+v", st)
		}
		c.close("s2")
		c.open(c.options("s2", ""))
		c.leader()
		c.put("c")
	})
}

// TestRecoverOnASnapshot goes on from a server that has a leader's snapshot in place of the log, and no vote.
func TestRecoverOnASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 2)
		c.compact(c.leader())
		s := c.open(c.options("s9", ""))
		if err := c.leader().AddServer(t.Context(), Server{ID: "s9", Addr: addrOf("s9")}); err != nil {
			t.Fatal(err)
		}
		if err := s.WaitIndex(t.Context(), c.leader().State().Index); err != nil {
			t.Fatal(err)
		}
		c.settle()
		want := len(s.State().Apps)
		c.lose("s1", "s2", "s9")
		c.ask("s9", []string{"s1", "s2"})
		s = c.open(c.options("s9", ""))
		c.leader()
		c.put("more")
		if got := len(s.State().Apps); got != want+1 {
			t.Errorf("%d apps, want %d", got, want+1)
		}
		c.close("s9")
		c.open(c.options("s9", ""))
		c.leader()
		c.put("still-more")
	})
}

func TestRecoverRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.settle()
		c.lose("s1", "s2", "s3")
		for name, change := range map[string]func(*Recovery){
			"too old":         func(r *Recovery) { r.Asked = time.Now().Add(-time.Hour) },
			"another server":  func(r *Recovery) { r.ID = "s7" },
			"another cluster": func(r *Recovery) { r.Cluster = "c7" },
			"nobody is lost":  func(r *Recovery) { r.Lost = []string{""} },
		} {
			r := Recovery{ID: "s2", Cluster: clusterID, Lost: []string{"s1", "s3"}, Asked: time.Now()}
			change(&r)
			if err := AskRecovery(c.dir("s2"), r); err != nil {
				t.Fatal(err)
			}
			s := c.open(c.options("s2", ""))
			if _, err := s.Recovered(); err == nil {
				t.Errorf("%s: carried out", name)
			}
			time.Sleep(time.Minute)
			if st := s.Status(); st.Quorum || len(st.Servers) != 3 {
				t.Errorf("%s: %+v", name, st)
			}
			c.close("s2")
		}
		for _, r := range []Recovery{{}, {ID: "s2"}, {ID: "s2", Lost: []string{"s2"}}} {
			if err := AskRecovery(c.dir("s2"), r); err == nil {
				t.Errorf("asked for %+v", r)
			}
		}
		c.ask("s2", []string{"s1", "s3"})
		if err := errors.Join(CancelRecovery(c.dir("s2")), CancelRecovery(c.dir("s2"))); err != nil {
			t.Fatal(err)
		}
		if r, err := c.open(c.options("s2", "")).Recovered(); r != nil || err != nil {
			t.Errorf("taken back, and yet %+v, %v", r, err)
		}
	})
}
