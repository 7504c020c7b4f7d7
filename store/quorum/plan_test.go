package quorum

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// now is the time of every picture.
func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// server is "a" for a non-voter and "a*" for a voter.
func servers(names ...string) []Server {
	var out []Server
	for _, n := range names {
		voter := n[len(n)-1] == '*'
		if voter {
			n = n[:len(n)-1]
		}
		out = append(out, Server{ID: n, Addr: n + ":1", Voter: voter})
	}
	return out
}

func alive(id string, since time.Duration) Member {
	return Member{ID: id, Name: id, Addr: id + ":1", Alive: true, Since: now().Add(-since)}
}

func dead(id string, since time.Duration) Member {
	m := alive(id, since)
	m.Alive = false
	return m
}

func left(id string) Member {
	m := dead(id, time.Second)
	m.Left = true
	return m
}

func stable(ids ...string) []Member {
	var out []Member
	for _, id := range ids {
		out = append(out, alive(id, time.Minute))
	}
	return out
}

// planCase is one picture, seen from leader "a", and the change it calls for: "op id", or "" for none.
type planCase struct {
	name    string
	servers []Server
	members []Member
	want    string
}

func checkPlans(t *testing.T, cases []planCase) {
	t.Helper()
	for _, tt := range cases {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			for _, c := range Plan(Inputs{Now: now(), Servers: tt.servers, Members: tt.members, LeaderID: "a"}) {
				got = fmt.Sprintf("%s %s", c.Op, c.Server.ID)
				if c.Reason == "" {
					t.Error("a change without a reason")
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestPlanVotes(t *testing.T) {
	behind := alive("b", time.Minute)
	behind.Behind = true
	noID := alive("", time.Minute)
	checkPlans(t, []planCase{
		{"alone", servers("a*"), stable("a"), ""},
		{"gossip knows nobody", servers("a*", "b*", "c*"), nil, ""},
		{"a new member", servers("a*"), stable("a", "b"), "add-nonvoter b"},
		{"a new member that is dead", servers("a*"), []Member{alive("a", 0), dead("b", 0)}, ""},
		{"a member without identity", servers("a*"), []Member{alive("a", 0), noID}, ""},
		{"two servers keep one voter", servers("a*", "b"), stable("a", "b"), ""},
		{"three servers: the second voter", servers("a*", "b", "c"), stable("a", "b", "c"), "add-voter b"},
		{"three servers: the third voter", servers("a*", "b*", "c"), stable("a", "b", "c"), "add-voter c"},
		{"three servers: done", servers("a*", "b*", "c*"), stable("a", "b", "c"), ""},
		{"not stable yet", servers("a*", "b", "c"), []Member{alive("a", time.Minute), alive("b", time.Second), alive("c", time.Minute)}, ""},
		{"behind the log", servers("a*", "b", "c"), []Member{alive("a", time.Minute), behind, alive("c", time.Minute)}, ""},
		{"four servers keep three voters", servers("a*", "b*", "c*", "d"), stable("a", "b", "c", "d"), ""},
		{"five servers: the fourth voter", servers("a*", "b*", "c*", "d", "e"), stable("a", "b", "c", "d", "e"), "add-voter d"},
		{"seven servers: five voters are enough", servers("a*", "b*", "c*", "d*", "e*", "f", "g"), stable("a", "b", "c", "d", "e", "f", "g"), ""},
		{"the oldest gets the vote", servers("a*", "b", "c"), []Member{alive("a", time.Hour), alive("b", time.Minute), alive("c", time.Hour)}, "add-voter c"},
		{"a dead voter, for a moment", servers("a*", "b*", "c*", "d"), append(stable("a", "b", "d"), dead("c", 9*time.Second)), ""},
		{"a dead voter, and one waits", servers("a*", "b*", "c*", "d"), append(stable("a", "b", "d"), dead("c", 10*time.Second)), "demote c"},
		{"its vote moves on", servers("a*", "b*", "c", "d"), append(stable("a", "b", "d"), dead("c", 10*time.Second)), "add-voter d"},
		{"a dead voter, and nobody waits", servers("a*", "b*", "c*"), append(stable("a", "b"), dead("c", time.Hour)), ""},
		{"dead for a week, and nobody waits", servers("a*", "b*", "c*"), append(stable("a", "b"), dead("c", 168*time.Hour)), ""},
		{"no majority: hands off", servers("a*", "b*", "c*", "d"), append(stable("a", "d"), dead("b", time.Hour), dead("c", time.Hour)), ""},
		{"a dead non-voter", servers("a*", "b"), append(stable("a"), dead("b", 23*time.Hour)), ""},
		{"a long dead non-voter", servers("a*", "b"), append(stable("a"), dead("b", 24*time.Hour)), "remove b"},
	})
}

// zoned puts members into the zones that the last letter of their place names: "a/x".
func zoned(places ...string) []Member {
	var out []Member
	for _, p := range places {
		id, zone, _ := strings.Cut(p, "/")
		m := alive(id, time.Minute)
		m.Zone = zone
		out = append(out, m)
	}
	return out
}

func TestPlanZones(t *testing.T) {
	checkPlans(t, []planCase{
		{"the zone without a vote comes first", servers("a*", "b", "c"), zoned("a/x", "b/x", "c/y"), "add-voter c"},
		{"the zone with the fewest votes comes first", servers("a*", "b*", "c", "d"), zoned("a/x", "b/x", "c/x", "d/y"), "add-voter d"},
		{"two votes more than a zone that waits", servers("a*", "b*", "c*", "d"), zoned("a/x", "b/x", "c/y", "d/z"), "demote b"},
		{"then that one gets it", servers("a*", "b", "c*", "d"), zoned("a/x", "b/x", "c/y", "d/z"), "add-voter d"},
		{"one vote more is even enough", servers("a*", "b*", "c*", "d"), zoned("a/x", "b/x", "c/y", "d/y"), ""},
		{"the leader's own zone keeps the leader", servers("a*", "b*", "c*", "d"), zoned("a/x", "b/y", "c/y", "d/z"), "demote c"},
		{"no zone waits", servers("a*", "b*", "c*", "d"), zoned("a/x", "b/x", "c/x", "d/x"), ""},
		{"a voter is dead: not now", servers("a*", "b*", "c*", "d"), append(zoned("a/x", "b/x", "d/z"), dead("c", time.Second)), ""},
		{"too many: of the zone with the most votes", servers("a*", "b*", "c*", "d*"), zoned("a/x", "b/y", "c/y", "d/z"), "demote c"},
	})
}

func TestPlanServers(t *testing.T) {
	moved := alive("b", time.Minute)
	moved.Addr = "new:1"
	wiped := Member{ID: "b2", Name: "b", Addr: "other:1", Alive: true, Since: now()}
	wipedHere := Member{ID: "b2", Name: "b", Addr: "b:1", Alive: true, Since: now()}
	checkPlans(t, []planCase{
		{"a non-voter left", servers("a*", "b"), append(stable("a"), left("b")), "remove b"},
		{"a voter left", servers("a*", "b*", "c*"), append(stable("a", "b"), left("c")), "remove c"},
		{"two voters remain: one vote too many", servers("a*", "b*"), stable("a", "b"), "demote b"},
		{"four voters remain: one too many", servers("a*", "b*", "c*", "d*"), stable("a", "b", "c", "d"), "demote d"},
		{"too many, but one is dead", servers("a*", "b*", "c*", "d*"), append(stable("a", "b", "c"), dead("d", time.Hour)), ""},
		{"a voter left that is needed", servers("a*", "b*", "c*", "d*"), append(stable("a"), dead("b", 0), dead("c", 0), left("d")), ""},
		{"the leader left", servers("a*", "b*", "c*"), append(stable("b", "c"), left("a")), "transfer b"},
		{"the leader left and must be succeeded", servers("a*", "b"), append(stable("b"), left("a")), "add-voter b"},
		{"the leader left alone", servers("a*"), []Member{left("a")}, ""},
		{"a wiped disk, same address", servers("a*", "b*", "c*"), append(stable("a", "c"), wipedHere), "remove b"},
		{"a wiped disk, same name", servers("a*", "b*", "c*"), append(stable("a", "c"), dead("b", 0), wiped), "remove b"},
		{"a wiped disk, old one gone", servers("a*", "c*"), append(stable("a", "c"), wipedHere), "demote c"},
		{"two of one name, both alive", servers("a*", "b", "c"), append(stable("a", "b"), wiped), "add-nonvoter b2"},
		{"a wiped disk, but no majority without it", servers("a*", "b*", "c*", "d*"), append(stable("a"), dead("c", 0), dead("d", 0), wipedHere), ""},
		{"a new address", servers("a*", "b*", "c*"), append(stable("a", "c"), moved), "readdress b"},
		{"the leader's new address", servers("a*"), []Member{{ID: "a", Addr: "new:1", Alive: true}}, "readdress a"},
		{"a new address that another server has", servers("a*", "b", "c"), append(stable("a", "c"), Member{ID: "b", Addr: "c:1", Alive: true, Since: now()}), ""},
	})
}

func TestPlanKeepsTheVoteOfAMovedServer(t *testing.T) {
	for _, name := range []string{"b", "b*"} {
		members := append(stable("a"), Member{ID: "b", Addr: "new:1", Alive: true, Since: now()})
		got := Plan(Inputs{Now: now(), Servers: servers("a*", name, "c*"), Members: append(members, stable("c")...), LeaderID: "a"})
		want := servers(name)[0]
		want.Addr = "new:1"
		if len(got) != 1 || got[0].Op != OpReaddress || got[0].Server != want {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// world is a cluster that carries out what is planned, as far as Raft would.
type world struct {
	servers map[string]Server
	members map[string]Member
	leader  string
	now     time.Time
}

func (w *world) inputs() Inputs {
	in := Inputs{Now: w.now, LeaderID: w.leader}
	for _, s := range w.servers {
		in.Servers = append(in.Servers, s)
	}
	for _, m := range w.members {
		in.Members = append(in.Members, m)
	}
	return in
}

// majority reports whether the living voters are one.
func (w *world) majority() bool {
	voters, living := 0, 0
	for _, s := range w.servers {
		if s.Voter {
			voters++
			if w.members[s.ID].Alive {
				living++
			}
		}
	}
	return living >= voters/2+1
}

// elect makes a living voter lead, if the leader is gone.
func (w *world) elect() {
	if w.members[w.leader].Alive && w.servers[w.leader].Voter {
		return
	}
	for _, s := range w.servers {
		if s.Voter && w.members[s.ID].Alive {
			w.leader = s.ID
		}
	}
}

func (w *world) do(t *testing.T, c Change) {
	t.Helper()
	switch c.Op {
	case OpRemove:
		if c.Server.ID == w.leader {
			t.Fatal("the leader removes itself")
		}
		delete(w.servers, c.Server.ID)
	case OpTransfer:
		if !w.members[c.Server.ID].Alive || !w.servers[c.Server.ID].Voter {
			t.Fatalf("leadership goes to %s, which cannot lead", c.Server.ID)
		}
		w.leader = c.Server.ID
	case OpDemote:
		if c.Server.ID == w.leader {
			t.Fatal("the leader loses its vote")
		}
		w.servers[c.Server.ID] = c.Server
	default:
		w.servers[c.Server.ID] = c.Server
	}
}

// TestPlanInARandomWorld lets members come, die, return and leave at random. As long as there was a majority, no change
// may cost it, and when the world rests, the votes are right.
func TestPlanInARandomWorld(t *testing.T) {
	for seed := range uint64(150) {
		r := rand.New(rand.NewPCG(seed, 7))
		first := alive("n0", 0)
		w := &world{
			servers: map[string]Server{"n0": {ID: "n0", Addr: first.Addr, Voter: true}},
			members: map[string]Member{"n0": first}, leader: "n0", now: now(),
		}
		w.disturb(t, r)
		w.rest(t, seed)
	}
}

func (w *world) disturb(t *testing.T, r *rand.Rand) {
	t.Helper()
	for range 150 {
		w.now = w.now.Add(time.Duration(r.IntN(8000)) * time.Millisecond)
		id := fmt.Sprintf("n%d", r.IntN(9))
		m := w.members[id]
		switch before := m; r.IntN(4) {
		case 0, 1:
			if !m.Alive {
				w.members[id] = Member{ID: id, Name: id, Addr: id + ":1", Zone: zoneOf(id), Alive: true, Since: w.now}
			}
		case 2:
			m.Alive, m.Since = false, w.now
			if w.members[id] = m; m.ID == "" || !w.majority() {
				w.restore(id, before)
			}
		case 3:
			if m.Alive && id != w.leader {
				m.Alive, m.Left, m.Since = false, true, w.now
				if w.members[id] = m; !w.majority() {
					w.restore(id, before)
				}
			}
		}
		w.elect()
		w.step(t)
	}
}

func (w *world) restore(id string, m Member) {
	if w.members[id] = m; m.ID == "" {
		delete(w.members, id)
	}
}

// step plans once and carries it out; it reports whether there was anything to do.
func (w *world) step(t *testing.T) bool {
	t.Helper()
	changes := Plan(w.inputs())
	if again := Plan(w.inputs()); !cmp.Equal(changes, again) {
		t.Fatalf("the same picture gave %v and %v", changes, again)
	}
	for _, c := range changes {
		w.do(t, c)
		if !w.majority() {
			t.Fatalf("%+v cost the majority", c)
		}
	}
	return len(changes) > 0
}

func (w *world) rest(t *testing.T, seed uint64) {
	t.Helper()
	for id, m := range w.members {
		w.members[id] = Member{ID: id, Name: id, Addr: id + ":1", Zone: zoneOf(id), Alive: true, Since: m.Since}
	}
	w.now = w.now.Add(time.Hour)
	for range 100 {
		if !w.step(t) {
			break
		}
	}
	voters := 0
	for _, s := range w.servers {
		if s.Voter {
			voters++
		}
	}
	if want := oddUpTo(min(DefaultMaxVoters, len(w.members))); voters != want || len(w.servers) != len(w.members) {
		t.Fatalf("seed %d: %d voters of %d servers for %d members, want %d voters", seed, voters, len(w.servers), len(w.members), want)
	}
	w.checkSpread(t, seed)
}

// zoneOf has three zones of the nine members.
func zoneOf(id string) string { return string('x' + id[1]%3) }

// checkSpread finds out whether a vote could move to a zone with fewer.
func (w *world) checkSpread(t *testing.T, seed uint64) {
	t.Helper()
	votes := make(map[string]int)
	for id, s := range w.servers {
		if s.Voter {
			votes[zoneOf(id)]++
		}
	}
	for id, s := range w.servers {
		for zone, n := range votes {
			if !s.Voter && n > votes[zoneOf(id)]+1 {
				t.Fatalf("seed %d: zone %s has %d votes, and %s in zone %s none, which has %d", seed, zone, n, id, zoneOf(id), votes[zoneOf(id)])
			}
		}
	}
}

func TestOddUpTo(t *testing.T) {
	for n, want := range map[int]int{-1: 1, 0: 1, 1: 1, 2: 1, 3: 3, 4: 3, 5: 5, 6: 5} {
		if got := oddUpTo(n); got != want {
			t.Errorf("oddUpTo(%d) = %d, want %d", n, got, want)
		}
	}
}
