package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// reapEvery is the time between two looks for ended orphans.
const reapEvery = 2 * time.Second

// reaper takes the orphans of workers off the kernel's table when they have ended. They are this process's children: it is their
// subreaper, so that a worker's descendants stay in sight whatever they do, and in a container it is process 1, where nobody else
// would. Ended and never asked for, they would fill the table.
type reaper struct{ seen map[int]bool }

// adopt makes this process the parent of its descendants whose own parent has ended, or no longer.
func adopt(on bool) {
	var arg uintptr
	if on {
		arg = 1
	}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, arg, 0, 0, 0) // known since Linux 3.4
}

// pass reaps the children that had ended at the last pass too: whoever waits for a child of its own does it at once.
func (r *reaper) pass() {
	now := zombies()
	for pid := range now {
		if r.seen[pid] {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			delete(now, pid)
		}
	}
	r.seen = now
}

// zombies returns the children of this process that have ended and were not reaped.
func zombies() map[int]bool {
	out := make(map[int]bool)
	lists, _ := filepath.Glob("/proc/self/task/[0-9]*/children") // a child is listed under the thread that has it
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range bytes.Fields(raw) {
			stat, err := os.ReadFile(fmt.Sprintf("/proc/%s/stat", f))
			// The name, in brackets, may hold anything; the state comes after it.
			if i := bytes.LastIndexByte(stat, ')'); err != nil || i < 0 || !bytes.HasPrefix(stat[i:], []byte(") Z")) {
				continue
			}
			if pid, err := strconv.Atoi(string(f)); err == nil {
				out[pid] = true
			}
		}
	}
	return out
}

// reapGroup reaps what has ended of an orphaned process group, and reports whether any of it lives.
func reapGroup(pgid int) bool {
	for {
		if pid, err := unix.Wait4(-pgid, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
			return unix.Kill(-pgid, 0) == nil
		}
	}
}
