package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Bounds of the replacement of workers that use too much memory. One that needs more than its limit from the start would be replaced without end;
// so the next of its slot may stay longer each time.
const (
	weighEvery  = 5 // looks between two at the workers' memory
	firstRation = 30 * time.Second
	maxRation   = 30 * time.Minute
	farBeyond   = 2 // times the limit: a worker that has grown this large is given the first ration at most
)

// ration is how long the next worker of a slot may stay though it is too large.
type ration struct {
	worker string // the one that was the last to be replaced
	stay   time.Duration
}

// weigh has a worker replaced that uses more memory than it may.
func (m *minder) weigh(p *process, now time.Time) {
	limit := p.spec.Restart.MaxMemory
	if limit == 0 {
		return
	}
	used := treeMemory(p.PID)
	if used <= limit {
		p.grown = time.Time{}
		return
	}
	if p.grown.IsZero() {
		p.grown = now
	}
	sl := m.sup.slot(p.App, p.Slot)
	if sl == nil || !m.mayGo(sl, p, now, used > farBeyond*limit) {
		return
	}
	m.again(p, renewal{worker: p.ID, reason: fmt.Sprintf("it uses %s of memory, more than %s", megabytes(used), megabytes(limit))}, now)
}

// mayGo reports whether a worker that is too large is to be replaced now.
func (m *minder) mayGo(sl *slot, p *process, now time.Time, far bool) bool {
	r := m.rations[sl]
	if r.worker == p.ID {
		return true
	}
	stay := r.stay
	if far {
		stay = min(stay, firstRation)
	}
	if now.Sub(p.started) < stay {
		return false
	}
	if p.grown.Sub(p.started) < max(r.stay, firstRation) {
		r.stay = min(max(2*r.stay, firstRation), maxRation)
		m.sup.log.Warn("a worker is larger than it may be soon after its start; its successor may stay longer", "worker", p.ID, "dur", r.stay)
	} else {
		r.stay = 0
	}
	r.worker = p.ID
	m.rations[sl] = r
	return true
}

// tidyRations forgets slots that are gone.
func (m *minder) tidyRations() {
	for sl := range m.rations {
		if m.sup.slot(sl.app, sl.index) != sl {
			delete(m.rations, sl)
		}
	}
}

func megabytes(b uint64) string { return fmt.Sprintf("%d MiB", b>>20) }

// treeMemory is the resident memory of a process with all its descendants, in bytes.
func treeMemory(pid int) uint64 {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	raw, err := os.ReadFile(filepath.Join(dir, "statm"))
	f := strings.Fields(string(raw))
	if err != nil || len(f) < 2 {
		return 0
	}
	pages, _ := strconv.ParseUint(f[1], 10, 64)
	sum := pages * uint64(os.Getpagesize())
	lists, _ := filepath.Glob(filepath.Join(dir, "task", "[0-9]*", "children"))
	for _, list := range lists {
		raw, _ := os.ReadFile(list) // a thread that has ended has none
		for _, child := range strings.Fields(string(raw)) {
			if n, err := strconv.Atoi(child); err == nil {
				sum += treeMemory(n)
			}
		}
	}
	return sum
}
