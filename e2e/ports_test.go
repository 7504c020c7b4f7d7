package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// holders opens connections that the app keeps, one after the other, from the client's place; it waits until each is served or not. Those that are not
// served are counted by why.
func holders(l *lab.Lab, addr string, count int) (held []net.Conn, lost map[string]int) {
	lost = make(map[string]int)
	var mu sync.Mutex
	var wg sync.WaitGroup
	_ = l.Inside(func() error {
		for range count {
			c, err := net.DialTimeout("tcp", addr, 2*time.Second)
			if err != nil {
				mu.Lock()
				lost[kindOf(err)]++
				mu.Unlock()
				continue
			}
			wg.Go(func() {
				_ = c.SetDeadline(time.Now().Add(12 * time.Second))
				_, err := c.Write([]byte("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"))
				if err == nil {
					_, err = bufio.NewReader(c).ReadString('}')
				}
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					_ = c.Close()
					lost[kindOf(err)]++
					return
				}
				held = append(held, c)
			})
		}
		return nil
	})
	wg.Wait()
	return held, lost
}

func kindOf(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return err.Error()
}

// rush opens so many connections at a server without workers as fast as it goes, each of which crosses to another server.
func rush(t *testing.T, l *lab.Lab, door *lab.Node, count int) {
	t.Helper()
	held, lost := holders(l, door.IP+":3000", count)
	for _, c := range held {
		c.Close()
	}
	measured(t, 43, "as fast as it goes at a server without workers: %d of %d held, %v lost", len(held), count, lost)
	if len(lost) > 0 {
		t.Errorf("lost: %v", lost)
	}
}

// TestPortsRunOut gives two servers ports for 200 connections to each peer only: one with workers of its own, one without. Before that, many connections
// come at once at the latter.
func TestPortsRunOut(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 3)
	if !l.Spaces() {
		t.Skip("needs network namespaces")
	}
	join := l.Host(1).IP + ":7946"
	with := l.Host(1).Start("-join", join)
	l.Host(2).Start("-join", join)
	door := l.Host(3).Start("-join", join, "-no-workers")
	with.Voters(30*time.Second, 3, 3)
	with.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	ready(t, with, 4, 20*time.Second)
	rush(t, l, door, 5000)
	for _, n := range []*lab.Node{with, door} {
		if out, err := n.Command("sysctl", "-w", "net.ipv4.ip_local_port_range=40000 40200").CombinedOutput(); err != nil {
			t.Skipf("sysctl: %v: %s", err, out)
		}
	}
	named := func(n *lab.Node) string {
		t.Helper()
		s, err := n.Status()
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(s.Warnings, func(w api.Warning) bool { return strings.HasPrefix(w.What, n.Name+" has no ports left") })
		if i < 0 {
			return ""
		}
		return s.Warnings[i].What + "; to do: " + s.Warnings[i].Remedy
	}
	for _, c := range []struct {
		at    *lab.Node
		what  string
		count int
		lose  bool
	}{{with, "with workers of its own", 700, false}, {door, "without workers", 600, true}} {
		begun := time.Now()
		held, lost := holders(l, c.at.IP+":3000", c.count)
		took := time.Since(begun)
		n := 0
		for _, k := range lost {
			n += k
		}
		said := named(c.at)
		if said == "" && c.lose { // one with workers may never have come to its last port
			t.Errorf("%s: status says nothing of ports", c.what)
		}
		if !c.lose && n > 0 {
			t.Errorf("%s: %d failed: %v", c.what, n, lost)
		}
		line := lineWith(c.at.Output(), "no port left to dial from")
		if line == "" && c.lose {
			t.Errorf("%s: the log says nothing of ports", c.what)
		}
		for _, h := range held {
			_ = h.Close()
		}
		// The kernel keeps the ports of those that the client ended for a minute (TIME_WAIT), unless it is told what the remedy says.
		if out, err := c.at.Command("sysctl", "-w", "net.ipv4.tcp_tw_reuse=1").CombinedOutput(); err != nil {
			t.Fatalf("sysctl: %v: %s", err, out)
		}
		back := lab.Eventually(t, 3*time.Second, func() error {
			_, err := lab.Get(l.Client(true), c.at.URL(3000, "/"))
			return err
		})
		measured(t, 44, "a server %s, 201 ports to each peer: %d connections held at once, %d of %d not served %v, all known after %.1f s; status: %q; log: %q; it serves again %.1f s after they have gone and tcp_tw_reuse was set",
			c.what, len(held), n, c.count, lost, took.Seconds(), said, line, back.Seconds())
	}
	if ejected, err := door.Status(); err != nil || strings.Contains(fmt.Sprint(ejected.Warnings), "did not answer") {
		t.Errorf("peers are blamed for it: %v, %v", ejected.Warnings, err)
	}
}
