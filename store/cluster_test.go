package store

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/store/fsm"
	"meshnode/store/spec"
)

const clusterID = "c1"

// cluster is a few stores on one memnet, to be used inside a synctest bubble: production timeouts, no real time.
type cluster struct {
	t      *testing.T
	net    *memnet
	root   string
	stores map[string]*Store
	guard  func(l net.Listener) net.Listener // nil = peers may speak to each other
}

func newCluster(t *testing.T) *cluster {
	c := &cluster{t: t, net: newMemnet(), root: t.TempDir(), stores: map[string]*Store{}}
	t.Cleanup(func() {
		for id := range c.stores {
			c.close(id)
		}
	})
	return c
}

func addrOf(id string) string { return id + ".test:7946" }

func (c *cluster) dir(id string) string { return filepath.Join(c.root, id) }

// options returns how the server is opened; found names a new cluster.
func (c *cluster) options(id, found string) Options {
	addr := addrOf(id)
	o := Options{ID: id, Addr: addr, Dir: c.dir(id), Listener: c.net.listen(addr), Dial: c.net.dialer(addr), Found: found, PeerOf: c.peerOf}
	if c.guard != nil {
		o.Listener = c.guard(o.Listener)
	}
	return o
}

// peerOf knows who has opened a stream by where it came from.
func (c *cluster) peerOf(conn net.Conn) string {
	m, ok := conn.(*memConn)
	if !ok {
		return ""
	}
	return strings.TrimPrefix(strings.TrimSuffix(m.ends[0], addrOf("")), "new-")
}

func (c *cluster) open(o Options) *Store {
	c.t.Helper()
	s, err := Open(o)
	if err != nil {
		c.t.Fatalf("open %s: %v", o.ID, err)
	}
	c.stores[o.ID] = s
	return s
}

func (c *cluster) close(id string) {
	c.t.Helper()
	if err := c.stores[id].Close(); err != nil {
		c.t.Errorf("close %s: %v", id, err)
	}
	delete(c.stores, id)
}

// grow founds a cluster of n voters, s1 to sn, and returns it with the first one leading.
func grow(t *testing.T, n int) *cluster {
	t.Helper()
	c := newCluster(t)
	c.open(c.options("s1", clusterID))
	c.leader()
	for i := 2; i <= n; i++ {
		id := fmt.Sprintf("s%d", i)
		c.open(c.options(id, ""))
		server := Server{ID: id, Addr: addrOf(id), Voter: true}
		if err := c.stores["s1"].AddServer(t.Context(), server); err != nil {
			t.Fatalf("add %s: %v", id, err)
		}
	}
	c.settle()
	return c
}

// until waits in the bubble's time until ok holds.
func (c *cluster) until(what string, ok func() bool) {
	c.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !ok() {
		if time.Now().After(deadline) {
			for id, s := range c.stores {
				c.t.Logf("%s: %+v", id, s.Status())
			}
			c.t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// leader waits for the one store that leads a named cluster and that all reachable stores agree on.
func (c *cluster) leader() *Store {
	c.t.Helper()
	var leader *Store
	c.until("a leader", func() bool {
		leader = nil
		for _, s := range c.stores {
			if s.Status().State == "leader" && s.State().ID != "" {
				if leader != nil {
					return false
				}
				leader = s
			}
		}
		return leader != nil
	})
	return leader
}

// settle waits until every store has all the log and has applied what the furthest has, and checks that they agree.
func (c *cluster) settle() {
	c.t.Helper()
	c.until("all stores agree", func() bool {
		var index, last uint64
		for _, s := range c.stores {
			index, last = max(index, s.State().Index), max(last, s.raft.LastIndex())
		}
		for _, s := range c.stores {
			if s.State().Index != index || s.State().ID == "" || s.raft.LastIndex() != last {
				return false
			}
		}
		return true
	})
	hash := ""
	for id, s := range c.stores {
		st := s.Status()
		if hash == "" {
			hash = st.Hash
		}
		if st.Hash != hash {
			c.t.Fatalf("%s has state %s, another %s, at index %d", id, st.Hash, hash, st.AppliedIndex)
		}
	}
}

func app(name string) spec.App {
	return spec.App{Name: name, Command: []string{"node", name + ".js"}, Dir: "/srv"}
}

func putApp(name string) fsm.Command {
	return fsm.Command{Put: &fsm.Put{App: app(name), PrevModified: fsm.Any}}
}

// put applies on the present leader and must succeed.
func (c *cluster) put(name string) fsm.Result {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	result, err := c.leader().Apply(ctx, putApp(name))
	if err != nil {
		c.t.Fatalf("put %s: %v", name, err)
	}
	return result
}
