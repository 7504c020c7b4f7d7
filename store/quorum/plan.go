package quorum

import (
	"cmp"
	"fmt"
	"slices"
)

// Plan returns the next change that brings the configuration closer to what the members call for: none or one, because
// Raft changes one server at a time and the picture is another one afterwards. The same inputs give the same answer.
//
// The rules, first match wins: a member that left is removed (the leader hands over first); a server whose place was
// taken by another identity is removed; a new address is recorded; a vote moves from a dead server to a waiting one;
// votes are given or taken until their number is right; a vote moves to a zone that has two fewer; a new member is added; a long dead non-voter is
// removed. No
// change is ever planned that would leave the living voters without a majority.
func Plan(in Inputs) []Change {
	v := newView(in)
	for _, rule := range []func() (Change, bool){
		v.leaderLeft, v.left, v.replaced, v.readdress, v.dead, v.promote, v.surplus, v.spread, v.add, v.forget,
	} {
		if c, ok := rule(); ok {
			return []Change{c}
		}
	}
	return nil
}

// view is Inputs, indexed and in a fixed order.
type view struct {
	Inputs
	server map[string]Server
	member map[string]Member
}

func newView(in Inputs) *view {
	v := &view{Inputs: in, server: make(map[string]Server), member: make(map[string]Member)}
	v.Policy = in.Policy.withDefaults()
	v.Servers = slices.SortedFunc(slices.Values(in.Servers), func(a, b Server) int { return cmp.Compare(a.ID, b.ID) })
	v.Members = slices.SortedFunc(slices.Values(in.Members), func(a, b Member) int { return cmp.Compare(a.ID, b.ID) })
	for _, s := range v.Servers {
		v.server[s.ID] = s
	}
	for _, m := range v.Members {
		if m.ID != "" {
			v.member[m.ID] = m
		}
	}
	return v
}

// alive reports whether the server answers. The leader, who asks, does.
func (v *view) alive(id string) bool {
	m, known := v.member[id]
	return id == v.LeaderID || known && m.Alive && !m.Left
}

func (v *view) leaderLeft() (Change, bool) {
	if !v.member[v.LeaderID].Left {
		return Change{}, false
	}
	for _, s := range v.Servers {
		if s.Voter && s.ID != v.LeaderID && v.alive(s.ID) {
			return Change{Op: OpTransfer, Server: s, Reason: "the leader is leaving"}, true
		}
	}
	if s, ok := v.spare(); ok {
		s.Voter = true
		return Change{Op: OpAddVoter, Server: s, Reason: "the leader is leaving and needs a successor"}, true
	}
	return Change{}, false
}

func (v *view) left() (Change, bool) {
	for _, s := range v.Servers {
		if s.ID != v.LeaderID && v.member[s.ID].Left && v.safeWithout(s) {
			return Change{Op: OpRemove, Server: s, Reason: "it left"}, true
		}
	}
	return Change{}, false
}

func (v *view) replaced() (Change, bool) {
	for _, s := range v.Servers {
		if v.alive(s.ID) || !v.safeWithout(s) {
			continue
		}
		for _, m := range v.Members {
			if m.ID == "" || m.ID == s.ID || !v.alive(m.ID) {
				continue
			}
			old, known := v.member[s.ID]
			if m.Addr == s.Addr || known && m.Name != "" && m.Name == old.Name {
				return Change{Op: OpRemove, Server: s, Reason: fmt.Sprintf("%s took its place", m.ID)}, true
			}
		}
	}
	return Change{}, false
}

func (v *view) readdress() (Change, bool) {
	for _, s := range v.Servers {
		m := v.member[s.ID]
		if !v.alive(s.ID) || m.Addr == "" || m.Addr == s.Addr || v.addrTaken(m.Addr) {
			continue
		}
		reason := fmt.Sprintf("it moved from %s", s.Addr)
		s.Addr = m.Addr
		return Change{Op: OpReaddress, Server: s, Reason: reason}, true
	}
	return Change{}, false
}

func (v *view) add() (Change, bool) {
	for _, m := range v.Members {
		if _, known := v.server[m.ID]; known || m.ID == "" || m.Addr == "" || !v.alive(m.ID) || v.addrTaken(m.Addr) {
			continue
		}
		return Change{Op: OpAddNonvoter, Server: Server{ID: m.ID, Addr: m.Addr}, Reason: "it is new"}, true
	}
	return Change{}, false
}

func (v *view) forget() (Change, bool) {
	for _, s := range v.Servers {
		m, known := v.member[s.ID]
		if !known || s.Voter || v.alive(s.ID) || v.Now.Sub(m.Since) < v.Policy.ForgetAfter {
			continue
		}
		return Change{Op: OpRemove, Server: s, Reason: fmt.Sprintf("dead for more than %s", v.Policy.ForgetAfter)}, true
	}
	return Change{}, false
}

// addrTaken reports whether a server of the configuration has the address: Raft refuses a second one.
func (v *view) addrTaken(addr string) bool {
	return slices.ContainsFunc(v.Servers, func(s Server) bool { return s.Addr == addr })
}
