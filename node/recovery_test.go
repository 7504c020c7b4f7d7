package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"meshnode/node/api"
	"meshnode/store"
)

// server is one that answers, with a log up to index of term; index 0 is one that does not answer.
func server(name string, voter bool, index, term uint64) asked {
	a := asked{Server: store.Server{ID: name + "-1", Addr: name + ":7946", Voter: voter}, name: name}
	if index > 0 {
		a.answers, a.state = true, &api.ServerState{ID: a.ID, LastIndex: index, LastTerm: term, Term: term + 3}
	}
	return a
}

func TestJudge(t *testing.T) {
	dead := func(name string) asked { return server(name, true, 0, 0) }
	with := func(a asked, change func(*asked)) asked {
		change(&a)
		return a
	}
	led := func(a *asked) { a.state.Leader, a.state.Quorum = "b-1", true }
	for _, c := range []struct {
		what    string
		servers []asked // self is a
		lost    string
		want    string // of the refusal; empty = it may go on
	}{
		{"the last of three", []asked{server("a", true, 9, 2), dead("b"), dead("c")}, "b c", ""},
		{"by identity, in another order", []asked{server("a", true, 9, 2), dead("b"), dead("c")}, "c-1 b", ""},
		{"two of five", []asked{server("a", true, 9, 2), server("b", true, 9, 2), dead("c"), dead("d"), dead("e")}, "c d e", ""},
		{"a non-voter that cannot be reached is not asked for", []asked{server("a", true, 9, 2), dead("b"), dead("c"), server("n", false, 0, 0)}, "b c", ""},
		{"a non-voter is left alone", []asked{server("a", false, 9, 2), dead("b")}, "b", ""},
		{"a non-voter has more than the voter", []asked{server("a", false, 9, 2), server("b", true, 8, 2), dead("c"), dead("d")}, "c d", ""},
		{"there is a leader", []asked{with(server("a", true, 9, 2), led), server("b", true, 9, 2), dead("c")}, "c", "there is a quorum, with b as the leader"},
		{"another hears a leader", []asked{server("a", true, 9, 2), with(server("n", false, 9, 2), led), dead("b"), dead("c")}, "b c", "n is part of a quorum, with b as the leader"},
		{"a lost one answers", []asked{server("a", true, 9, 2), server("b", true, 9, 2), dead("c")}, "b c", "b answers: it is not lost"},
		{"a lost one is heard", []asked{server("a", true, 9, 2), with(dead("b"), func(a *asked) { a.heard = true }), dead("c")}, "b c", "b does not answer, but was heard of"},
		{"a majority is left", []asked{server("a", true, 9, 2), server("b", true, 9, 2), dead("c")}, "c", "2 of 3 voters answer: they are a majority"},
		{"one is not named", []asked{server("a", true, 9, 2), dead("b"), dead("c")}, "b", "2 of 3 voters cannot be reached: b, c; bring back enough of them, or, if they are gone for good: meshnode recover -lost b,c"},
		{"none is named", []asked{server("a", true, 9, 2), dead("b"), dead("c")}, "", "meshnode recover -lost b,c"},
		{"one that has no vote is named", []asked{server("a", true, 9, 2), dead("b"), dead("c"), server("n", false, 0, 0)}, "b c n", "meshnode recover -lost b,c"},
		{"nobody of that name", []asked{server("a", true, 9, 2), dead("b"), dead("c")}, "b x", `there is no server "x"`},
		{"another has more", []asked{server("a", true, 9, 2), server("b", true, 10, 2), dead("c"), dead("d"), dead("e")}, "c d e",
			"b has more of the configuration's log than this server: entry 10 of term 2, and here it is 9 of 2; run it on b"},
		{"a newer term is more", []asked{server("a", true, 19, 2), server("b", true, 10, 3), dead("c"), dead("d"), dead("e")}, "c d e", "run it on b"},
		{"another votes", []asked{server("a", false, 9, 2), server("b", true, 9, 2), dead("c"), dead("d")}, "c d", "this server has no vote, and b has one; run it on b"},
		{"an older release", []asked{server("a", true, 9, 2), with(server("b", true, 9, 2), func(a *asked) { a.state = nil }), dead("c"), dead("d"), dead("e")}, "c d e", "b runs an older release"},
		{"it is no server", []asked{server("b", true, 9, 2), dead("c"), dead("d")}, "c d", "this server is none of the configuration's"},
	} {
		j, err := judge("a-1", slices.Clone(c.servers), strings.Fields(c.lost))
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.what, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || api.CodeOf(err) != api.CodeConflict):
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		case c.want == "" && (j.term < 4 || len(j.lost) != len(strings.Fields(c.lost))):
			t.Errorf("%s: %+v", c.what, j)
		}
	}
}

// TestJudgeChoosesOne has of all survivors exactly one go on, whoever is asked.
func TestJudgeChoosesOne(t *testing.T) {
	servers := []asked{server("a", false, 9, 2), server("b", true, 9, 2), server("d", true, 9, 2), server("c", true, 9, 1),
		server("x", true, 0, 0), server("y", true, 0, 0), server("z", true, 0, 0)}
	var may []string
	for _, s := range servers {
		if !s.answers {
			continue
		}
		if _, err := judge(s.ID, slices.Clone(servers), []string{"x", "y", "z"}); err == nil {
			may = append(may, s.name)
		}
	}
	if !slices.Equal(may, []string{"b"}) {
		t.Errorf("%v may go on, want b alone", may)
	}
}

// TestOpenErrors has the operator told which commands to run.
func TestOpenErrors(t *testing.T) {
	n := &Node{dir: &folder{path: "/d"}}
	damaged := n.openError(fmt.Errorf("open store: /d/raft/snapshots/2-9-1: CRC mismatch: %w", store.ErrSnapshotLost)).Error()
	for _, want := range []string{"/d/raft/snapshots/2-9-1: CRC mismatch", "mv /d/raft /d/raft.damaged && rm /d/identity.json", "meshnode snapshot restore /d/raft.damaged/configuration.bin"} {
		if !strings.Contains(damaged, want) {
			t.Errorf("%q is not in: %s", want, damaged)
		}
	}
	if full := n.openError(fmt.Errorf("write to raft log: %w", syscall.ENOSPC)).Error(); !strings.Contains(full, "free some space on the disk of /d/raft") {
		t.Error(full)
	}
	if other := errors.New("other"); n.openError(other) != other {
		t.Error("an error without a remedy was changed")
	}
}

func TestReadSnapshot(t *testing.T) {
	if _, err := ReadSnapshot([]byte("no snapshot at all")); err == nil || !strings.Contains(err.Error(), "damaged bytes") {
		t.Error(err)
	}
}
