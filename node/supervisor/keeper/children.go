package keeper

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// children are the processes that were forked here and are not reaped: an ended one stays on the kernel's table, and with it its number and
// its group's stay its own, until the node has ended what it left behind.
type children struct {
	alive map[int]bool // by number; false = ended
}

func newChildren() children { return children{alive: make(map[int]bool)} }

func (c *children) add(pid int) { c.alive[pid] = true }

func (c *children) ended(pid int) bool {
	alive, known := c.alive[pid]
	return known && !alive
}

// signal sends a signal to a child whose number is still its own.
func (c *children) signal(pid int, s syscall.Signal) {
	if c.alive[pid] {
		_ = syscall.Kill(pid, s) // it may have ended just now
	}
}

// signalGroups sends a signal to the process groups of all children, those that have ended included.
func (c *children) signalGroups(s syscall.Signal) {
	for pid := range c.alive {
		_ = syscall.Kill(-pid, s)
	}
}

// living is the number of children that have not ended.
func (c *children) living() (n int) {
	for _, alive := range c.alive {
		if alive {
			n++
		}
	}
	return n
}

// look returns the numbers of those that have ended since the last look. It reaps adopted orphans that have ended, where all other children
// are this package's.
func (c *children) look(orphans bool) []int {
	var out []int
	for pid, alive := range c.alive {
		if alive && hasEnded(pid) {
			c.alive[pid] = false
			out = append(out, pid)
		}
	}
	if !orphans {
		return out
	}
	for pid := range zombies() {
		if _, ours := c.alive[pid]; !ours {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
	}
	return out
}

// reap takes an ended process off the kernel's table and returns its wait status as JSON.
func (c *children) reap(pid int) (json.RawMessage, error) {
	if !c.ended(pid) {
		return nil, fmt.Errorf("process %d has not ended, or is none of the keeper's", pid)
	}
	delete(c.alive, pid)
	status, err := wait(pid)
	if err != nil {
		return nil, fmt.Errorf("reap process %d: %w", pid, err)
	}
	return json.Marshal(uint32(status))
}

func wait(pid int) (unix.WaitStatus, error) {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WNOHANG, nil)
		if !errors.Is(err, syscall.EINTR) {
			return status, err
		}
	}
}

// hasEnded reports whether a child has ended, and leaves it on the kernel's table.
func hasEnded(pid int) bool {
	var info unix.Siginfo
	for {
		err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		return err != nil || info.Signo != 0
	}
}

// adopt makes this process the parent of its descendants whose own parent has ended, or no longer.
func adopt(on bool) {
	var arg uintptr
	if on {
		arg = 1
	}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, arg, 0, 0, 0) // known since Linux 3.4
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
	if pgid <= 1 {
		return false // those numbers mean other things than a group
	}
	for {
		if pid, err := unix.Wait4(-pgid, nil, unix.WNOHANG, nil); err != nil || pid <= 0 {
			return unix.Kill(-pgid, 0) == nil
		}
	}
}
