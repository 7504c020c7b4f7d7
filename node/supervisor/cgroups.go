package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Names of the control groups below the node's own.
const (
	nodeGroup    = "meshnode-node"    // where keeper and node move to: a group that limits others holds no process itself
	workersGroup = "meshnode-workers" // where each worker has its own
	cpuPeriod    = 100000             // microseconds, the kernel's default
)

// cgroups puts each worker with all that it starts into a control group of its own, where the node may (cgroup v2, and the group it runs in
// is its own: systemd's Delegate=yes). A nil *cgroups does nothing: process groups and marks in the environment do without.
type cgroups struct{ base string }

// openCgroups takes over the group that this process runs in; keeperPID moves along. mounts and own are /proc/self/mounts and
// /proc/self/cgroup outside tests. Where it cannot, it returns nil.
func openCgroups(mounts, own string, keeperPID int) *cgroups {
	root, path := unifiedMount(mounts), unifiedPath(own)
	if root == "" || path == "" {
		return nil
	}
	base := filepath.Join(root, strings.TrimSuffix(path, "/"+nodeGroup)) // a former run moved the keeper, and with it this process
	c := &cgroups{base: base}
	if path == "/" || c.claim(keeperPID) != nil {
		return nil // the root group is everybody's
	}
	return c
}

// claim moves the node's own processes aside and asks for the controllers that the limits need.
func (c *cgroups) claim(keeperPID int) error {
	node := filepath.Join(c.base, nodeGroup)
	for _, dir := range []string{node, filepath.Join(c.base, workersGroup)} {
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	for _, pid := range []int{keeperPID, os.Getpid()} {
		if err := write(filepath.Join(node, "cgroup.procs"), strconv.Itoa(pid)); err != nil {
			return err
		}
	}
	for _, controller := range []string{"memory", "cpu", "pids"} {
		for _, dir := range []string{c.base, filepath.Join(c.base, workersGroup)} {
			_ = write(filepath.Join(dir, "cgroup.subtree_control"), "+"+controller) // a limit that needs it says so
		}
	}
	return nil
}

// write writes a control file.
func write(path, text string) error { return os.WriteFile(path, []byte(text), 0o644) }

// unifiedMount is where cgroup v2 is mounted.
func unifiedMount(mounts string) string {
	f, err := os.Open(mounts)
	if err != nil {
		return ""
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) > 2 && w[2] == "cgroup2" {
			return w[1]
		}
	}
	return ""
}

// unifiedPath is this process's group in cgroup v2.
func unifiedPath(own string) string {
	raw, err := os.ReadFile(own)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(raw)) {
		if path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			return path
		}
	}
	return ""
}

// group is one worker's.
func (c *cgroups) group(number int) string {
	return filepath.Join(c.base, workersGroup, strconv.Itoa(number))
}

// make makes a worker's group with its limits, and returns its folder, open; -1 where there are no groups. A limit that cannot be kept is an
// error: whoever set it counts on it.
func (c *cgroups) make(number int, l Limits) (int, error) {
	if c == nil {
		if l.Memory > 0 || l.CPU > 0 || l.Tasks > 0 {
			return -1, errors.New("limits on memory, CPU and tasks need cgroup v2, delegated to the node: run it by systemd with Delegate=yes, or take the limits out")
		}
		return -1, nil
	}
	dir := c.group(number)
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return -1, fmt.Errorf("make the worker's control group: %w", err)
	}
	for _, limit := range []struct {
		file, text string
		set        bool
	}{
		{"memory.max", strconv.FormatUint(l.Memory, 10), l.Memory > 0},
		{"cpu.max", fmt.Sprintf("%d %d", int(l.CPU*cpuPeriod), cpuPeriod), l.CPU > 0},
		{"pids.max", strconv.FormatUint(l.Tasks, 10), l.Tasks > 0},
	} {
		if !limit.set {
			continue
		}
		if err := write(filepath.Join(dir, limit.file), limit.text); err != nil {
			c.remove(number)
			return -1, fmt.Errorf("limit the worker (%s): %w", limit.file, err)
		}
	}
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		c.remove(number)
		return -1, fmt.Errorf("open the worker's control group: %w", err)
	}
	return fd, nil
}

// end ends all that is left in a worker's group; whoever left its process group and wiped its environment is there all the same.
func (c *cgroups) end(number int) {
	if c != nil {
		_ = write(filepath.Join(c.group(number), "cgroup.kill"), "1") // before Linux 5.14 the marks have to do
	}
}

// remove removes a worker's group, once it is empty.
func (c *cgroups) remove(number int) {
	if c == nil {
		return
	}
	for range killRounds { // what was killed a moment ago is in there until the kernel is done with it
		if !errors.Is(unix.Rmdir(c.group(number)), unix.EBUSY) {
			return
		}
		<-time.After(killPause)
	}
}

// sweep ends and removes the groups of workers that a former run has left, but for those in spare.
func (c *cgroups) sweep(spare map[int]bool) {
	if c == nil {
		return
	}
	entries, _ := os.ReadDir(filepath.Join(c.base, workersGroup))
	for _, e := range entries {
		if number, err := strconv.Atoi(e.Name()); err == nil && e.IsDir() && !spare[number] {
			c.end(number)
			c.remove(number)
		}
	}
}
