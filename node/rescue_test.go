package node

import (
	"context"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"meshnode/mesh"
	"meshnode/node/api"
	"meshnode/node/config"
	"meshnode/store"
	"meshnode/store/fsm"
)

// silent is a listener at which nobody knocks.
type silent struct {
	closed chan struct{}
	once   sync.Once
}

func (l *silent) Accept() (net.Conn, error) {
	<-l.closed
	return nil, net.ErrClosed
}

func (l *silent) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *silent) Addr() net.Addr { return &net.TCPAddr{} }

func nobody(context.Context, string) (net.Conn, error) { return nil, net.ErrClosed }

// alone is a node with a configuration of its own and nothing else, inside a bubble of synctest.
func alone(t *testing.T) *Node {
	t.Helper()
	n := &Node{s: config.Settings{Node: "h2"}, dir: &folder{path: t.TempDir()}, who: self{identity: identity{ID: "h2-2"}}}
	st, err := store.Open(store.Options{ID: "h2-2", Addr: "h2:7946", Dir: n.dir.join("raft"), Found: "c1", Listener: &silent{closed: make(chan struct{})}, Dial: nobody})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	n.store = st
	for c := range st.Watch(t.Context()) {
		if c.ID != "" {
			break
		}
	}
	return n
}

func TestGivenUpServersCountNoMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t)
		members := map[string]mesh.Member{
			"h1": {Name: "h1", ID: "h1-1", Addr: "h1:7946", Cluster: "c1", Status: mesh.Alive},
			"h3": {Name: "h3", ID: "h3-3", Addr: "h3:7946", Cluster: "c1", Status: mesh.Alive},
		}
		left := map[string]mesh.Member{"h4": {Name: "h4", ID: "h4-4", Addr: "h4:7946", Status: mesh.Left}}
		if n.view.members.Store(&left); n.mayRaft("h4-4") {
			t.Error("a server that has left may speak raft")
		}
		n.view.members.Store(&members)
		gone, stays := "h1-1", "h3-3"
		if !n.mayRaft(gone) || !n.mayRaft(stays) || len(n.quorumMembers(n.store)) != 2 {
			t.Fatal("members count for nothing")
		}
		if _, err := n.store.Apply(t.Context(), fsm.Command{Lose: &fsm.Lose{Servers: []string{"h1-1"}}}); err != nil {
			t.Fatal(err)
		}
		if left := n.quorumMembers(n.store); n.mayRaft(gone) || !n.mayRaft(stays) || len(left) != 1 || left[0].ID != "h3-3" {
			t.Errorf("after h1 was given up: %+v", left)
		}
		_, err := peerBackend{n}.Hello(t.Context(), api.Hello{Node: "h1", ID: "h1-1", Addr: "h1:7946", Cluster: "c1", Protocol: protocol})
		if api.CodeOf(err) != api.CodeGivenUp || err.Error() != "this server (h1-1) was given up by `meshnode recover`; stop it, empty its data folder and start it again" {
			t.Errorf("hello of a server that was given up: %v", err)
		}
		if h, err := (peerBackend{n}).Hello(t.Context(), api.Hello{Node: "h1", ID: "h1-new", Addr: "h1:7946", Protocol: protocol}); err != nil || h.Fresh {
			t.Errorf("hello of the new server in its place: %+v, %v", h, err)
		}
	})
}

// TestGreetedIsTold has servers greet that are members here, and ones that are not: not yet, not any more, or at another address.
func TestGreetedIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t)
		members := map[string]mesh.Member{
			"h1": {Name: "h1", ID: "h1-1", Addr: "h1:7946", Cluster: "c1", Status: mesh.Suspect},
			"h3": {Name: "h3", ID: "h3-3", Addr: "h3:7946", Cluster: "c1", Status: mesh.Failed},
		}
		n.view.members.Store(&members)
		for from, unseen := range map[api.Hello]bool{
			{Node: "h1", ID: "h1-1", Addr: "h1:7946", Cluster: "c1"}:  false,
			{Node: "h3", ID: "h3-3", Addr: "h3:7946", Cluster: "c1"}:  true,
			{Node: "h3", ID: "h3-3", Addr: "new:7946", Cluster: "c1"}: true,
			{Node: "h4", ID: "h4-4", Addr: "h4:7946"}:                 true,
		} {
			from.Protocol = protocol
			h, err := peerBackend{n}.Hello(t.Context(), from)
			if err != nil || h.Unseen != unseen {
				t.Errorf("%+v: %+v, %v", from, h, err)
			}
		}
	})
}

// TestBeGivenUp has a server that was given up not start again with what it has.
func TestBeGivenUp(t *testing.T) {
	n := &Node{dir: &folder{path: t.TempDir()}, life: lifecycle{stop: make(chan error, 1)}}
	if err := os.Mkdir(n.dir.join("raft"), 0o700); err != nil {
		t.Fatal(err)
	}
	n.beGivenUp()
	again := n.openSelf(t.Context(), nil)
	for what, err := range map[string]error{"at once": <-n.life.stop, "when it starts again": again} {
		if err == nil || !strings.Contains(err.Error(), "this server was given up with meshnode recover") || !strings.Contains(err.Error(), "rm -r "+n.dir.join("raft")+" "+n.dir.join("identity.json")) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestSnapshotOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := alone(t)
		before := n.store.State()
		s, err := rescueBackend{n: n}.Snapshot(t.Context())
		if err != nil || !s.Current || s.Cluster != "c1" || s.Index <= before.Index {
			t.Fatalf("%+v, %v", s, err)
		}
		c, err := ReadSnapshot(s.State)
		if err != nil || c.ID != "c1" || c.Index != s.Index || c.Hash() != before.Hash() {
			t.Errorf("%+v, %v", c, err)
		}
	})
}

// TestLostQuorum counts voters: those that gossip has given up are lost, those that it has not heard of are not.
func TestLostQuorum(t *testing.T) {
	for _, c := range []struct {
		v    electorate
		lost bool
	}{
		{electorate{}, false}, {electorate{all: 1}, false}, {electorate{all: 2, failed: 1}, true}, {electorate{all: 3, failed: 1}, false},
		{electorate{all: 3, failed: 2}, true}, {electorate{all: 5, failed: 2, missing: []string{"a", "b", "c", "d"}}, false}, {electorate{all: 5, failed: 3}, true},
	} {
		if c.v.lost() != c.lost {
			t.Errorf("%+v: lost %v", c.v, !c.lost)
		}
	}
}
