package supervisor

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// unified mounts a cgroup v2 hierarchy of the test's own, with a group that this process is in.
func unified(t *testing.T) (mounts, own string) {
	t.Helper()
	dir := t.TempDir()
	root := filepath.Join(dir, "cg")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("none", root, "cgroup2", 0, ""); err != nil {
		t.Skipf("cgroup v2 cannot be mounted here: %v", err)
	}
	group := fmt.Sprintf("/meshnode-test-%d", os.Getpid())
	t.Cleanup(func() {
		_ = write(filepath.Join(root, "cgroup.procs"), strconv.Itoa(os.Getpid()))
		_ = filepath.WalkDir(filepath.Join(root, group), func(path string, _ os.DirEntry, _ error) error { return nil })
		for _, d := range []string{nodeGroup, workersGroup, ""} {
			_ = unix.Rmdir(filepath.Join(root, group, d))
		}
		_ = unix.Unmount(root, unix.MNT_DETACH)
	})
	if err := os.Mkdir(filepath.Join(root, group), 0o755); err != nil {
		t.Skipf("cgroup v2 cannot be used here: %v", err)
	}
	mounts, own = filepath.Join(dir, "mounts"), filepath.Join(dir, "own")
	if err := os.WriteFile(mounts, []byte("none "+root+" cgroup2 rw 0 0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own, []byte("4:memory:/x\n0::"+group+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return mounts, own
}

// A process that left its group and wiped its environment is still in its worker's control group.
func TestControlGroupHoldsWhateverAWorkerStarts(t *testing.T) {
	mounts, own := unified(t)
	c := openCgroups(mounts, own, os.Getpid())
	if c == nil {
		t.Skip("cgroup v2 cannot be used here")
	}
	fd, err := c.make(7, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	cmd := exec.Command("sh", "-c", "env -i setsid sleep 60 & echo $!; wait")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: fd}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 16)
	n, _ := out.Read(line)
	pid, err := strconv.Atoi(strings.TrimSpace(string(line[:n])))
	if err != nil {
		t.Fatal(err)
	}
	c.end(7)
	if err := cmd.Wait(); err == nil {
		t.Error("the worker was not ended")
	}
	for alive(pid) {
		if raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid)); strings.Contains(string(raw), ") Z ") {
			break
		}
	}
	c.sweep(nil)
	if _, err := os.Stat(c.group(7)); !os.IsNotExist(err) {
		t.Errorf("the group is still there: %v", err)
	}
}

func TestLimitsWithoutControlGroups(t *testing.T) {
	var c *cgroups
	if fd, err := c.make(1, Limits{OpenFiles: 5}); fd != -1 || err != nil {
		t.Errorf("without limits: %d, %v", fd, err)
	}
	if _, err := c.make(1, Limits{Memory: 1 << 20}); err == nil || !strings.Contains(err.Error(), "Delegate=yes") {
		t.Errorf("a limit that cannot be kept: %v", err)
	}
	c.end(1)
	c.remove(1)
	c.sweep(nil)
	if c := openCgroups("/no/such/file", "/proc/self/cgroup", 1); c != nil {
		t.Error("groups without a mount")
	}
}
