package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	metrics "github.com/armon/go-metrics"

	"meshnode/store/fsm"
	"meshnode/store/raftlog"
)

// TestAcknowledgedChangesSurvive writes from several goroutines while leaders come and go. Whatever was acknowledged must
// be there in the end; what was refused with certainty must not.
func TestAcknowledgedChangesSurvive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 5)
		var mu sync.Mutex
		outcome := map[string]error{}
		servers := []*Store{}
		for _, s := range c.stores {
			servers = append(servers, s)
		}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 60 {
					name := fmt.Sprintf("app-%d-%d", w, i)
					ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
					err := errors.New("nobody leads")
					for _, s := range servers {
						if s.Status().State == "leader" {
							_, err = s.Apply(ctx, putApp(name))
							break
						}
					}
					cancel()
					mu.Lock()
					outcome[name] = err
					mu.Unlock()
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		time.Sleep(500 * time.Millisecond)
		c.close(c.leader().id)
		time.Sleep(2 * time.Second)
		cut := c.leader().id
		c.net.isolate(addrOf(cut))
		time.Sleep(4 * time.Second)
		c.net.heal(addrOf(cut))
		wg.Wait()
		c.put("last")
		c.settle()
		done := 0
		for name, err := range outcome {
			_, there := c.leader().State().Apps[name]
			switch {
			case err == nil && !there:
				t.Errorf("%s was acknowledged and is lost", name)
			case err == nil:
				done++
			case there && !errors.Is(err, ErrTimeout):
				t.Errorf("%s was refused (%v) and is there", name, err)
			}
		}
		if done < 40 {
			t.Errorf("only %d of %d changes got through", done, len(outcome))
		}
	})
}

// TestEveryAddressChanges restarts all servers under new addresses: the configuration is of no help, gossip is.
func TestEveryAddressChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.put("web")
		c.settle()
		ids := []string{"s1", "s2", "s3"}
		for _, id := range ids {
			c.close(id)
		}
		for _, id := range ids {
			o := c.options(id, "")
			o.Addr = "new-" + o.Addr
			o.Listener, o.Dial = c.net.listen(o.Addr), c.net.dialer(o.Addr)
			o.AddrOf = func(id string) (string, bool) { return "new-" + addrOf(id), true }
			c.open(o)
		}
		leader := c.leader()
		c.put("more")
		c.settle()
		if st := leader.Status(); st.LeaderAddr != "new-"+addrOf(leader.id) {
			t.Errorf("the leader's address is %q", st.LeaderAddr)
		}
		for _, id := range ids {
			if err := leader.AddServer(t.Context(), Server{ID: id, Addr: "new-" + addrOf(id)}); err != nil {
				t.Fatal(err)
			}
		}
		for _, s := range leader.Servers() {
			if !s.Voter || !strings.HasPrefix(s.Addr, "new-") {
				t.Errorf("server %+v", s)
			}
		}
	})
}

func TestRemovedServerCanComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		if err := c.stores["s1"].RemoveServer(t.Context(), "s3"); err != nil {
			t.Fatal(err)
		}
		c.put("without")
		time.Sleep(time.Minute)
		if term := c.leader().Status().Term; term != 2 {
			t.Errorf("the removed server unsettled the leader: term %d", term)
		}
		if err := c.stores["s1"].AddServer(t.Context(), Server{ID: "s3", Addr: addrOf("s3")}); err != nil {
			t.Fatal(err)
		}
		c.settle()
		if err := c.stores["s1"].DemoteVoter(t.Context(), "s2"); err != nil {
			t.Fatal(err)
		}
		voters := 0
		for _, s := range c.stores["s1"].Servers() {
			if s.Voter {
				voters++
			}
		}
		if voters != 1 {
			t.Errorf("%d voters", voters)
		}
		c.put("alone")
		c.settle()
	})
}

func TestServerThatNeverJoined(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		s := c.open(c.options("s1", ""))
		time.Sleep(time.Minute)
		_, err := s.Apply(t.Context(), putApp("web"))
		if !errors.Is(err, ErrNoLeader) || !strings.Contains(err.Error(), "not joined") {
			t.Errorf("apply = %v", err)
		}
		if st := s.Status(); st.Quorum || st.LastContact >= 0 || len(st.Servers) != 0 {
			t.Errorf("status = %+v", st)
		}
		c.close("s1")
		if has, err := HasState(c.dir("s1")); err != nil || has {
			t.Errorf("HasState = %v, %v", has, err)
		}
		c.open(c.options("s1", clusterID))
		c.leader()
	})
}

// TestKeptConfigurationIsTriedAgain puts a folder where the file should be, and takes it away.
func TestKeptConfigurationIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		path := filepath.Join(c.dir("s1"), raftlog.ConfigurationFile)
		s := c.open(c.options("s1", clusterID))
		if err := os.MkdirAll(filepath.Join(path, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
		c.leader()
		c.put("web")
		time.Sleep(time.Minute)
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * keepRetry)
		kept, err := recall(c.dir("s1"), clusterID)
		if err != nil || kept == nil || kept.Hash() != s.State().Hash() || kept.Index != s.State().Index {
			t.Errorf("kept %+v, %v", kept, err)
		}
	})
}

func TestBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		sink := metrics.NewInmemSink(time.Hour, time.Hour)
		m, err := metrics.New(&metrics.Config{FilterDefault: true}, sink)
		if err != nil {
			t.Fatal(err)
		}
		o := c.options("s1", clusterID)
		o.Metrics = m
		s := c.open(o)
		c.leader()
		for range maxProposals {
			done, err := s.begin()
			if err != nil {
				t.Fatal(err)
			}
			defer done()
		}
		if _, err := s.Apply(t.Context(), putApp("web")); !errors.Is(err, ErrBusy) {
			t.Errorf("apply = %v", err)
		}
		data := sink.Data()
		if data[0].Counters["store.refused_busy"].Count != 1 || data[0].Gauges["store.leader"].Value != 1 {
			t.Errorf("metrics = %+v", data[0])
		}
	})
}

func TestApplyGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		leader := c.leader()
		for id := range c.stores {
			if id != leader.id {
				c.net.isolate(addrOf(id))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := leader.Apply(ctx, putApp("web"))
		if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("apply = %v", err)
		}
	})
}

func TestOpenChecksItsOptions(t *testing.T) {
	if _, err := Open(Options{ID: "s1"}); err == nil {
		t.Error("opened without an address")
	}
}

func TestStreamLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newMemnet()
		s := newStream(Options{Listener: n.listen("a"), Dial: n.dialer("a"), Addr: "a"}, meter{})
		accepted := make(chan net.Conn, 2*maxStreams)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for {
				conn, err := s.accept()
				if err != nil {
					return
				}
				accepted <- conn
			}
		}()
		for range maxStreams + 10 {
			if _, err := n.dialer("b")(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if len(accepted) != maxStreams {
			t.Errorf("%d streams accepted", len(accepted))
		}
		conn := <-accepted
		for range 2 {
			if err := conn.Close(); err != nil {
				t.Errorf("close: %v", err)
			}
		}
		if _, err := n.dialer("b")(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(accepted) != maxStreams {
			t.Errorf("a place that became free was not used: %d", len(accepted))
		}
		if err := errors.Join(s.Close(), s.Close()); err != nil {
			t.Error(err)
		}
		<-ended
		if _, err := s.Dial("a", time.Second); err == nil {
			t.Error("dialled after the end")
		}
		one := make([]byte, 1)
		if _, err := (<-accepted).Read(one); err == nil {
			t.Error("a stream outlived its layer")
		}
	})
}

func TestFeedNeverGoesBack(t *testing.T) {
	f := newFeed(meter{})
	m := fsm.New(f.publish)
	b, err := fsm.Encode(fsm.Command{Found: &fsm.Found{ClusterID: "c"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, index := range []uint64{5, 3, 4, 6} {
		m.Apply(index, b)
		if got := f.current.Load().Index; got < 5 {
			t.Errorf("index %d after %d", got, index)
		}
	}
	f.close()
	m.Apply(9, b)
	if got := f.current.Load().Index; got != 6 {
		t.Errorf("published after the end: %d", got)
	}
}

// TestLogThatCannotBeWritten has a change that could not be written be of unknown outcome: a part of it may be there, and be agreed on later.
func TestLogThatCannotBeWritten(t *testing.T) {
	for _, err := range []error{syscall.EIO, &os.PathError{Op: "write", Path: "raft.db", Err: syscall.ENOSPC}} {
		if got := (&Store{}).translate(err); !errors.Is(got, ErrTimeout) || !errors.Is(got, err) {
			t.Errorf("%v becomes %v", err, got)
		}
	}
}
