package proxy

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
)

// isReset fails the test unless the connection was refused with a reset.
func isReset(t *testing.T, c *net.TCPConn) {
	t.Helper()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%v, want a reset", err)
	}
}

// dialFrom connects from an address of loopback.
func (n *tnode) dialFrom(ip string) (*net.TCPConn, error) {
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
	c, err := d.Dial("tcp", n.addr)
	if err != nil {
		return nil, err
	}
	n.b.ends = append(n.b.ends, func() { c.Close() })
	return c.(*net.TCPConn), nil
}

// refused fails the test unless a new connection is reset, at once or while it is still being opened.
func (n *tnode) refused(from ...string) {
	n.b.t.Helper()
	c, err := n.dialFrom(append(from, "127.0.0.1")[0])
	if err == nil {
		isReset(n.b.t, c)
	} else if !errors.Is(err, syscall.ECONNRESET) {
		n.b.t.Errorf("%v, want a reset", err)
	}
}

func TestConnectionLimit(t *testing.T) {
	for _, passes := range []bool{true, false} {
		b := newBench(t)
		n := b.node("a", Options{})
		n.srv.SetGates(map[string]Gate{app: {Connections: 2}})
		w := b.listening("w", saying("w"))
		if passes {
			w = b.passing("w", accepts, saying("w"))
		}
		n.workers(w)
		first, second := n.connect(), n.connect()
		n.await("both are taken", func() bool { return n.bal.Counts().Taken == 2 })
		n.refused()
		if st := n.srv.GateStats(app); st.Open != 2 || st.OverLimit != 1 {
			t.Errorf("%+v", st)
		}
		if got := ask(t, first, "x"); got != "w:x" {
			t.Errorf("got %q", got)
		}
		first.Close()
		n.await("one has ended", func() bool { return n.bal.Counts().Returned == 1 })
		third := n.connect()
		for _, c := range []*net.TCPConn{second, third} {
			if got := ask(t, c, "y"); got != "w:y" {
				t.Errorf("got %q", got)
			}
			c.Close()
		}
		n.idle()
		if st := n.srv.GateStats(app); st.Open != 0 || st.OverLimit != 1 {
			t.Errorf("%+v", st)
		}
		if st := n.srv.Stats(); st.Refused != 1 || st.Accepted != 4 {
			t.Errorf("%+v", st)
		}
	}
}

func TestClientLimit(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.srv.SetGates(map[string]Gate{app: {PerClient: 1}})
	n.workers(b.passing("w", accepts, saying("w")))
	from := func(ip string) *net.TCPConn {
		c, err := n.dialFrom(ip)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	first := from("127.0.0.2")
	n.await("it is taken", func() bool { return n.bal.Counts().Taken == 1 })
	n.refused("127.0.0.2")
	if got := ask(t, from("127.0.0.3"), "x"); got != "w:x" {
		t.Errorf("another client: got %q", got)
	}
	if got := ask(t, first, "x"); got != "w:x" {
		t.Errorf("got %q", got)
	}
	first.Close()
	n.idle()
	if st := n.srv.GateStats(""); st.Open != 0 || st.Clients != 0 || st.OverPerClient != 1 {
		t.Errorf("%+v", st)
	}
	n.srv.SetGates(nil)
	if st := n.srv.GateStats(""); st.OverPerClient != 1 {
		t.Errorf("what a gate counted is gone with it: %+v", st)
	}
}

// A limit that is set while connections are open counts those too; one that is taken away holds nobody.
func TestLimitsChange(t *testing.T) {
	var gs gates
	g := gs.of(app)
	if err := g.enter(); err != nil {
		t.Fatal(err)
	}
	g.set.Store(&Gate{Connections: 1})
	if err := g.enter(); !errors.Is(err, errConnections) {
		t.Errorf("%v", err)
	}
	g.set.Store(&Gate{})
	if err := g.enter(); err != nil {
		t.Error(err)
	}
	g.leave(netip.Addr{})
	g.leave(netip.Addr{})
	if st := g.read(); st.Open != 0 || gs.of(app) != g {
		t.Errorf("%+v", st)
	}
}

func TestClientsAreCounted(t *testing.T) {
	g := (&gates{}).of(app)
	g.set.Store(&Gate{PerClient: 2})
	for _, tc := range []struct {
		addr string
		want bool
	}{
		{"10.0.0.1", true}, {"::ffff:10.0.0.1", true}, {"10.0.0.1", false}, {"10.0.0.2", true},
		{"2001:db8::1", true}, {"2001:db8::ffff:1", true}, {"2001:db8::2", false}, {"2001:db8:0:1::2", true}, {"fe80::1%eth0", true},
	} {
		_, err := g.count(netip.MustParseAddr(tc.addr))
		if (err == nil) != tc.want {
			t.Errorf("%s: %v", tc.addr, err)
		}
	}
	if st := g.read(); st.Clients != 5 || st.OverPerClient != 2 {
		t.Errorf("%+v", st)
	}
	a := netip.MustParseAddr("11.0.0.0")
	for range maxClients {
		a = a.Next()
		if _, err := g.count(a); err != nil {
			t.Fatal(err)
		}
	}
	if st := g.read(); st.Clients != maxClients || st.Uncounted != 5 {
		t.Errorf("the table has a bound, and what is beyond it is let in: %+v", st)
	}
}

// An app that has no room holds its clients in the backlog, and loses none of them.
func TestBacklogHoldsClients(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	hold := make(chan struct{})
	gate := func() Outcome { <-hold; return Accepted }
	n.workers(b.passing("w1", gate, saying("w")), b.passing("w2", gate, saying("w")))
	const clients = 200
	var all []*net.TCPConn
	for range clients {
		all = append(all, n.connect())
	}
	n.await("the windows are full", func() bool { return n.bal.Counts().Taken == 8 })
	if st := n.srv.Stats(); st.Accepted > 9 {
		t.Errorf("%d connections were accepted for windows of 8", st.Accepted)
	}
	close(hold)
	for _, c := range all {
		if got := ask(t, c, "x"); got != "w:x" {
			t.Fatalf("got %q", got)
		}
		c.Close()
	}
	n.idle()
	if st := n.srv.Stats(); st.Refused != 0 || st.HandedOff != clients {
		t.Errorf("%+v", st)
	}
}

// Where a gate has to see each connection, workers accept none by themselves; and they do again when it need not.
func TestGateSeesWhatWorkersWouldAccept(t *testing.T) {
	for name, g := range map[string]Gate{"app": {Connections: 3}, "client": {PerClient: 3}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			n := b.node("one", Options{Direct: true})
			x := n.sharing("x")
			x.accept()
			n.ready(x)
			x.report()
			n.srv.SetGates(map[string]Gate{app: g})
			if got := n.names(3); got["x"] != 3 || x.taken.Load() != 0 {
				t.Errorf("%v, by itself %d", got, x.taken.Load())
			}
			n.refused()
			n.srv.SetGates(map[string]Gate{app: {}})
			if got := n.names(3); got["x"] != 3 || x.taken.Load() != 3 {
				t.Errorf("without a limit: %v, by itself %d", got, x.taken.Load())
			}
		})
	}
}
