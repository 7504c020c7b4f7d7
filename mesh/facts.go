package mesh

import (
	"sync/atomic"
	"time"
)

// facts is what any goroutine may read: immutable snapshots behind atomic pointers. The keeper writes them, save for own, which SetCluster
// writes.
type facts struct {
	self    Member // as at Open; Cluster, Status and Since are out of date
	own     atomic.Pointer[ownFacts]
	members atomic.Pointer[[]Member] // sorted by name
	loads   atomic.Pointer[map[string]PeerLoad]
	left    atomic.Pointer[[]origin] // leave notices, newest first
	frame   atomic.Pointer[[]byte]   // our own load record as a stream carries it
	alive   atomic.Int64             // members not failed or left, self included
}

// ownFacts is what we say of ourselves and may change.
type ownFacts struct {
	cluster string
	encoded []byte
}

func newFacts(self Member) (*facts, error) {
	f := &facts{self: self}
	self.Status, self.Since = Alive, time.Now()
	f.members.Store(&[]Member{self})
	f.loads.Store(&map[string]PeerLoad{})
	f.left.Store(&[]origin{})
	f.setLoad(Load{})
	f.alive.Store(1)
	return f, f.setCluster(self.Cluster)
}

// setCluster changes the cluster we belong to.
func (f *facts) setCluster(id string) error {
	m := f.self
	m.Cluster = id
	b, err := encodeMetadata(m)
	if err != nil {
		return err
	}
	f.own.Store(&ownFacts{cluster: id, encoded: b})
	return nil
}

func (f *facts) cluster() string { return f.own.Load().cluster }

func (f *facts) metadata() []byte { return f.own.Load().encoded }

func (f *facts) notices() []origin { return *f.left.Load() }

// allegiance is the cluster whose members we mix with: our own, or before we have one, that of the members we have met. Without it a node
// that is told to join two clusters would tie them together.
func (f *facts) allegiance() string {
	if own := f.cluster(); own != "" {
		return own
	}
	for _, m := range *f.members.Load() {
		if m.Cluster != "" && (m.Status == Alive || m.Status == Suspect) {
			return m.Cluster
		}
	}
	return ""
}

// hasRoom says whether a member of that name is known or may still be added.
func (f *facts) hasRoom(name string) bool {
	members := *f.members.Load()
	if len(members) < maxMembers {
		return true
	}
	for _, m := range members {
		if m.Name == name {
			return true
		}
	}
	return false
}

// setLoad changes the record that the load streams push.
func (f *facts) setLoad(l Load) {
	b := appendFrame(nil, l.Append(nil))
	f.frame.Store(&b)
}
