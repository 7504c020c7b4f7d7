package datagram

import (
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

func direct(o *Options) { o.Direct = true }

// own starts a worker with a socket of its own; one that is held reads nothing.
func (n *tnode) own(id string, held bool) *worker {
	n.b.t.Helper()
	f := n.srv.Share(app, key, id)
	if f == nil {
		n.b.t.Skip("the kernel or this user's rights do not allow to choose among sockets")
	}
	pc, err := net.FilePacketConn(f)
	f.Close()
	if err != nil {
		n.b.t.Fatal(err)
	}
	w := &worker{id: id, conn: pc.(*net.UDPConn), hold: make(chan struct{})}
	n.b.ends = append(n.b.ends, func() { pc.Close() })
	if !held {
		n.b.wg.Go(w.answer)
	}
	n.mu.Lock()
	n.workers[id] = w
	n.mu.Unlock()
	return w
}

// steer makes these the ready ones.
func (n *tnode) steer(ids ...string) {
	n.ready(ids...)
	n.srv.Steer(app, func(worker string) (string, bool) {
		name, _, _ := strings.Cut(worker, "#")
		for _, id := range ids {
			if id == worker {
				return name, true
			}
		}
		return name, false
	})
}

// leaves ends a worker as the kernel does.
func (n *tnode) leaves(w *worker) {
	w.conn.Close()
	n.srv.UnshareAll(w.id)
}

// homes tells who answers each client, which has to be one, again and again.
func (b *bench) homes(cs []*net.UDPConn, text string) map[int]string {
	b.t.Helper()
	out := make(map[int]string)
	for round := range 4 {
		for i, c := range cs {
			by, _, _ := strings.Cut(b.ask(c, fmt.Sprint(text, round)), "#")
			if out[i] != "" && out[i] != by {
				b.t.Errorf("client %d: answered by %s, and then by %s", i, out[i], by)
			}
			out[i] = by
		}
	}
	return out
}

func (n *tnode) clients(count int) (out []*net.UDPConn) {
	for range count {
		out = append(out, n.client())
	}
	return out
}

// Each client has one worker, which it keeps when others come and go, and when the one is replaced.
func TestWorkersWithOwnSockets(t *testing.T) {
	b := newBench(t)
	n := b.node("a", true, direct)
	one := n.own("one#1", false)
	n.own("two#2", false)
	n.own("three#3", false)
	n.steer("one#1", "two#2", "three#3")
	cs := n.clients(40)
	first := b.homes(cs, "first")
	count := make(map[string]int)
	for _, by := range first {
		count[by]++
	}
	if len(count) != 3 {
		t.Errorf("answered by %v, want three", count)
	}
	if st := n.srv.Stats(); st.In != 0 {
		t.Errorf("some crossed the node: %+v", st)
	}
	n.steer("two#2", "three#3")
	n.leaves(one)
	for i, by := range b.homes(cs, "without one") {
		if first[i] != "one" && by != first[i] {
			t.Errorf("client %d: answered by %s, and by %s before another left", i, by, first[i])
		}
	}
	n.own("one#4", false)
	n.steer("one#4", "two#2", "three#3")
	if again := b.homes(cs, "with one again"); !maps.Equal(again, first) {
		t.Errorf("answered by %v, and by %v before", again, first)
	}
	// Start first: both are ready for a moment, and the later one has the clients.
	n.own("one#5", false)
	n.steer("one#4", "one#5", "two#2", "three#3")
	for i, c := range cs {
		if by := b.ask(c, "later"); first[i] == "one" && !strings.HasPrefix(by, "one#5:") {
			t.Errorf("answered by %s, want the later one", by)
		}
	}
}

// What a worker leaves unread is answered by another, as soon as there is one.
func TestWorkerLeavesDatagrams(t *testing.T) {
	for name, other := range map[string]bool{"another is ready": true, "nobody is": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n := b.node("a", true, direct)
			one := n.own("one#1", true)
			n.steer("one#1")
			cs := n.clients(8)
			for i, c := range cs {
				if _, err := fmt.Fprint(c, "left ", i); err != nil {
					t.Fatal(err)
				}
			}
			if other {
				n.own("two#2", false)
				n.steer("two#2")
			} else {
				n.steer()
			}
			n.leaves(one)
			if !other {
				n.own("two#2", false)
				n.steer("two#2")
			}
			buf := make([]byte, maxPayload)
			for i, c := range cs { // sent once
				_ = c.SetReadDeadline(time.Now().Add(limit))
				k, err := c.Read(buf)
				if want := fmt.Sprint("two#2:left ", i); err != nil || string(buf[:k]) != want {
					t.Errorf("%q %v, want %q", buf[:max(k, 0)], err, want)
				}
			}
		})
	}
}

// What comes while no worker has a socket waits in the node's own.
func TestDatagramsBeforeTheFirstWorker(t *testing.T) {
	b := newBench(t)
	n := b.node("a", true, direct)
	c := n.client()
	if _, err := fmt.Fprint(c, "early"); err != nil {
		t.Fatal(err)
	}
	n.own("one#1", false)
	n.steer("one#1")
	buf := make([]byte, maxPayload)
	_ = c.SetReadDeadline(time.Now().Add(limit))
	if k, err := c.Read(buf); err != nil || string(buf[:k]) != "one#1:early" {
		t.Errorf("%q %v", buf[:max(k, 0)], err)
	}
}

// kept is a keeper, which outlives nodes.
type kept map[string]int

func (k kept) Take(app, key string) (int, bool) {
	fd, ok := k[app+"/"+key]
	if ok {
		fd, _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	}
	return fd, ok
}

func (k kept) Hold(app, key string, fd int) {
	k.Drop(app, key)
	k[app+"/"+key], _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
}

func (k kept) Drop(app, key string) {
	if fd, ok := k[app+"/"+key]; ok {
		unix.Close(fd)
		delete(k, app+"/"+key)
	}
}

// Workers go on while no node runs, and their clients are theirs with the next.
func TestOwnSocketsOutliveTheNode(t *testing.T) {
	b := newBench(t)
	k := make(kept)
	n := b.node("a", true, direct, func(o *Options) { o.Keep = k })
	n.own("one#1", false)
	n.own("two#2", false)
	n.steer("one#1", "two#2")
	cs := n.clients(12)
	first := b.homes(cs, "first")
	n.srv.Close()
	if now := b.homes(cs, "alone"); !maps.Equal(now, first) {
		t.Errorf("without a node: %v, before %v", now, first)
	}
	next := New(Options{Picker: n.bal.Picker, Logger: hclog.NewNullLogger(), Worker: n.worker, DialPeer: b.dial, Keep: k, Direct: true})
	n.srv = next
	if err := next.Serve(app, key, n.file, true); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"one#1", "two#2"} {
		if !next.Rejoin(app, key, id) {
			t.Fatalf("%s has lost its socket", id)
		}
	}
	n.steer("one#1", "two#2")
	if now := b.homes(cs, "next"); !maps.Equal(now, first) {
		t.Errorf("with the next node: %v, before %v", now, first)
	}
	next.Stop(app)
	if len(k) != 0 {
		t.Errorf("kept: %v", k)
	}
}
