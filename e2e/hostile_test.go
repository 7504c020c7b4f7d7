package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/e2e/bench/load"
	"meshnode/e2e/lab"
	"meshnode/e2e/lab/wire"
	"meshnode/node/api"
)

// state is what nobody without the key may change.
func state(t *testing.T, nodes []*lab.Node) string {
	t.Helper()
	var all []any
	for _, n := range nodes {
		s, err := n.Status()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range s.Members {
			all = append(all, []any{m.Node, m.Addr, m.Status, m.Role, m.Version, m.AppliedIndex})
		}
		all = append(all, s.Cluster, s.Leader, s.Quorum, s.Index, s.Settings, slices.Collect(func(yield func(string) bool) {
			for _, a := range s.Apps {
				if !yield(fmt.Sprint(a.App, a.Release, a.Workers)) {
					return
				}
			}
		}))
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// TestHostileTraffic records what three servers say to each other while one is killed and comes back and the configuration changes, and sends it to
// them again: as it was, with bits changed, and with noise and unfinished handshakes besides. Nothing changes, and clients are served on.
func TestHostileTraffic(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.NewWired(t, 3)
	nodes := l.Cluster()
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, nodes[0], 3, 20*time.Second)
	stop := l.Record(64 << 20)
	nodes[2].Kill()
	memberStatus(t, nodes[0], "h3", "failed", 6*time.Second)
	nodes[2].Restart()
	nodes[0].Voters(20*time.Second, 3, 3)
	nodes[0].Must("scale", "web", "2")
	ready(t, nodes[0], 6, 20*time.Second)
	frames := slices.DeleteFunc(stop(), func(f wire.Frame) bool { return f.To == 0 }) // what went to the client's place was not the servers'
	doorOf := func() *stream {
		return &stream{door: nodes[0], rate: 200, warm: time.Second, work: load.Work{Mean: 5 * time.Millisecond}, patience: 4 * time.Second, clients: 16}
	}
	calm, hostile := doorOf(), doorOf()
	under(t, l, []*stream{calm}, func() { time.Sleep(8 * time.Second) })
	before := state(t, nodes)
	sent := 0
	under(t, l, []*stream{hostile}, func() {
		for range 3 {
			for _, f := range frames {
				l.Replay(f)
				sent++
			}
		}
		sent += alter(t, l, nodes, frames)
		sent += noise(t, l, nodes)
		unfinished(t, l, nodes)
	})
	if after := state(t, nodes); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	for _, s := range []*stream{calm, hostile} {
		tell(t, []*stream{s}, owners(t, nodes[0]))
	}
	f, n, _ := lostOf([]*stream{hostile})
	if f > 0 {
		t.Errorf("%d of %d requests failed", f, n)
	}
	measured(t, 35, "%d frames replayed, altered and made up, 1,500 handshakes left open: no state changed, %d of %d requests failed, p99 of new connections %.0f ms beside %.0f ms before",
		sent, f, n, hostile.fresh.P99, calm.fresh.P99)
}

// alter sends the payloads of recorded UDP packets with a few bits changed, each from another source.
func alter(t *testing.T, l *lab.Lab, nodes []*lab.Node, frames []wire.Frame) int {
	t.Helper()
	sent := 0
	c := udpTo(t, l, nodes[0])
	for _, f := range frames {
		payload := udpPayload(f.Data)
		if len(payload) == 0 {
			continue
		}
		bad := slices.Clone(payload)
		for range 1 + rand.IntN(3) {
			bad[rand.IntN(len(bad))] ^= 1 << rand.IntN(8)
		}
		for _, b := range [][]byte{payload, bad, payload[:rand.IntN(len(payload)+1)]} {
			_, _ = c.Write(b)
			sent++
		}
	}
	return sent
}

// udpPayload is what a frame's UDP packet over IPv4 to the peer port carries, if it is one.
func udpPayload(b []byte) []byte {
	const ethernet, udp = 14, 8
	if len(b) < ethernet+20+udp || b[12] != 8 || b[13] != 0 || b[ethernet+9] != 17 {
		return nil
	}
	p := b[ethernet+int(b[ethernet]&15)*4:]
	if len(p) < udp || binary.BigEndian.Uint16(p[2:]) != 7946 {
		return nil
	}
	return p[udp:]
}

func udpTo(t *testing.T, l *lab.Lab, n *lab.Node) net.Conn {
	t.Helper()
	c, err := l.DialContext(t.Context(), "udp", n.IP+":7946")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// noise sends packets and streams of random bytes, and what begins like TLS, like HTTP, and like a greeting.
func noise(t *testing.T, l *lab.Lab, nodes []*lab.Node) int {
	t.Helper()
	for _, n := range nodes {
		c := udpTo(t, l, n)
		for i := range 10000 {
			b := make([]byte, 1+rand.IntN(1400))
			for k := range b {
				b[k] = byte(rand.Uint32())
			}
			b[0] = byte(i % 16) // the kinds of packets that gossip knows
			_, _ = c.Write(b)
		}
		for i := range 200 {
			s, err := l.Dial(n.IP+":7946", time.Now().Add(2*time.Second))
			if err != nil {
				t.Error(err)
				continue
			}
			junk := [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n"), {22, 3, 1, 255, 255, 1}, []byte("mesh\n\x01\x00"), make([]byte, 1<<16)}[i%4]
			_, _ = s.Write(junk)
			_ = s.Close()
		}
		for range 20 { // the right protocol, and no certificate
			s, err := l.Dial(n.IP+":7946", time.Now().Add(2*time.Second))
			if err != nil {
				t.Error(err)
				continue
			}
			c := tls.Client(s, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"meshnode-raft/1"}})
			_ = c.SetDeadline(time.Now().Add(2 * time.Second))
			_, _ = c.Write([]byte{0})
			if _, err := c.Read(make([]byte, 1)); err == nil {
				t.Error("a stream without a certificate was answered")
			}
			_ = s.Close()
		}
	}
	return len(nodes) * 10220
}

// unfinished opens streams to the peer port that say nothing, and holds them for a while.
func unfinished(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	t.Helper()
	var open []net.Conn
	for i := range 1500 {
		c, err := l.Dial(nodes[i%len(nodes)].IP+":7946", time.Now().Add(2*time.Second))
		if err == nil {
			open = append(open, c)
		}
	}
	time.Sleep(6 * time.Second) // longer than a handshake may take
	for _, c := range open {
		_ = c.Close()
	}
}

// TestDescriptorsRunOut gives a server without workers, through which all goes, descriptors for a few connections only.
func TestDescriptorsRunOut(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 2)
	join := l.Host(1).IP + ":7946"
	door := l.Host(1).Start("-join", join, "-no-workers", "-http", l.Host(1).IP+":7947")
	l.Host(2).Start("-join", join)
	door.Voters(30*time.Second, 2, 1)
	door.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	ready(t, door, 2, 20*time.Second)
	_, goesOn, err := lab.Slow(l.Client(true), door.URL(3000, "/slow?ms=8000"))
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: 160, Max: 160}
	if err := unix.Prlimit(door.Inner(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	var open []net.Conn
	reset := 0
	for range 400 {
		switch c, err := l.Dial(door.IP+":3000", time.Now().Add(time.Second)); {
		case err == nil:
			open = append(open, c)
		case errors.Is(err, syscall.ECONNRESET): // it came before dialing had ended
			reset++
		}
	}
	for _, c := range open {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); errors.Is(err, syscall.ECONNRESET) {
			reset++
		}
	}
	begun := time.Now()
	s, err := door.Status()
	took := time.Since(begun)
	said := warningOf(s)
	if err != nil || !strings.Contains(said, "descriptors") || !strings.Contains(s.Warnings[0].Remedy, "LimitNOFILE") {
		t.Errorf("status while there are no descriptors: %v, %v", s.Warnings, err)
	}
	if counted := gauge(t, l, door, "meshnode_shortage_descriptors_total"); counted < float64(reset) || reset < 300 {
		t.Errorf("%d were reset, %v are counted", reset, counted)
	}
	lines := strings.Count(door.Output(), "connection refused") + strings.Count(door.Output(), "lacks something")
	for _, c := range open {
		_ = c.Close()
	}
	back := lab.Eventually(t, time.Second, func() error {
		_, err := lab.Get(l.Client(true), door.URL(3000, "/"))
		return err
	})
	if err := goesOn(); err != nil {
		t.Errorf("the connection that was open: %v", err)
	}
	measured(t, 42, "400 connections at a server with descriptors for some 60: %d reset at once, %d log lines; status (after %.1f s) says %q, to do: %q; it serves again %.1f s after they have gone",
		reset, lines, took.Seconds(), said, s.Warnings[0].Remedy, back.Seconds())
}

func warningOf(s api.Status) string {
	if len(s.Warnings) == 0 {
		return ""
	}
	return s.Warnings[0].What
}
