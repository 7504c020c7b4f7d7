package mesh_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"meshnode/mesh"
	"meshnode/mesh/meshtest"
)

func TestOpenShowsSelf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		self := node(0)
		self.Tags, self.Zone = map[string]string{"disk": "ssd"}, "z1"
		p := w.start(self, nil)
		got := p.Members()
		if len(got) != 1 || got[0].Status != mesh.Alive || got[0].Since.IsZero() || got[0].StartedAt.IsZero() {
			t.Fatalf("members right after Open: %+v", got)
		}
		synctest.Wait()
		got = p.Members()
		got[0].Status, got[0].Since, got[0].StartedAt = "", time.Time{}, time.Time{}
		if diff := cmp.Diff([]mesh.Member{self}, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestOpenRefusesBadOptions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		for name, test := range map[string]struct {
			change func(*mesh.Options)
			want   string
		}{
			"no name":     {func(o *mesh.Options) { o.Self.Name = "" }, "node name"},
			"no id":       {func(o *mesh.Options) { o.Self.ID = "" }, "node id"},
			"host name":   {func(o *mesh.Options) { o.Self.Addr = "seed:7946" }, "peers can reach"},
			"unspecified": {func(o *mesh.Options) { o.Self.Addr = "0.0.0.0:7946" }, "peers can reach"},
			"short key":   {func(o *mesh.Options) { o.Key = []byte("short") }, "key"},
			"tags":        {func(o *mesh.Options) { o.Self.Tags = map[string]string{"a": strings.Repeat("x", 500)} }, "shorter tags"},
			// A cluster ID may come later, so tags that fit only without one are refused at once.
			"tags nearly": {func(o *mesh.Options) { o.Self.Tags = map[string]string{"a": strings.Repeat("x", 400)} }, "shorter tags"},
		} {
			o := w.options(w.peer(node(1)), node(1))
			test.change(&o)
			_, err := mesh.Open(o)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%s: error %v does not name %q", name, err, test.want)
			}
			// A failed Open has closed the sockets, or the next round could not listen.
		}
	})
}

func TestJoinConverges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: time.Millisecond})
		for _, p := range w.cluster(5) {
			var names []string
			for _, m := range p.Members() {
				names = append(names, m.Name)
				if m.Version != "1.0.0" || m.Cores != 4 || m.Cluster != "c1" || !strings.HasPrefix(m.ID, "s") {
					t.Errorf("%s: facts of %s are lost: %+v", p.name, m.Name, m)
				}
			}
			if diff := cmp.Diff([]string{"n0", "n1", "n2", "n3", "n4"}, names); diff != "" {
				t.Error(p.name, diff)
			}
		}
	})
}

func TestJoinReportsTheCause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		marker := errors.New("another key")
		p := w.start(node(0), func(o *mesh.Options) {
			dial := o.DialGossip
			o.DialGossip = func(ctx context.Context, addr string) (net.Conn, error) {
				if addr == addrOf(7) {
					return nil, marker
				}
				return dial(ctx, addr)
			}
		})
		n, err := p.Join(t.Context(), []string{addrOf(7), addrOf(8), "no port"})
		if n != 0 || !errors.Is(err, marker) || !errors.Is(err, syscall.ECONNREFUSED) || !strings.Contains(err.Error(), "no port") {
			t.Errorf("joined %d, error %v", n, err)
		}
		if n, err := p.Join(t.Context(), []string{addrOf(0)}); n != 0 || err != nil {
			t.Errorf("joining only ourselves: %d, %v", n, err)
		}
	})
}

func TestJoinEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		a, b := w.start(node(0), nil), w.start(node(1), nil)
		b.host.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		begin := time.Now()
		if _, err := a.Join(ctx, []string{b.host.Addr()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if d := time.Since(begin); d != 300*time.Millisecond {
			t.Errorf("took %v", d)
		}
		// Close cuts the exchange short that is still waiting.
		if err := a.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d != 300*time.Millisecond {
			t.Errorf("close took %v more", d-300*time.Millisecond)
		}
	})
}

func TestDeadNodeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: time.Millisecond})
		peers := w.cluster(6)
		peers[5].host.Stop()
		took := w.eventually(6*time.Second, "everybody sees n5 as failed", func() bool {
			return !slices.ContainsFunc(peers[:5], func(p *peer) bool { return p.status("n5") != mesh.Failed })
		})
		t.Logf("death seen by all after %v", took)
		peers[5].host.Resume()
		w.eventually(10*time.Second, "n5 is back by itself", func() bool {
			return !slices.ContainsFunc(peers, func(p *peer) bool { return p.count(mesh.Alive) != 6 })
		})
	})
}

func TestSuspectComesBeforeFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: time.Millisecond})
		peers := w.cluster(3)
		w.eventually(time.Second, "link", func() bool { return peers[0].linkUp("n2") })
		peers[2].host.Stop()
		took := w.eventually(3*time.Second, "n2 is suspect", func() bool { return peers[0].status("n2") == mesh.Suspect })
		if took < time.Second {
			t.Errorf("suspect after %v already", took)
		}
		peers[2].host.Resume()
		w.eventually(5*time.Second, "n2 is alive again", func() bool { return peers[0].status("n2") == mesh.Alive })
	})
}

func TestLeaveIsNotFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: time.Millisecond, Loss: 0.05, Seed: 3})
		peers := w.cluster(5)
		if err := peers[4].Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.eventually(time.Second, "n4 says so itself", func() bool { return peers[4].status("n4") == mesh.Left })
		if err := peers[4].Close(); err != nil {
			t.Fatal(err)
		}
		w.eventually(15*time.Second, "everybody sees n4 as left", func() bool {
			return !slices.ContainsFunc(peers[:4], func(p *peer) bool { return p.status("n4") != mesh.Left })
		})
		for _, p := range peers[:4] {
			if p.linkUp("n4") {
				t.Errorf("%s still has a link to n4", p.name)
			}
		}
		// The same server comes back as a new process.
		back := node(4)
		back.StartedAt = time.Now()
		p := w.start(back, nil)
		w.join(p, peers[0])
		w.eventually(5*time.Second, "n4 is alive again", func() bool { return peers[3].status("n4") == mesh.Alive })
	})
}

func TestLeaveAloneAndAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		p := w.start(node(0), nil)
		if err := p.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if err := p.Leave(t.Context()); !errors.Is(err, mesh.ErrClosed) {
			t.Errorf("leave after close: %v", err)
		}
		if _, err := p.Join(t.Context(), []string{addrOf(1)}); !errors.Is(err, mesh.ErrClosed) {
			t.Errorf("join after close: %v", err)
		}
		p.SetCluster("c2")
		p.Report(mesh.Load{})
	})
}

func TestOtherClusterIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		a := w.start(node(0), nil)
		other := node(1)
		other.Cluster = "c2"
		b := w.start(other, nil)
		if _, err := b.Join(t.Context(), []string{a.host.Addr()}); !errors.Is(err, mesh.ErrOtherCluster) {
			t.Errorf("error %v", err)
		}
		<-time.After(3 * time.Second)
		if len(a.Members()) != 1 || len(b.Members()) != 1 {
			t.Errorf("mixed: %v, %v", a.Members(), b.Members())
		}
		// A node without a cluster joins one and does not tie in the other.
		free := node(2)
		free.Cluster = ""
		c := w.start(free, nil)
		w.join(c, a)
		w.eventually(3*time.Second, "n2 and n0 know each other", func() bool { return c.count(mesh.Alive) == 2 && a.count(mesh.Alive) == 2 })
		if _, err := c.Join(t.Context(), []string{b.host.Addr()}); !errors.Is(err, mesh.ErrOtherCluster) {
			t.Errorf("joining a second cluster: %v", err)
		}
		// It learns its cluster and says so.
		c.SetCluster("c1")
		w.eventually(3*time.Second, "the cluster of n2 is known", func() bool {
			return slices.ContainsFunc(a.Members(), func(m mesh.Member) bool { return m.Name == "n2" && m.Cluster == "c1" })
		})
	})
}

func TestSetClusterHidesOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		free := node(0)
		free.Cluster = ""
		a, b := w.start(free, nil), w.start(node(1), nil)
		w.join(a, b)
		w.eventually(3*time.Second, "both are members", func() bool { return len(a.Members()) == 2 && a.linkUp("n1") })
		a.SetCluster("c9")
		w.eventually(3*time.Second, "the stranger is gone", func() bool { return len(a.Members()) == 1 && len(a.Loads()) == 0 })
		up, _ := a.linked("n1")
		if len(up) == 0 || up[len(up)-1] {
			t.Errorf("links of the stranger: %v", up)
		}
	})
}

func TestNameConflict(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(2)
		twin := node(1)
		twin.Addr, twin.ID = addrOf(9), "s9-9999"
		late := w.start(twin, nil)
		_, _ = late.Join(t.Context(), []string{peers[0].host.Addr()})
		w.eventually(3*time.Second, "the old member's side knows", func() bool {
			return slices.Contains(peers[0].conflictNames(), "n1@"+addrOf(9))
		})
		w.eventually(3*time.Second, "the late one knows", func() bool { return len(late.conflictNames()) > 0 })
		if m := peers[0].Members()[1]; m.Addr != addrOf(1) {
			t.Errorf("the name was taken over: %+v", m)
		}
	})
}

func TestNewIdentityAtTheSameAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(3)
		peers[2].Report(mesh.Load{Connections: 7})
		w.eventually(time.Second, "load", func() bool { return len(peers[0].heard("n2")) > 1 })
		if err := peers[2].Close(); err != nil {
			t.Fatal(err)
		}
		<-time.After(100 * time.Millisecond)
		wiped := node(2)
		wiped.ID = "s2-new"
		again := w.start(wiped, nil)
		w.join(again, peers[1])
		w.eventually(5*time.Second, "the new identity is known everywhere", func() bool {
			return !slices.ContainsFunc(peers[:2], func(p *peer) bool {
				return !slices.ContainsFunc(p.Members(), func(m mesh.Member) bool { return m.ID == "s2-new" && m.Status == mesh.Alive })
			})
		})
		w.eventually(3*time.Second, "and its link is up", func() bool { return peers[0].linkUp("n2") })
		if l := peers[0].Loads()["n2"]; l.Connections != 0 {
			t.Errorf("the old process's load is still shown: %+v", l)
		}
	})
}

func TestAddressChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(3)
		if err := peers[2].Close(); err != nil {
			t.Fatal(err)
		}
		moved := node(2)
		moved.Addr, moved.StartedAt = addrOf(20), time.Now()
		p := w.start(moved, nil)
		next := time.Now()
		took := w.eventually(8*time.Second, "the new address is known", func() bool {
			// The server that moved exchanges state again and again, as node has it do while others do not see it.
			if !time.Now().Before(next) {
				next = time.Now().Add(time.Second)
				w.join(p, peers[0])
			}
			return !slices.ContainsFunc(peers[:2], func(o *peer) bool {
				return !slices.ContainsFunc(o.Members(), func(m mesh.Member) bool {
					return m.Name == "n2" && m.Addr == addrOf(20) && m.Status == mesh.Alive
				})
			})
		})
		t.Logf("took %v", took)
	})
}

func TestPartitionHeals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: time.Millisecond})
		peers := w.cluster(5)
		w.net.Partition(peers[0].host, peers[1].host)
		w.eventually(15*time.Second, "both sides see the other as failed", func() bool {
			return peers[0].count(mesh.Failed) == 3 && peers[4].count(mesh.Failed) == 2
		})
		// Longer than memberlist remembers the dead: only our own calls can bring the sides together.
		<-time.After(5 * time.Minute)
		if peers[0].count(mesh.Failed) != 3 {
			t.Error("failed members were forgotten")
		}
		w.net.Heal()
		took := w.eventually(15*time.Second, "one cluster again", func() bool {
			return !slices.ContainsFunc(peers, func(p *peer) bool { return p.count(mesh.Alive) != 5 })
		})
		t.Logf("healed after %v", took)
	})
}

func TestGoneMembersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		peers := w.cluster(2)
		if err := peers[1].Close(); err != nil {
			t.Fatal(err)
		}
		w.eventually(10*time.Second, "n1 failed", func() bool { return peers[0].status("n1") == mesh.Failed })
		<-time.After(20 * time.Minute)
		if peers[0].status("n1") != mesh.Failed {
			t.Error("forgotten too early")
		}
	})
}

func TestNoFalseDeathUnderLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Loss: 0.05, Delay: 5 * time.Millisecond, Jitter: 20 * time.Millisecond, Seed: 1})
		peers := w.cluster(6)
		for range 60 {
			<-time.After(time.Second)
			for _, p := range peers {
				if p.count(mesh.Failed) > 0 {
					t.Fatalf("%s: %+v", p.name, p.Members())
				}
			}
		}
	})
}

func TestOneWayCutDoesNotFlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{Delay: time.Millisecond})
		peers := w.cluster(4)
		w.net.Cut(peers[0].host, peers[1].host)
		<-time.After(10 * time.Second)
		since := make(map[string]time.Time)
		for _, m := range peers[2].Members() {
			since[m.Name] = m.Since
		}
		<-time.After(30 * time.Second)
		for _, m := range peers[2].Members() {
			if m.Status != mesh.Alive || !m.Since.Equal(since[m.Name]) {
				t.Errorf("%s flapped for a node that is not concerned: %+v", m.Name, m)
			}
		}
	})
}

func TestWatchPokes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, meshtest.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		a := w.start(node(0), nil)
		synctest.Wait()
		watch := a.Watch(ctx)
		<-watch // the one at the beginning
		b := w.start(node(1), nil)
		w.join(b, a)
		<-watch
		if n := len(a.Members()); n != 2 {
			t.Errorf("poked with %d members", n)
		}
		cancel()
		synctest.Wait()
		for len(watch) > 0 {
			<-watch
		}
		if err := b.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		w.eventually(5*time.Second, "n1 left", func() bool { return a.status("n1") == mesh.Left })
		if len(watch) != 0 {
			t.Error("poked after its context ended")
		}
	})
}
