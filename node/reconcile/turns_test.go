package reconcile

import (
	"fmt"
	"testing"
	"time"
)

func TestNext(t *testing.T) {
	const limit = time.Minute
	is := func(name string, change func(*Peer)) Peer {
		p := Peer{Name: name, Limit: limit, Why: "0 of 2 ready"}
		change(&p)
		return p
	}
	idle := func(*Peer) {}
	done := func(p *Peer) { p.Done = true }
	failed := func(p *Peer) { p.Failed, p.Why = true, "exit code 1" }
	working := func(p *Peer) { p.Working = limit }
	hung := func(p *Peer) { p.Working = limit + 1 }
	down := func(p *Peer) { p.Down, p.Working = Absence, 2*limit }
	dead := func(p *Peer) { p.Down = Absence + 1 }
	left := func(p *Peer) { p.Left = true }
	for _, c := range []struct {
		name  string
		turns []string
		peers []Peer
		want  string
	}{
		{"by name, the leader last", nil, []Peer{is("a", idle), is("c", idle), is("b", idle)}, "turn b"},
		{"the first works", []string{"b"}, []Peer{is("a", idle), is("b", working), is("c", idle)}, "wait"},
		{"the first is done", []string{"b"}, []Peer{is("a", idle), is("b", done), is("c", idle)}, "turn c"},
		{"only the leader is left", []string{"b", "c"}, []Peer{is("a", idle), is("b", done), is("c", done)}, "turn a"},
		{"all are done", []string{"b", "c", "a"}, []Peer{is("a", done), is("b", done), is("c", done)}, "finish"},
		{"it fails", []string{"b"}, []Peer{is("a", idle), is("b", failed), is("c", idle)}, "refuse b: exit code 1"},
		{"it fails where it was done before", []string{"b", "c"}, []Peer{is("a", idle), is("b", failed), is("c", working)}, "refuse b: exit code 1"},
		{"another has failed while one works", []string{"c", "b"}, []Peer{is("a", idle), is("c", working), is("b", failed)}, "refuse b: exit code 1"},
		{"it hangs", []string{"b"}, []Peer{is("a", idle), is("b", hung)}, "refuse b: not done after 1m0s (0 of 2 ready)"},
		{"it is away for a moment", []string{"b"}, []Peer{is("a", idle), is("b", down), is("c", idle)}, "wait"},
		{"it is dead", []string{"b"}, []Peer{is("a", idle), is("b", dead), is("c", idle)}, "turn c"},
		{"the next is away for a moment", []string{"b"}, []Peer{is("a", idle), is("b", done), is("c", down)}, "wait"},
		{"the next is dead", []string{"b"}, []Peer{is("a", idle), is("b", done), is("c", dead)}, "turn a"},
		{"the next has left", []string{"b"}, []Peer{is("a", idle), is("b", done), is("c", left)}, "turn a"},
		{"it has left", []string{"b"}, []Peer{is("a", idle), is("b", left)}, "turn a"},
		{"a failure on a dead node is none", []string{"b"}, []Peer{is("a", idle), is("b", func(p *Peer) { failed(p); dead(p) })}, "turn a"},
		{"one that joins has its turn", []string{"b", "a"}, []Peer{is("a", done), is("b", done), is("n", idle)}, "turn n"},
		{"a former leader had its turn last", []string{"b", "c"}, []Peer{is("a", idle), is("b", done), is("c", done)}, "turn a"},
		{"what one does before its turn counts for nothing", []string{"b"}, []Peer{is("a", failed), is("b", working)}, "wait"},
		{"one that is forgotten", []string{"x", "a"}, []Peer{is("a", done)}, "finish"},
		{"a cluster of one", nil, []Peer{is("a", idle)}, "turn a"},
	} {
		move, node, why := Next(Rolling{Turns: c.turns, Peers: c.peers, Leader: "a"})
		got := map[Move]string{Wait: "wait", Turn: "turn " + node, Finish: "finish", Refuse: fmt.Sprintf("refuse %s: %s", node, why)}[move]
		if got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
