package keeper

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// orphan has a shell leave a child behind, ends the child, and returns its number.
func orphan(t *testing.T, launcher string) int {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	cmd := exec.Command("sh", "-c", launcher+" cat <&3 >/dev/null 2>&1 & echo $!")
	cmd.ExtraFiles = []*os.File{r}
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		t.Fatal(err)
	}
	w.Close() // now that its parent is gone
	for !hasEnded(pid) {
		runtime.Gosched()
	}
	for range 1000 { // while one of our threads ends, its children are on no list for a moment
		if zombies()[pid] {
			return pid
		}
	}
	t.Fatalf("process %d is no ended child of this one", pid)
	return 0
}

func TestOrphansAreReaped(t *testing.T) {
	adopt(true)
	defer adopt(false)
	pid := orphan(t, "")
	c := newChildren()
	if c.look(true); zombies()[pid] {
		t.Error("still there")
	}
}

func TestAGroupThatHasEndedIsReaped(t *testing.T) {
	adopt(true)
	defer adopt(false)
	pid := orphan(t, "setsid") // a group of its own
	if reapGroup(pid) {
		t.Error("a group of one that has ended is said to live")
	}
	if zombies()[pid] {
		t.Error("not reaped")
	}
}

func TestAGroupThatLives(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !reapGroup(cmd.Process.Pid) {
		t.Error("a group that lives is said to have ended")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
}
