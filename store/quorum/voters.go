package quorum

import "fmt"

// dead takes the vote of a voter that has been dead long enough, if a living server waits to have it. The vote is taken
// first and given in the next round: in between the cluster survives as many failures as the other way round, and there
// are never more voters than allowed. Without a server in waiting the dead one keeps its vote: shrinking the electorate
// on hearsay would let a few failures in a row end with a single voter.
func (v *view) dead() (Change, bool) {
	if _, ok := v.spare(); !ok {
		return Change{}, false
	}
	for _, s := range v.Servers {
		m, known := v.member[s.ID]
		if !known || !s.Voter || v.alive(s.ID) || v.Now.Sub(m.Since) < v.Policy.DeadAfter || !v.safeWithout(s) {
			continue
		}
		s.Voter = false
		return Change{Op: OpDemote, Server: s, Reason: fmt.Sprintf("dead for more than %s", v.Policy.DeadAfter)}, true
	}
	return Change{}, false
}

// promote gives a vote to a waiting server while there are fewer voters than there could be. Only servers that could
// vote right now are counted, so that the number does not get stuck at an even one.
func (v *view) promote() (Change, bool) {
	voters, living, waiting := v.count()
	s, ok := v.spare()
	if !ok || voters >= oddUpTo(min(v.Policy.MaxVoters, living+waiting)) {
		return Change{}, false
	}
	s.Voter = true
	return Change{Op: OpAddVoter, Server: s, Reason: fmt.Sprintf("%d voters are too few", voters)}, true
}

// surplus takes one vote when there are more than there should be: an even voter is one more that can fail and helps
// nobody. It waits until every voter is alive.
func (v *view) surplus() (Change, bool) {
	voters, living, _ := v.count()
	alive := 0
	for _, s := range v.Servers {
		if v.alive(s.ID) {
			alive++
		}
	}
	if living < voters || voters <= oddUpTo(min(v.Policy.MaxVoters, alive)) {
		return Change{}, false
	}
	s, ok := v.toYield(func(Server) bool { return true })
	if !ok {
		return Change{}, false
	}
	s.Voter = false
	return Change{Op: OpDemote, Server: s, Reason: fmt.Sprintf("%d voters are too many", voters)}, true
}

// spread takes a vote from a zone that has two more than another one in which a server waits: the next round gives it to that one. A zone that
// fails then takes as few votes with it as can be. It waits until every voter is alive.
func (v *view) spread() (Change, bool) {
	voters, living, _ := v.count()
	to, ok := v.spare()
	if !ok || living < voters {
		return Change{}, false
	}
	votes := v.votes()
	s, ok := v.toYield(func(s Server) bool { return votes[v.zone(s)] >= votes[v.zone(to)]+2 && v.safeWithout(s) })
	if !ok {
		return Change{}, false
	}
	s.Voter = false
	return Change{Op: OpDemote, Server: s, Reason: fmt.Sprintf("zone %q has %d votes, zone %q %d", v.zone(s), votes[v.zone(s)], v.zone(to), votes[v.zone(to)])}, true
}

// zone returns the failure zone of a server, "" where it is not known.
func (v *view) zone(s Server) string { return v.member[s.ID].Zone }

// votes returns the number of voters in each zone.
func (v *view) votes() map[string]int {
	votes := make(map[string]int)
	for _, s := range v.Servers {
		if s.Voter {
			votes[v.zone(s)]++
		}
	}
	return votes
}

// toYield returns the voter that is first to lose its vote, of those that may: of the zone with the most votes the one that is there for the shortest
// time. It is never the leader.
func (v *view) toYield(may func(Server) bool) (Server, bool) {
	votes := v.votes()
	pick := -1
	for i, s := range v.Servers {
		if !s.Voter || s.ID == v.LeaderID || !may(s) {
			continue
		}
		if pick >= 0 {
			old := v.Servers[pick]
			more := votes[v.zone(s)] - votes[v.zone(old)]
			if more < 0 || more == 0 && v.member[s.ID].Since.Before(v.member[old.ID].Since) {
				continue
			}
		}
		pick = i
	}
	if pick < 0 {
		return Server{}, false
	}
	return v.Servers[pick], true
}

// spare returns the server that is first to get a vote, of those that could have one now: of the zone with the fewest votes the one that has
// waited longest.
func (v *view) spare() (Server, bool) {
	votes := v.votes()
	pick := -1
	for i, s := range v.Servers {
		if !v.waiting(s) {
			continue
		}
		if pick >= 0 {
			old := v.Servers[pick]
			more := votes[v.zone(s)] - votes[v.zone(old)]
			if more > 0 || more == 0 && !v.member[s.ID].Since.Before(v.member[old.ID].Since) {
				continue
			}
		}
		pick = i
	}
	if pick < 0 {
		return Server{}, false
	}
	return v.Servers[pick], true
}

// waiting reports whether s could have a vote now: a stable non-voter with the log at hand.
func (v *view) waiting(s Server) bool {
	m := v.member[s.ID]
	return !s.Voter && m.Alive && !m.Left && !m.Behind && v.Now.Sub(m.Since) >= v.Policy.Stable
}

// count returns the number of voters, of living voters, and of servers that wait for a vote.
func (v *view) count() (voters, living, waiting int) {
	for _, s := range v.Servers {
		switch {
		case s.Voter && v.alive(s.ID):
			voters++
			living++
		case s.Voter:
			voters++
		case v.waiting(s):
			waiting++
		}
	}
	return voters, living, waiting
}

// safeWithout reports whether the living voters still are a majority when s no longer votes. The leader is never one to
// go, nor is the last voter.
func (v *view) safeWithout(s Server) bool {
	if !s.Voter {
		return s.ID != v.LeaderID
	}
	voters, living, _ := v.count()
	voters--
	if v.alive(s.ID) {
		living--
	}
	return s.ID != v.LeaderID && voters > 0 && living >= voters/2+1
}

// oddUpTo returns the largest odd number not above n, at least 1.
func oddUpTo(n int) int {
	if n < 1 {
		return 1
	}
	return n - 1 + n%2
}
