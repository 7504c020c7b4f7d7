package quorum

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metrics "github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
)

// fakeRaft is a Raft that does what it is told, or fails.
type fakeRaft struct {
	mu      sync.Mutex
	servers []Server
	fail    error
	calls   int
}

func (f *fakeRaft) Servers() []Server {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.servers)
}

func (f *fakeRaft) edit(id string, change func(s *Server) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	if f.fail != nil {
		return f.fail
	}
	i := slices.IndexFunc(f.servers, func(s Server) bool { return s.ID == id })
	if i < 0 {
		f.servers, i = append(f.servers, Server{ID: id}), len(f.servers)
	}
	if !change(&f.servers[i]) {
		f.servers = slices.Delete(f.servers, i, i+1)
	}
	return nil
}

func (f *fakeRaft) AddServer(_ context.Context, server Server) error {
	return f.edit(server.ID, func(s *Server) bool { *s = server; return true })
}

func (f *fakeRaft) DemoteVoter(_ context.Context, id string) error {
	return f.edit(id, func(s *Server) bool { s.Voter = false; return true })
}

func (f *fakeRaft) RemoveServer(_ context.Context, id string) error {
	return f.edit(id, func(*Server) bool { return false })
}

func (f *fakeRaft) TransferLeadership() error {
	return f.edit("a", func(*Server) bool { return true })
}

func (f *fakeRaft) state() (servers []Server, calls int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.servers), f.calls
}

// start runs a loop in the bubble and returns how to set its members and how to wake it.
func start(t *testing.T, f *fakeRaft) (set func(...Member), wake chan<- struct{}) {
	t.Helper()
	var mu sync.Mutex
	var members []Member
	poke := make(chan struct{}, 1)
	sink := metrics.NewInmemSink(time.Minute, time.Hour)
	m, err := metrics.New(&metrics.Config{FilterDefault: true}, sink)
	if err != nil {
		t.Fatal(err)
	}
	l := &Loop{Raft: f, LeaderID: "a", Wake: poke, Logger: hclog.NewNullLogger(), Metrics: m, Policy: Policy{ForgetAfter: time.Hour}}
	l.Members = func() []Member {
		mu.Lock()
		defer mu.Unlock()
		return members
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); l.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return func(ms ...Member) {
		mu.Lock()
		defer mu.Unlock()
		members = ms
	}, poke
}

func here(id string) Member {
	return Member{ID: id, Name: id, Addr: id + ":1", Alive: true, Since: time.Now()}
}

func TestLoopBuildsAndForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRaft{servers: servers("a*")}
		set, wake := start(t, f)
		a, b, c := here("a"), here("b"), here("c")
		set(a, b, c)
		wake <- struct{}{}
		synctest.Wait()
		if got, _ := f.state(); !slices.Equal(got, servers("a*", "b", "c")) {
			t.Fatalf("right after they came: %v", got)
		}
		time.Sleep(DefaultStable + every)
		if got, _ := f.state(); !slices.Equal(got, servers("a*", "b*", "c*")) {
			t.Fatalf("once they are stable: %v", got)
		}
		// Gossip forgets b without a word, and d comes.
		set(a, c, here("d"))
		time.Sleep(DefaultDeadAfter - time.Second)
		if got, _ := f.state(); !slices.Equal(got, servers("a*", "b*", "c*", "d")) {
			t.Fatalf("before b counts as dead: %v", got)
		}
		time.Sleep(2 * time.Second)
		if got, _ := f.state(); !slices.Equal(got, servers("a*", "b", "c*", "d*")) {
			t.Fatalf("when b counts as dead: %v", got)
		}
		time.Sleep(time.Hour + time.Second)
		if got, _ := f.state(); !slices.Equal(got, servers("a*", "c*", "d*")) {
			t.Fatalf("an hour later: %v", got)
		}
	})
}

func TestLoopTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRaft{servers: servers("a*"), fail: errors.New("no quorum")}
		set, _ := start(t, f)
		set(here("a"), here("b"))
		time.Sleep(10 * every)
		f.mu.Lock()
		if f.calls < 5 || f.calls > 11 {
			t.Errorf("%d tries in ten rounds", f.calls)
		}
		f.fail = nil
		f.mu.Unlock()
		time.Sleep(2 * every)
		if got, _ := f.state(); len(got) != 2 {
			t.Errorf("after the trouble: %v", got)
		}
	})
}

func TestLoopHandsOverOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeRaft{servers: servers("a*", "b*", "c*")}
		set, wake := start(t, f)
		a := here("a")
		a.Alive, a.Left = false, true
		synctest.Wait()
		set(a, here("b"), here("c"))
		wake <- struct{}{}
		synctest.Wait()
		if _, calls := f.state(); calls != 1 {
			t.Errorf("%d calls in one round", calls)
		}
	})
}
