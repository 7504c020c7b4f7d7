package supervisor

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// KillOrphans ends every process that a node with this ID started and left behind, and returns how many there were. Workers die with
// their node by the parent-death signal; what they started themselves does not. Call it before the first worker starts,
// under the lock on the data folder.
func KillOrphans(nodeID string) int { return killMarked([]byte(runVariable + "=" + nodeID + "/")) }

// killRun ends what is left of one worker.
func killRun(run string) int { return killMarked(append([]byte(runVariable+"="+run), 0)) }

// killMarked sends SIGKILL to every process, save this one, whose environment contains mark, until none is left that was there before.
func killMarked(mark []byte) int {
	n := 0
	procs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, path := range procs {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, err := os.ReadFile(path) // others' processes cannot be read, and are not ours
		if err != nil || !bytes.Contains(append(env, 0), mark) {
			continue
		}
		if unix.Kill(pid, unix.SIGKILL) == nil {
			n++
		}
	}
	return n
}
