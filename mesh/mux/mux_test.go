package mux

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/armon/go-metrics"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, key *Key, name string) *Mux {
	t.Helper()
	m, err := Open(Options{Bind: "127.0.0.1:0", Key: key, Self: Identity{ID: "s-" + name, Name: name, Role: "server"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

func dial(t *testing.T, m *Mux, p Protocol, to *Mux) net.Conn {
	t.Helper()
	c, err := m.Dial(t.Context(), p, to.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// modes runs a test with a cluster key and without.
func modes(t *testing.T, f func(t *testing.T, key *Key)) {
	k := newKey(t)
	t.Run("secure", func(t *testing.T) { f(t, &k) })
	t.Run("insecure", func(t *testing.T) { f(t, nil) })
}

func TestEveryProtocolReachesItsListener(t *testing.T) {
	modes(t, func(t *testing.T, key *Key) {
		a, b := open(t, key, "a"), open(t, key, "b")
		for _, p := range protocols() {
			l := b.Listen(p)
			c := dial(t, a, p, b)
			s, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if who, ok := PeerOf(c); !ok || who.Name != "b" || who.ID != "s-b" || who.Role != "server" {
				t.Errorf("%s: the dialing side sees %+v", p, who)
			}
			if who, ok := PeerOf(s); !ok || who.Name != "a" {
				t.Errorf("%s: the accepting side sees %+v", p, who)
			}
			// Half-close both ways.
			if _, err := io.WriteString(c, "question"); err != nil {
				t.Fatal(err)
			}
			if err := c.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got, err := io.ReadAll(s); err != nil || string(got) != "question" {
				t.Errorf("%q, %v", got, err)
			}
			if _, err := io.WriteString(s, "answer"); err != nil {
				t.Fatal(err)
			}
			_ = s.Close()
			if got, err := io.ReadAll(c); err != nil || string(got) != "answer" {
				t.Errorf("%q, %v", got, err)
			}
		}
		waitFor(t, func() bool { s := b.Stats(); return s == (Stats{Accepted: uint64(len(protocols()))}) })
		if s := a.Stats(); s.Dialed != uint64(len(protocols())) {
			t.Errorf("%+v", s)
		}
	})
}

func TestPeerOfForeignConnections(t *testing.T) {
	c, d := net.Pipe()
	defer c.Close()
	defer d.Close()
	for _, x := range []net.Conn{nil, c, tls.Client(c, &tls.Config{ServerName: "x"})} {
		if who, ok := PeerOf(x); ok {
			t.Errorf("%T: %+v", x, who)
		}
	}
}

// Repeated dials resume the TLS session, and both sides still know whom they talk to.
func TestResumption(t *testing.T) {
	k := newKey(t)
	a, b, other := open(t, &k, "a"), open(t, &k, "b"), open(t, &k, "other")
	lb, lo := b.Listen(Load), other.Listen(Load)
	exchange := func(to *Mux, l net.Listener) bool {
		c := dial(t, a, Load, to)
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if _, err := s.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		near, ok := PeerOf(c)
		far, ok2 := PeerOf(s)
		if !ok || !ok2 || near.Name != to.self.Name || far.Name != "a" {
			t.Errorf("identities %+v, %+v", near, far)
		}
		return c.(*secureConn).ConnectionState().DidResume && s.(*secureConn).ConnectionState().DidResume
	}
	if exchange(b, lb) {
		t.Error("the first dial cannot resume")
	}
	if exchange(other, lo) {
		t.Error("a session of one peer was offered to another")
	}
	if !exchange(b, lb) || !exchange(other, lo) {
		t.Error("the second dial did not resume")
	}
}

func TestRefusalsAreClearToTheDialer(t *testing.T) {
	k1, k2 := newKey(t), newKey(t)
	for _, test := range []struct {
		name   string
		client *Key
		server *Key
		want   error
	}{
		{"another key", &k1, &k2, ErrWrongKey},
		{"key against none", &k1, nil, ErrPeerInsecure},
		{"none against key", nil, &k2, ErrPeerSecure},
	} {
		t.Run(test.name, func(t *testing.T) {
			a, b := open(t, test.client, "a"), open(t, test.server, "b")
			b.Listen(Gossip)
			for range 20 {
				c, err := a.Dial(t.Context(), Gossip, b.Addr().String())
				if !errors.Is(err, test.want) {
					t.Fatalf("%v, %v", c, err)
				}
			}
			waitFor(t, func() bool { return b.Stats().Refused == 20 && b.Stats().Handshakes == 0 })
			if b.Stats().Accepted != 0 {
				t.Error("something was accepted")
			}
		})
	}
}

// waitFor polls for something that another goroutine is about to do.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	limit, tick := time.After(10*time.Second), time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("not within 10 s")
		}
	}
}

// Who has no certificate of the cluster gets no byte through, whatever it says.
func TestStrangersAreRefused(t *testing.T) {
	k, stranger := newKey(t), newKey(t)
	b := open(t, &k, "b")
	l := b.Listen(Raft)
	foreign, err := newCredentials(Identity{ID: "x", Name: "x", Role: "server"}, stranger)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := foreign.dialer.GetClientCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	base := tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn(Raft)}} // the attacker does not care who we are
	none, alien, old := base.Clone(), base.Clone(), base.Clone()
	alien.Certificates = []tls.Certificate{*cert}
	old.MaxVersion = tls.VersionTLS12
	for name, cfg := range map[string]*tls.Config{"no certificate": none, "alien certificate": alien, "TLS 1.2": old} {
		c, err := tls.Dial("tcp", b.Addr().String(), cfg)
		if err == nil {
			_, _ = c.Write([]byte("evil"))
			_, err = c.Read(make([]byte, 1))
			_ = c.Close()
		}
		if err == nil {
			t.Errorf("%s: was served", name)
		}
	}
	member, err := newCredentials(Identity{ID: "y", Name: "y", Role: "server"}, k)
	if err != nil {
		t.Fatal(err)
	}
	noProtocol := member.dialer.Clone()
	noProtocol.NextProtos = nil
	if c, err := tls.Dial("tcp", b.Addr().String(), noProtocol); err == nil {
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("a stream without a protocol was served")
		}
		_ = c.Close()
	}
	for _, junk := range []string{"GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\xff\xff", preambleMagic, strings.Repeat("\x00", 4096)} {
		throw(t, b, junk)
	}
	waitFor(t, func() bool { return b.Stats().Refused == 8 && b.Stats().Handshakes == 0 })
	if n := b.Stats().Accepted; n != 0 || len(l.(*listener).queue) != 0 {
		t.Errorf("%d streams were accepted", n)
	}
}

// throw sends junk to a mux and reads until it hangs up.
func throw(t *testing.T, b *Mux, junk string) {
	t.Helper()
	c, err := net.Dial("tcp", b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, junk)
	_ = c.(*net.TCPConn).CloseWrite()
	_, _ = io.Copy(io.Discard, c)
}

func TestJunkAgainstInsecure(t *testing.T) {
	b := open(t, nil, "b")
	b.Listen(Gossip)
	wrong := preamble{protocol: "telnet", self: Identity{ID: "x", Name: "x", Role: "server"}}.encode()
	nameless := preamble{protocol: Gossip}.encode()
	for _, junk := range []string{"GET / HTTP/1.1\r\n\r\n", preambleMagic, string(wrong), string(nameless), ""} {
		throw(t, b, junk)
	}
	waitFor(t, func() bool { return b.Stats().Refused == 5 && b.Stats().Handshakes == 0 })
}

// Clients that say nothing take places, but neither all of them nor for ever, and nobody else waits for them.
func TestSilentClientsStallNobody(t *testing.T) {
	modes(t, func(t *testing.T, key *Key) {
		a, b := open(t, key, "a"), open(t, key, "b")
		l := b.Listen(Forward)
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		var silent []net.Conn
		defer func() {
			for _, c := range silent {
				_ = c.Close()
			}
		}()
		for range 100 {
			c, err := d.Dial("tcp", b.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			silent = append(silent, c)
		}
		waitFor(t, func() bool {
			s := b.Stats()
			return s.Handshakes == maxHandshakesPerHost && s.Refused == 100-maxHandshakesPerHost
		})
		begin := time.Now()
		dial(t, a, Forward, b)
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("an honest stream took %v", d)
		}
		// Close does not wait for the silent ones.
		begin = time.Now()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("close took %v", d)
		}
	})
}

func TestAdmissionBounds(t *testing.T) {
	a := newAdmission(3, 2)
	h1, h2, h3 := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2"), netip.MustParseAddr("10.0.0.3")
	ended := 0
	enter := func(h netip.Addr) *place { return a.enter(h, func() { ended++ }) }
	first, second, none, third := enter(h1), enter(h1), enter(h1), enter(h2)
	if first == nil || second == nil || none != nil || third == nil || enter(h2) != nil || ended != 0 {
		t.Error("the bounds are not held")
	}
	late := enter(h3) // the oldest of whoever has most gives way
	if late == nil || ended != 1 || a.inFlight() != 3 || len(a.byHost[h1]) != 1 {
		t.Errorf("%d were ended, %d in flight", ended, a.inFlight())
	}
	if enter(h3) != nil || ended != 1 {
		t.Error("hosts that have one each end each other's")
	}
	for _, p := range []*place{first, second, third, late} {
		a.leave(p)
	}
	if a.inFlight() != 0 || len(a.byHost) != 0 {
		t.Errorf("%d in flight, %d hosts remembered", a.inFlight(), len(a.byHost))
	}
}

func TestStreamsNobodyWantsAreCounted(t *testing.T) {
	sink := metrics.NewInmemSink(time.Minute, time.Hour)
	cfg := metrics.DefaultConfig("")
	cfg.EnableHostname, cfg.EnableRuntimeMetrics = false, false
	met, err := metrics.New(cfg, sink)
	if err != nil {
		t.Fatal(err)
	}
	a := open(t, nil, "a")
	b, err := Open(Options{Bind: "127.0.0.1:0", Self: Identity{ID: "b", Name: "b", Role: "server"}, Metrics: met})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	ended := func(c net.Conn) {
		t.Helper()
		if _, err := c.Read(make([]byte, 1)); err == nil {
			t.Error("the stream was not closed")
		}
	}
	ended(dial(t, a, Raft, b)) // nobody listens
	l := b.Listen(API)
	for range queueLength {
		dial(t, a, API, b)
	}
	waitFor(t, func() bool { return len(l.(*listener).queue) == queueLength })
	ended(dial(t, a, API, b)) // nobody accepts
	_ = l.Close()
	for _, reason := range []string{reasonNoListener, reasonQueueFull} {
		if _, ok := sink.Data()[0].Counters["mux.refused;reason="+reason]; !ok {
			t.Errorf("no counter for %s", reason)
		}
	}
}

func TestListenerLife(t *testing.T) {
	a, b := open(t, nil, "a"), open(t, nil, "b")
	l := b.Listen(API)
	if _, err := b.Listen(API).Accept(); !errors.Is(err, ErrListening) {
		t.Errorf("second listener: %v", err)
	}
	queued := dial(t, a, API, b)
	waitFor(t, func() bool { return len(l.(*listener).queue) == 1 })
	waiting := make(chan error, 1)
	other := b.Listen(Raft)
	go func() {
		_, err := other.Accept()
		waiting <- err
	}()
	_, _ = l.Close(), l.Close()
	if _, err := queued.Read(make([]byte, 1)); err == nil {
		t.Error("a queued stream survived the listener")
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	again := b.Listen(API)
	dial(t, a, API, b)
	if c, err := again.Accept(); err != nil {
		t.Errorf("listening again: %v", err)
	} else {
		_ = c.Close()
	}
	if err := b.Close(); err != nil {
		t.Error(err)
	}
	if err := <-waiting; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if _, err := b.Listen(Gossip).Accept(); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

func TestOpenErrors(t *testing.T) {
	m := open(t, nil, "a")
	self := Identity{ID: "i", Name: "n", Role: "server"}
	if _, err := Open(Options{Bind: m.Addr().String(), Self: self}); !errors.Is(err, syscall.EADDRINUSE) {
		t.Error(err)
	}
	if _, err := Open(Options{Bind: "127.0.0.1:0"}); err == nil || !strings.Contains(err.Error(), "no id") {
		t.Error(err)
	}
}

func TestDialErrors(t *testing.T) {
	k := newKey(t)
	m := open(t, &k, "a")
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	_ = gone.Close()
	if _, err := m.Dial(t.Context(), Raft, gone.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := m.Dial(ctx, Raft, silent.Addr().String()); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

// MPTCP sockets cannot be spliced or put in a sockmap.
func TestPlainTCP(t *testing.T) {
	a, b := open(t, nil, "a"), open(t, nil, "b")
	l := b.Listen(Forward)
	c := dial(t, a, Forward, b)
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, x := range []net.Conn{c, s} {
		raw, err := x.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) {
			if p, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || p != unix.IPPROTO_TCP {
				t.Errorf("protocol %d, %v", p, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

// Many streams at once, all protocols mixed, while others misbehave: every one arrives at its own listener.
func TestManyStreamsAtOnce(t *testing.T) {
	modes(t, func(t *testing.T, key *Key) {
		a, b := open(t, key, "a"), open(t, key, "b")
		var servers, clients sync.WaitGroup
		for _, p := range protocols() {
			l := b.Listen(p)
			servers.Go(func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					servers.Go(func() {
						_, _ = fmt.Fprint(c, p)
						_ = c.Close()
					})
				}
			})
		}
		for i := range 60 {
			p := protocols()[i%len(protocols())]
			clients.Go(func() {
				c, err := a.Dial(t.Context(), p, b.Addr().String())
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				if got, err := io.ReadAll(c); err != nil || string(got) != string(p) {
					t.Errorf("%s: %q, %v", p, got, err)
				}
			})
		}
		clients.Wait()
		_ = b.Close()
		servers.Wait()
	})
}

func BenchmarkDial(b *testing.B) {
	k := newKey(b)
	for name, key := range map[string]*Key{"secure": &k, "insecure": nil} {
		b.Run(name, func(b *testing.B) {
			m, err := Open(Options{Bind: "127.0.0.1:0", Key: key, Self: Identity{ID: "i", Name: "n", Role: "server"}})
			if err != nil {
				b.Fatal(err)
			}
			defer m.Close()
			l := m.Listen(Forward)
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					_, _ = c.Write([]byte{1})
					_ = c.Close()
				}
			}()
			for b.Loop() {
				c, err := m.Dial(b.Context(), Forward, m.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				if _, err := c.Read(make([]byte, 1)); err != nil {
					b.Fatal(err)
				}
				_ = c.Close()
			}
		})
	}
}
