package supervisor

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of the search for left processes: one that forks faster than it is found is left after killRounds.
const (
	killRounds = 20
	killPause  = 2 * time.Millisecond // between two rounds: a killed process shows its environment until the kernel is done with it
)

// KillOrphans ends every process that a node with this ID started and left behind, and returns how many there were. Workers die with
// their keeper by the parent-death signal; what they started themselves does not. Those of the runs in spare live on. Call it before the
// first worker starts, under the lock on the data folder.
func KillOrphans(nodeID string, spare []string) int {
	return killMarked([]byte(runVariable+"="+nodeID+"/"), spare)
}

// killRun ends what is left of one worker.
func killRun(run string) int { return killMarked(append([]byte(runVariable+"="+run), 0), nil) }

// killMarked sends SIGKILL to every process, save this one and those of the runs in spare, whose environment has an entry that begins with
// mark, until none is left. It returns how many there were.
func killMarked(mark []byte, spare []string) int {
	found := make(map[int]bool)
	for range killRounds {
		pids := marked(mark, spare)
		if len(pids) == 0 {
			break
		}
		for _, pid := range pids {
			if unix.Kill(pid, unix.SIGKILL) == nil {
				found[pid] = true
			}
		}
		<-time.After(killPause)
	}
	return len(found)
}

// marked lists the living processes whose environment has an entry that begins with mark.
func marked(mark []byte, spare []string) []int {
	inner := append([]byte{0}, mark...)
	var out []int
	procs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range procs {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(path) // others' processes cannot be read, and are not ours
		if err != nil {
			continue
		}
		if env = append(append([]byte{0}, env...), 0); bytes.Contains(env, inner) && !slices.ContainsFunc(spare, func(run string) bool {
			return bytes.Contains(env, []byte("\x00"+runVariable+"="+run+"\x00"))
		}) {
			out = append(out, pid)
		}
	}
	return out
}

// runOf is the mark of a process, empty if it has none.
func runOf(pid int) string {
	env, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
	if err != nil {
		return "" // it is gone
	}
	_, after, _ := bytes.Cut(append([]byte{0}, env...), []byte("\x00"+runVariable+"="))
	run, _, _ := bytes.Cut(after, []byte{0})
	return string(run)
}
