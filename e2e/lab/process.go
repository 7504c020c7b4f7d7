package lab

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Inner is the process that does the node's work: the child of the one that was started, its keeper, with the same program. 0 while
// there is none.
func (n *Node) Inner() int {
	for _, pid := range children(n.PID()) {
		if name, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid)); strings.TrimSpace(string(name)) == "meshnode" {
			return pid
		}
	}
	return 0
}

// Processes are all of the node at this moment: its keeper first, the node, its workers and what those have started.
func (n *Node) Processes() []int {
	all := []int{n.PID()}
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}

// SignalAll sends a signal to each of the node's processes. Ones that have ended meanwhile do not matter.
func (n *Node) SignalAll(s syscall.Signal) {
	for _, pid := range n.Processes() {
		_ = syscall.Kill(pid, s)
	}
}

// children are the processes that a process has started and that live.
func children(parent int) []int {
	var out []int
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*/children", parent))
	for _, list := range lists {
		raw, err := os.ReadFile(list)
		if err != nil {
			continue // the thread has ended
		}
		for _, f := range strings.Fields(string(raw)) {
			if pid, err := strconv.Atoi(f); err == nil {
				out = append(out, pid)
			}
		}
	}
	return out
}

// CPU is the processor time that the node's own two processes have used.
func (n *Node) CPU() time.Duration {
	n.lab.t.Helper()
	var sum time.Duration
	for _, pid := range []int{n.PID(), n.Inner()} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			n.lab.t.Fatal(err)
		}
		f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		sum += time.Duration(user+system) * 10 * time.Millisecond
	}
	return sum
}

// Usage is what processes have of the machine.
type Usage struct {
	RSS   int // RSS is resident memory in bytes, what is shared with others included.
	PSS   int // PSS is the same with what is shared divided among those who share it.
	Files int // Files are open descriptors (count).
}

// Usage sums up what the node's own two processes have, without its workers.
func (n *Node) Usage() Usage {
	n.lab.t.Helper()
	var u Usage
	for _, pid := range []int{n.PID(), n.Inner()} {
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		if err != nil {
			n.lab.t.Fatal(err)
		}
		u.Files += len(files)
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			n.lab.t.Fatal(err)
		}
		for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
			var kb int
			if _, err := fmt.Sscanf(lines.Text(), "Rss: %d kB", &kb); err == nil {
				u.RSS += kb << 10
			} else if _, err := fmt.Sscanf(lines.Text(), "Pss: %d kB", &kb); err == nil {
				u.PSS += kb << 10
			}
		}
	}
	return u
}

// Logged is when the node first logged a line that contains text, from a time on; the zero time if it has not.
func (n *Node) Logged(text string, since time.Time) time.Time {
	for lines := bufio.NewScanner(strings.NewReader(n.Output())); lines.Scan(); {
		stamp, rest, _ := strings.Cut(lines.Text(), " ")
		at, err := time.Parse("2006-01-02T15:04:05.999Z", stamp)
		if err == nil && !at.Before(since.Truncate(time.Millisecond)) && strings.Contains(rest, text) {
			return at
		}
	}
	return time.Time{}
}
