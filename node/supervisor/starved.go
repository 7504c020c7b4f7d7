package supervisor

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// starvation knows whether the kernel has ended processes of late because memory had run out. It says so of no process, but counts: of a worker's control
// group where there is one, else of the whole server.
type starvation struct {
	mu     sync.Mutex
	before [2]uint64 // at the last two looks, the older first: an end is noticed a moment after it was counted
}

// vmstat is where the kernel counts for the whole server.
const vmstat = "/proc/vmstat"

func newStarvation() *starvation {
	k := oomKills(vmstat)
	return &starvation{before: [2]uint64{k, k}}
}

// look takes note of the count. The minder calls it at every look.
func (s *starvation) look() {
	k := oomKills(vmstat)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.before = [2]uint64{s.before[1], k}
}

// ended reports whether a process that was killed by nobody here went because memory had run out.
func (s *starvation) ended(groups *cgroups, number int) bool {
	if groups != nil && oomKills(filepath.Join(groups.group(number), "memory.events")) > 0 {
		return true
	}
	k := oomKills(vmstat)
	s.mu.Lock()
	defer s.mu.Unlock()
	return k > s.before[0]
}

// oomKills is the count in a file of the kernel's; 0 where it is not told.
func oomKills(path string) uint64 {
	f, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if text, ok := strings.CutPrefix(lines.Text(), "oom_kill "); ok {
			k, _ := strconv.ParseUint(text, 10, 64)
			return k
		}
	}
	return 0
}

// hungered reports whether the process's end looks like one for want of memory: it was killed, and not from here.
func (p *process) hungered(e ending) bool {
	p.life.mu.Lock()
	ours := p.life.dying
	p.life.mu.Unlock()
	return !ours && e.err == nil && e.status.Signaled() && e.status.Signal() == unix.SIGKILL && p.sup.starved.ended(p.sup.groups, p.number)
}
