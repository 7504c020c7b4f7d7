package node

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/store"
)

// reachLimit is how long a server may take to say that it lives, before it counts as one that cannot be reached.
const reachLimit = 3 * time.Second

// asked is one server of the configuration, and what came of asking it.
type asked struct {
	store.Server
	name    string
	answers bool
	heard   bool             // gossip takes it for alive
	state   *api.ServerState // nil where it does not answer, or is of a release that does not tell
}

// serverName is the name in a server's identity: the one it had when that was made.
func serverName(id string) string { return id[:max(strings.LastIndexByte(id, '-'), 0)] }

// askServers asks every other server of the configuration at once, at the address of the configuration and at the one that gossip has.
func (n *Node) askServers(ctx context.Context) []asked {
	servers := n.store.Servers()
	out := make([]asked, len(servers))
	ctx, cancel := context.WithTimeout(ctx, reachLimit)
	defer cancel()
	var wg sync.WaitGroup
	for i, s := range servers {
		out[i] = asked{Server: s, name: serverName(s.ID)}
		a := &out[i]
		addrs := []string{s.Addr}
		for name, m := range n.members() {
			if m.ID == s.ID {
				a.name, a.heard = name, m.Status.Up()
				addrs = append(addrs, m.Addr)
			}
		}
		if s.ID == n.who.ID {
			a.answers, a.state = true, n.serverState()
			continue
		}
		slices.Sort(addrs)
		wg.Go(func() {
			for _, addr := range slices.Compact(addrs) {
				if a.state, a.answers = n.askServer(ctx, s.ID, addr); a.answers {
					return
				}
			}
		})
	}
	wg.Wait()
	return out
}

// askServer asks the server of that identity, if it is the one that answers at addr.
func (n *Node) askServer(ctx context.Context, id, addr string) (*api.ServerState, bool) {
	var itself atomic.Bool
	c := api.NewClient(func(ctx context.Context) (net.Conn, error) {
		conn, err := n.mux.Dial(ctx, mux.API, addr)
		if err != nil {
			return nil, err
		}
		who, _ := mux.PeerOf(conn)
		itself.Store(who.ID == id)
		return conn, nil
	})
	defer c.Close()
	l, err := c.LocalStatus(ctx)
	if err != nil || !itself.Load() {
		return nil, false
	}
	return l.Server, true
}

// serverState is what this node knows as a server of the configuration.
func (n *Node) serverState() *api.ServerState {
	st := n.store.Status()
	s := &api.ServerState{ID: n.who.ID, Leader: st.LeaderID, Quorum: st.Quorum}
	s.LastIndex, s.LastTerm, s.Term = n.store.Last()
	return s
}

// judgement is what would be done about servers that are lost.
type judgement struct {
	lost, others []asked
	voters       int
	term         uint64
}

func refuse(remedy, format string, args ...any) error {
	return api.Errorf(api.CodeConflict, remedy, format, args...)
}

// judge says whether the server self may go on without the named ones. It may when no majority can come together any more, as far as can be
// seen from here, and when no other survivor is the one to do it: of several it is always the same one, so that two operators on two
// servers cannot make two clusters.
func judge(self string, servers []asked, names []string) (judgement, error) {
	slices.SortFunc(servers, func(a, b asked) int { return cmp.Compare(a.name, b.name) })
	var j judgement
	alive := 0
	for _, s := range servers {
		switch {
		case s.answers && s.state == nil:
			return j, refuse("upgrade it first: meshnode upgrade", "%s runs an older release, which does not say what it knows", s.name)
		case s.answers && s.state.Quorum && s.ID == self:
			return j, refuse("see: meshnode status", "there is a quorum, with %s as the leader: nothing needs to be recovered", nameIn(servers, s.state.Leader))
		case s.answers && s.state.Quorum:
			return j, refuse("mend the network between the servers", "%s is part of a quorum, with %s as the leader: this server is cut off from it", s.name, nameIn(servers, s.state.Leader))
		}
		if s.answers {
			j.term = max(j.term, s.state.Term)
		}
		switch {
		case s.answers && s.ID != self:
			j.others = append(j.others, s)
		case !s.answers && s.Voter:
			j.lost = append(j.lost, s)
		}
		if s.Voter {
			j.voters++
			if s.answers {
				alive++
			}
		}
	}
	if err := j.matches(servers, names, alive); err != nil {
		return j, err
	}
	return j, mayGoOn(self, servers)
}

// matches checks the names against what can be seen.
func (j judgement) matches(servers []asked, names []string, alive int) error {
	for _, name := range names {
		i := slices.IndexFunc(servers, func(s asked) bool { return s.is(name) && !s.answers })
		switch {
		case i < 0 && !slices.ContainsFunc(servers, func(s asked) bool { return s.is(name) }):
			return refuse("see: meshnode members", "there is no server %q in the configuration", name)
		case i < 0:
			return refuse("stop it first if it is to be given up", "%s answers: it is not lost", name)
		case servers[i].heard:
			return refuse("if it is gone, try again in 10 seconds", "%s does not answer, but was heard of a moment ago", name)
		}
	}
	if alive > j.voters/2 {
		return refuse("wait a moment, and see: meshnode status", "%d of %d voters answer: they are a majority, and elect a leader by themselves", alive, j.voters)
	}
	want := namesOf(j.lost)
	exactly := !slices.ContainsFunc(j.lost, func(s asked) bool { return !slices.ContainsFunc(names, s.is) }) &&
		!slices.ContainsFunc(names, func(name string) bool { return !slices.ContainsFunc(j.lost, func(s asked) bool { return s.is(name) }) })
	if !exactly {
		return refuse(fmt.Sprintf("bring back enough of them, or, if they are gone for good: meshnode recover -lost %s", strings.Join(want, ",")),
			"%d of %d voters cannot be reached: %s", len(j.lost), j.voters, strings.Join(want, ", "))
	}
	return nil
}

// mayGoOn refuses where another server that answers is the one to go on: the one with the most of the log, which has all that was confirmed
// and is left; of several, one that votes; of several, the first by name.
func mayGoOn(self string, servers []asked) error {
	i := slices.IndexFunc(servers, func(s asked) bool { return s.ID == self })
	if i < 0 {
		return refuse("run it on one that is", "this server is none of the configuration's")
	}
	best := servers[i]
	for _, s := range servers {
		if s.answers && better(s, best) {
			best = s
		}
	}
	mine := servers[i].state
	switch {
	case best.ID == self:
		return nil
	case best.state.LastTerm != mine.LastTerm || best.state.LastIndex != mine.LastIndex:
		return refuse("run it on "+best.name, "%s has more of the configuration's log than this server: entry %d of term %d, and here it is %d of %d", best.name,
			best.state.LastIndex, best.state.LastTerm, mine.LastIndex, mine.LastTerm)
	case best.Voter && !servers[i].Voter:
		return refuse("run it on "+best.name, "this server has no vote, and %s has one", best.name)
	}
	return refuse("run it on "+best.name, "%s has as much of the log as this server, and of such servers the first by name goes on", best.name)
}

func better(a, b asked) bool {
	return cmp.Or(cmp.Compare(a.state.LastTerm, b.state.LastTerm), cmp.Compare(a.state.LastIndex, b.state.LastIndex), compareBool(a.Voter, b.Voter),
		cmp.Compare(b.name, a.name), cmp.Compare(b.ID, a.ID)) > 0
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// is reports whether an operator's word means the server.
func (a asked) is(word string) bool { return word == a.name || word == a.ID }

func namesOf(servers []asked) []string {
	out := make([]string, len(servers))
	for i, s := range servers {
		out[i] = s.name
	}
	return out
}

// nameIn is the name of the server with that identity.
func nameIn(servers []asked, id string) string {
	for _, s := range servers {
		if s.ID == id {
			return s.name
		}
	}
	return cmp.Or(serverName(id), id)
}
