package e2e

import (
	"os"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// TestNamesAreGone runs a cluster that was joined by a name, and has names not be answered any more: first for the servers that run, then for one that
// starts. Its cable and its name server are there and say nothing, which is the worst.
func TestNamesAreGone(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 3)
	if !l.Spaces() {
		t.Skip("needs hosts with name servers of their own")
	}
	var nodes []*lab.Node
	for i := range 3 {
		h := l.Host(i + 1)
		h.NameServer(h.Nobody()) // the file is there before the host's first process
		nodes = append(nodes, h.Start("-join", "seed:7946"))
	}
	nodes[0].Voters(30*time.Second, 3, 3)
	nodes[0].Must("start", "-n", "web", "-i", "1", lab.App(t, "plain.js"))
	ready(t, nodes[0], 3, 20*time.Second)
	where := owners(t, nodes[0])
	for _, n := range nodes {
		n.ForgetNames()
	}
	streams := doors(nodes, 60)
	under(t, l, streams, func() {
		for end := time.Now().Add(15 * time.Second); time.Now().Before(end); time.Sleep(time.Second) {
			for _, n := range nodes {
				if r := change(n, 1); r.Code != 0 {
					t.Errorf("a change at %s: %s", n.Name, r.Err)
				}
				n.Voters(3*time.Second, 3, 3)
			}
		}
	})
	tell(t, streams, where)
	f, sent, _ := lostOf(streams)
	if f > 0 {
		t.Errorf("%d of %d requests failed", f, sent)
	}
	measured(t, 52, "the names of all servers gone, and a name server that says nothing: %d of %d requests failed in 15 s, changes at all servers go on", f, sent)
	for _, c := range []struct {
		what string
		file string
	}{{"a name server that says nothing", ""}, {"no name server", "\n"}} {
		victim := nodes[2]
		if c.file != "" {
			if err := os.WriteFile(victim.ResolvConf(), []byte(c.file), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		victim.Kill()
		memberStatus(t, nodes[0], victim.Name, "failed", 10*time.Second)
		begun := time.Now()
		victim.Restart()
		back := nodes[0].Voters(40*time.Second, 3, 3)
		victim.Voters(40*time.Second, 3, 3)
		ready(t, victim, 3, 20*time.Second)
		took := time.Since(begun)
		if took > 10*time.Second {
			t.Errorf("%s: it took %v", c.what, took)
		}
		measured(t, 52, "a server started again with %s: a member after %.1f s, its worker ready after %.1f s", c.what, back.Seconds(), took.Seconds())
	}
}
