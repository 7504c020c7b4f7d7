package mesh

import "sync"

// Bounds of the inbox and of the roster.
const (
	maxMembers   = 2048
	maxConflicts = 16
)

// change is the last thing memberlist said of a member.
type change struct {
	member Member
	alive  bool
}

// conflict is a member and the node that claims its name.
type conflict struct {
	existing, other Member
}

// received is a load record that came by gossip.
type received struct {
	from origin
	load Load
}

// notes is what came in since the keeper last looked: per member only the last, which bounds it.
type notes struct {
	changes   map[string]change
	conflicts map[string]conflict
	loads     map[string]received
	leaves    map[string]origin
}

func newNotes() notes {
	return notes{
		changes:   make(map[string]change),
		conflicts: make(map[string]conflict),
		loads:     make(map[string]received),
		leaves:    make(map[string]origin),
	}
}

// inbox takes notes from memberlist's callbacks, which run under memberlist's locks and must not wait, to the keeper.
type inbox struct {
	poke chan struct{} // one place: there is something to take

	mu    sync.Mutex
	notes notes
}

func newInbox() *inbox {
	return &inbox{poke: make(chan struct{}, 1), notes: newNotes()}
}

// leave writes a note; it reports false, and the note is lost, where the bound is reached.
func (b *inbox) leave(write func(n *notes) bool) bool {
	b.mu.Lock()
	taken := write(&b.notes)
	b.mu.Unlock()
	select {
	case b.poke <- struct{}{}:
	default:
	}
	return taken
}

// take returns all notes and empties the inbox.
func (b *inbox) take() notes {
	b.mu.Lock()
	defer b.mu.Unlock()
	taken := b.notes
	b.notes = newNotes()
	return taken
}

// put sets m[key] unless that would make m larger than limit.
func put[V any](m map[string]V, key string, value V, limit int) bool {
	if _, known := m[key]; !known && len(m) >= limit {
		return false
	}
	m[key] = value
	return true
}
