package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"meshnode/e2e/lab"
	"meshnode/node/api"
)

// policiesHold sets one policy after the other on the app of three nodes, and shows by connections that it is in force, and that explain names
// who was considered and why one has it. No worker is replaced.
func policiesHold(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	before := pids(t, nodes[0])
	for _, p := range []struct {
		name  string
		shows func(t *testing.T, l *lab.Lab, nodes []*lab.Node) lab.Answer // the last connection through the first node
	}{{"round_robin", takesTurns}, {"least_connections", holdsEqually}, {"random", goesAnywhere}, {"hash", staysWithItsWorker}, {"least_load", leavesTheBusy}} {
		t.Run(p.name, func(t *testing.T) {
			nodes[1].Must("start", "-replace", "-n", "web", "-i", "2", "-policy", p.name, lab.App(t, "plain.js"))
			for _, n := range nodes {
				lab.Eventually(t, 5*time.Second, func() error {
					if e := explained(t, n); e.Policy != p.name {
						return fmt.Errorf("%s is at %s", n.Name, e.Policy)
					}
					return nil
				})
			}
			saysWhy(t, nodes[0], p.name, p.shows(t, l, nodes))
		})
	}
	if now := pids(t, nodes[0]); !maps.Equal(before, now) {
		t.Errorf("the workers were %v and are %v", before, now)
	}
}

// explained is what explain says at a node.
func explained(t *testing.T, n *lab.Node, args ...string) (e api.Explanation) {
	t.Helper()
	r := n.Must("explain", append([]string{"web", "-json", "-n", "64"}, args...)...)
	if err := json.Unmarshal([]byte(r.Out), &e); err != nil {
		t.Fatalf("%v: %s", err, r.Out)
	}
	return e
}

// saysWhy checks what explain says of the last connection and of the next one: three nodes with figures, of which the one with the least has it.
func saysWhy(t *testing.T, n *lab.Node, policy string, last lab.Answer) {
	t.Helper()
	e := explained(t, n)
	for what, d := range map[string]api.Decision{"next": e.Next, "last": e.Last[0]} {
		least := api.Candidate{Score: 1e9}
		for _, c := range d.Considered {
			if c.Workers != 2 || c.State != "free" || !c.Compared && d.Why != "idle here" {
				t.Errorf("%s: considered %+v", what, c)
			}
			if c.Score < least.Score {
				least = c
			}
		}
		if len(d.Considered) != 3 || d.Policy != policy || d.Reason == "" || d.Client != "" && d.Client != clientIP(n.Host) {
			t.Errorf("%s: want three nodes and a reason: %+v", what, d)
		}
		if has := owner(n, d); policy != "least_load" && has != least.Node {
			t.Errorf("%s: %s has the least, and %s the connection", what, least.Node, has)
		}
	}
	if has := owner(n, e.Last[0]); has != last.Node {
		t.Errorf("the last connection went to %s, it says to %s", last.Node, has)
	}
	text := n.Must("explain", "web", "-n", "3").Out
	t.Logf("\n%s", text)
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(strings.TrimSpace(line)) > 80 {
			t.Errorf("a line does not fit: %s", line)
		}
	}
}

// owner is the node that has the connection.
func owner(n *lab.Node, d api.Decision) string {
	if d.Kind == api.PlacedHere {
		return n.Name
	}
	return d.Target
}

// inTurn asks on one new connection after the other.
func inTurn(t *testing.T, c *http.Client, url string, count int) (by map[string]int, last lab.Answer) {
	t.Helper()
	by = make(map[string]int)
	for range count {
		var err error
		if last, err = lab.Get(c, url); err != nil {
			t.Fatal(err)
		}
		by[last.Who()]++
	}
	return by, last
}

// takesTurns: all six workers have the same number. (Where a node says nothing for 20 ms, another is asked as well, and takes a turn.)
func takesTurns(t *testing.T, l *lab.Lab, nodes []*lab.Node) (last lab.Answer) {
	c := l.Client(true)
	lab.Eventually(t, 10*time.Second, func() error {
		var by map[string]int
		by, last = inTurn(t, c, nodes[0].URL(3000, "/"), 60)
		for who, k := range by {
			if k != 10 {
				return fmt.Errorf("%s had %d of 60: %v", who, k, by)
			}
		}
		t.Logf("60 connections: %v", by)
		return nil
	})
	return last
}

// holdsEqually: of twelve connections that are held each of six workers has two.
func holdsEqually(t *testing.T, l *lab.Lab, nodes []*lab.Node) (last lab.Answer) {
	c := l.Client(true)
	by := make(map[string]int)
	for range 12 {
		a, end, err := lab.Hold(c, nodes[0].URL(3000, "/hold"))
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		by[a.Who()]++
		last = a
	}
	t.Logf("12 held connections: %v", by)
	for who, k := range by {
		if k != 2 {
			t.Errorf("%s has %d of 12", who, k)
		}
	}
	return last
}

// goesAnywhere: an idle node passes on two of three, and each worker has some.
func goesAnywhere(t *testing.T, l *lab.Lab, nodes []*lab.Node) lab.Answer {
	by, last := inTurn(t, l.Client(true), nodes[0].URL(3000, "/"), 120)
	t.Logf("120 connections: %v", by)
	for _, n := range nodes {
		for _, worker := range []string{"/0", "/1"} {
			if k := by[n.Name+worker]; k < 5 || k > 40 {
				t.Errorf("%s%s had %d of 120", n.Name, worker, k)
			}
		}
	}
	return last
}

// staysWithItsWorker: the connections of one client reach the same worker through every door, which explain can tell in advance.
func staysWithItsWorker(t *testing.T, l *lab.Lab, nodes []*lab.Node) (last lab.Answer) {
	clients := map[string]*http.Client{clientIP(nodes[0].Host): l.Client(true)}
	for _, n := range nodes {
		if l.Spaces() {
			clients[n.IP] = &http.Client{Transport: &http.Transport{DialContext: n.DialContext, DisableKeepAlives: true}, Timeout: 15 * time.Second}
		}
	}
	for ip, c := range clients {
		all := make(map[string]int)
		for _, door := range nodes {
			by, a := inTurn(t, c, door.URL(3000, "/"), 4)
			for who, k := range by {
				all[who] += k
			}
			if said := owner(door, explained(t, door, "-client", ip).Next); said != a.Node {
				t.Errorf("%s is served by %s, and explain at %s says %s", ip, a.Node, door.Name, said)
			}
		}
		t.Logf("12 connections of %s through three doors: %v", ip, all)
		if len(all) != 1 {
			t.Errorf("%s is served by %v", ip, all)
		}
	}
	_, last = inTurn(t, clients[clientIP(nodes[0].Host)], nodes[0].URL(3000, "/"), 1)
	return last
}

// leavesTheBusy: an idle node serves all itself, one whose workers are held passes connections on.
func leavesTheBusy(t *testing.T, l *lab.Lab, nodes []*lab.Node) (last lab.Answer) {
	c, url := l.Client(true), nodes[0].URL(3000, "/")
	lab.Eventually(t, 10*time.Second, func() error { // as soon as it is no slower than the others any more
		by, _ := inTurn(t, c, url+"?ms=5", 60)
		if k := by["h1/0"] + by["h1/1"]; k <= 54 {
			return fmt.Errorf("idle, it served %d of 60 itself", k)
		}
		return nil
	})
	held := make(map[string]bool)
	for range 20 {
		a, end, err := lab.Hold(c, url+"hold")
		if err != nil {
			t.Fatal(err)
		}
		defer end()
		if a.Node == "h1" {
			held[a.Worker] = true
		}
		if len(held) == 2 {
			break
		}
	}
	lab.Eventually(t, 5*time.Second, func() (err error) {
		if last, err = lab.Get(c, url); err == nil && last.Node == "h1" {
			err = fmt.Errorf("busy, it serves itself")
		}
		return err
	})
	return last
}
