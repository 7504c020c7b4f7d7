package mesh

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// Times of the roster.
const (
	// suspectAfter is how long the load stream of a member that gossip calls alive must be dead before the member is suspect.
	suspectAfter = time.Second
	// keepGone is how long failed and left members are remembered.
	keepGone = 24 * time.Hour
)

// entry is what the keeper knows of one member.
type entry struct {
	member    Member
	alive     bool      // by gossip
	linked    bool      // we keep a load stream to it
	streaming bool      // that stream is alive
	downSince time.Time // when the stream was lost or first wanted
	up        bool      // what OnLink was told last
	load      *PeerLoad // nil before the first record
	from      int64     // when the process that sent load started, Unix milliseconds
}

// notice is somebody's word that it leaves.
type notice struct {
	from origin
	at   time.Time
}

// roster is the table of members. It belongs to the keeper.
type roster struct {
	self    string
	entries map[string]*entry
	notices map[string]notice
	changed bool // since the last publication
}

func newRoster(self string) *roster {
	return &roster{self: self, entries: make(map[string]*entry), notices: make(map[string]notice)}
}

// apply takes in what memberlist said. It reports whether what was known of the member's load is void: it is a new process, and the load
// stream has not told us so before.
func (r *roster) apply(c change, now time.Time) (void bool) {
	e := r.entries[c.member.Name]
	if e == nil {
		e = &entry{}
		r.entries[c.member.Name] = e
	}
	old := e.member
	restarted := old.ID != c.member.ID || !old.StartedAt.Equal(c.member.StartedAt)
	e.member, e.alive = c.member, c.alive
	e.member.Status, e.member.Since = old.Status, old.Since
	if restarted {
		// A restart that gossip took for no death at all is a new beginning all the same.
		e.member.Status = ""
	}
	if void = restarted && e.from != c.member.StartedAt.UnixMilli(); void {
		e.load, e.streaming, e.downSince = nil, false, now
	}
	r.changed = true
	return void
}

// heed takes in a leave notice; it reports whether it is news.
func (r *roster) heed(from origin, now time.Time) bool {
	known, ok := r.notices[from.name]
	e := r.entries[from.name]
	// A notice of the process we know always counts; of others the later start, as far as clocks can tell.
	current := e != nil && originOf(e.member) == from
	if ok && known.from == from || !current && (ok && known.from.started >= from.started || e != nil && originOf(e.member).started > from.started) {
		return false
	}
	if !put(r.notices, from.name, notice{from, now}, maxMembers) {
		return false
	}
	r.changed = true
	return true
}

// hasLeft says whether the member has said that it leaves.
func (r *roster) hasLeft(m Member) bool { return r.notices[m.Name].from == originOf(m) }

// assess sets every member's status and forgets those that have been gone for long.
func (r *roster) assess(now time.Time) {
	for name, e := range r.entries {
		if status := r.status(e, now); status != e.member.Status {
			e.member.Status, e.member.Since = status, now
			r.changed = true
		}
		if !e.alive && name != r.self && now.Sub(e.member.Since) > keepGone {
			delete(r.entries, name)
			r.changed = true
		}
	}
	for name, n := range r.notices {
		if now.Sub(n.at) > keepGone {
			delete(r.notices, name)
			r.changed = true
		}
	}
}

func (r *roster) status(e *entry, now time.Time) Status {
	switch {
	case !e.alive && r.hasLeft(e.member):
		return Left
	case !e.alive:
		return Failed
	case e.linked && !e.streaming && now.Sub(e.downSince) >= suspectAfter:
		return Suspect
	}
	return Alive
}

// visible says whether e may be a member of cluster ours; it may not be if both have one and they differ.
func (e *entry) visible(ours string) bool {
	return ours == "" || e.member.Cluster == "" || e.member.Cluster == ours
}

// members returns the visible members, sorted by name.
func (r *roster) members(ours string) []Member {
	all := make([]Member, 0, len(r.entries))
	for name, e := range r.entries {
		if name == r.self || e.visible(ours) {
			all = append(all, e.member)
		}
	}
	slices.SortFunc(all, func(a, b Member) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// peers returns the names of the visible members that are alive, without our own.
func (r *roster) peers(ours string) []string {
	var names []string
	for name, e := range r.entries {
		if name != r.self && e.alive && e.visible(ours) {
			names = append(names, name)
		}
	}
	return names
}

// loads returns the records of the visible members that are alive.
func (r *roster) loads(ours string) map[string]PeerLoad {
	all := make(map[string]PeerLoad, len(r.entries))
	for name, e := range r.entries {
		if e.load != nil && e.alive && e.visible(ours) {
			all[name] = *e.load
		}
	}
	return all
}

// lost returns the addresses of visible members that failed, without those at which somebody else lives now.
func (r *roster) lost(ours string) []string {
	taken := make(map[string]bool)
	for _, e := range r.entries {
		if e.alive {
			taken[e.member.Addr] = true
		}
	}
	var addrs []string
	for _, e := range r.entries {
		if e.member.Status == Failed && e.visible(ours) && !taken[e.member.Addr] {
			addrs = append(addrs, e.member.Addr)
		}
	}
	return addrs
}

// left returns the newest leave notices.
func (r *roster) left() []origin {
	all := slices.SortedFunc(maps.Values(r.notices), func(a, b notice) int {
		return cmp.Or(b.at.Compare(a.at), strings.Compare(a.from.name, b.from.name))
	})
	var from []origin
	for _, n := range all[:min(len(all), maxNotices)] {
		from = append(from, n.from)
	}
	return from
}
