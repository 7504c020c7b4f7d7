package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// asker is a client of datagrams, connected: the kernel lets in nothing but answers from the address it sends to.
func asker(t *testing.T, l *lab.Lab, n *lab.Node, port int) net.Conn {
	t.Helper()
	c, err := l.DialContext(context.Background(), "udp", fmt.Sprintf("%s:%d", n.IP, port))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// asked sends a datagram, again after a while as clients do, and returns who answered.
func asked(c net.Conn, limit time.Duration) (string, error) {
	b := make([]byte, 512)
	for over := time.Now().Add(limit); time.Now().Before(over); {
		if _, err := c.Write([]byte("who?")); err != nil && !strings.Contains(err.Error(), "refused") {
			return "", err
		}
		_ = c.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		if k, err := c.Read(b); err == nil {
			_, who, _ := strings.Cut(string(b[:k]), " ")
			return who, nil
		}
	}
	return "", errors.New("no answer")
}

// who is asked, with a failed test for no answer.
func who(t *testing.T, c net.Conn) string {
	t.Helper()
	out, err := asked(c, 15*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// stays asks a few times more, and wants the same worker.
func stays(t *testing.T, c net.Conn, first string) {
	t.Helper()
	for range 10 {
		if now := who(t, c); now != first {
			t.Errorf("answered by %s and then by %s", first, now)
		}
	}
}

// A program takes datagrams on a private port: each client stays with one worker, which is on another server where one runs none. When that
// server dies the client goes to the next, and a reload loses no client.
func TestDatagramsOfProgram(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("no python3 in PATH: apt-get install --no-install-recommends python3-minimal")
	}
	l := lab.New(t, 3)
	join := l.Host(1).IP + ":7946"
	door := l.Host(1).Start("-join", join, "-no-workers")
	others := []*lab.Node{l.Host(2).Start("-join", join), l.Host(3).Start("-join", join)}
	door.Voters(30*time.Second, 3, 3)
	door.Must("start", "-n", "d", "-i", "2", "-port", "8125/udp", lab.App(t, "udp.py"))
	ready(t, door, 4, 20*time.Second)
	own := make(map[string]string) // node by process
	ws, err := door.Workers()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range ws {
		own[fmt.Sprint(w.PID)] = w.Node
	}
	by := make(map[string][]net.Conn)
	var clients []net.Conn
	for range 8 {
		c := asker(t, l, others[0], 8125)
		first := who(t, c)
		by[first] = append(by[first], c)
		stays(t, c, first)
		if own[first] != others[0].Name {
			t.Errorf("%s was asked, and %s answers", others[0].Name, own[first])
		}
	}
	if len(by) != 2 {
		t.Errorf("8 clients of %s by worker: %v", others[0].Name, by)
	}
	others[0].Must("upgrade", another(t, "meshnode-next"))
	for first, cs := range by {
		for _, c := range cs {
			stays(t, c, first)
		}
	}
	at := make(map[string][]net.Conn)
	for range 8 {
		c := asker(t, l, door, 8125)
		first := who(t, c)
		stays(t, c, first)
		at[own[first]] = append(at[own[first]], c)
		clients = append(clients, c)
	}
	t.Logf("8 clients of the door by server: h2 %d, h3 %d", len(at["h2"]), len(at["h3"]))
	if len(at["h2"]) == 0 || len(at["h3"]) == 0 {
		t.Errorf("all went to one server")
	}
	others[1].Kill()
	begun := time.Now()
	for _, c := range at["h3"] {
		if now := who(t, c); own[now] != "h2" {
			t.Errorf("answered by %s of %q after the end of h3", now, own[now])
		}
	}
	t.Logf("the clients of h3 were answered by h2 %s after its end", time.Since(begun).Round(time.Millisecond))
	before := pids(t, others[0])
	door.Must("reload", "d")
	for _, c := range clients {
		if now := who(t, c); strings.Contains(fmt.Sprint(before), now) {
			t.Errorf("%s answers after the reload: %v", now, before)
		}
	}
}

// clientsOfNode has clients of two workers of a Node.js app. Each stays with its own, which only those of a worker that is killed lose, also over an upgrade;
// they have the one that takes its place.
func clientsOfNode(t *testing.T, l *lab.Lab, n *lab.Node) {
	if strings.Contains(n.Output(), "that they have in common") {
		t.Skip("the kernel or this user's rights do not allow to choose among sockets")
	}
	ws, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	of := make(map[string][]net.Conn)
	for range 24 {
		c := asker(t, l, n, 3002)
		first := who(t, c)
		stays(t, c, first)
		of[first] = append(of[first], c)
	}
	killed, other := fmt.Sprint(ws[0].PID), fmt.Sprint(ws[1].PID)
	t.Logf("24 clients by worker: %d and %d", len(of[killed]), len(of[other]))
	if len(of[killed]) == 0 || len(of[other]) == 0 {
		t.Errorf("all went to one worker")
	}
	n.Must("upgrade", another(t, "meshnode-next"))
	for _, c := range of[other] {
		stays(t, c, other)
	}
	if err := syscall.Kill(ws[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for _, c := range of[killed] {
		if now := who(t, c); now == killed {
			t.Errorf("%s answers after its end", now)
		}
	}
	for _, c := range of[other] {
		stays(t, c, other)
	}
	ready(t, n, 2, 20*time.Second)
	for _, c := range of[killed] {
		if now := who(t, c); now == other {
			t.Errorf("answered by %s, want the one that took the place of %s", other, killed)
		}
	}
}

// A Node.js app's datagrams go to another server from where none of its workers is, also when the only one stops.
func TestDatagramsOfNode(t *testing.T) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	join := l.Host(1).IP + ":7946"
	nodes := []*lab.Node{l.Host(1).Start("-join", join), l.Host(2).Start("-join", join, "-no-workers")}
	nodes[0].Voters(30*time.Second, 2, 1)
	nodes[0].Must("start", "-n", "udp", "-i", "2", lab.App(t, "udp.js"))
	ready(t, nodes[0], 2, 20*time.Second)
	t.Run("each client has one worker", func(t *testing.T) { clientsOfNode(t, l, nodes[0]) })
	nodes[0].Must("scale", "udp", "1")
	ready(t, nodes[0], 1, 20*time.Second)
	here, there := asker(t, l, nodes[0], 3002), asker(t, l, nodes[1], 3002)
	first := who(t, here)
	if got := who(t, there); got != first {
		t.Errorf("by the other server: answered by %s, want %s", got, first)
	}
	stays(t, there, first)
	nodes[0].Must("reload", "udp")
	if got := who(t, there); got == first {
		t.Errorf("%s answers after the reload", got)
	}
}
