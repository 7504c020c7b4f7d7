package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Start is what a worker is started with.
type Start struct {
	Name      string          `json:"name"` // Name is what it is kept under.
	Meta      json.RawMessage `json:"meta"`
	Path      string          `json:"path"` // Path of the program, absolute.
	Argv      []string        `json:"argv"`
	Env       []string        `json:"env"`
	Dir       string          `json:"dir"`
	User      *Account        `json:"user,omitempty"`       // User is nil for the node's own.
	OpenFiles uint64          `json:"open_files,omitempty"` // OpenFiles limits the descriptors; 0 = as the node.
	Inherit   int             `json:"inherit"`              // Inherit is how many of the files the worker gets, as 0, 1, 2, ...
	Cgroup    bool            `json:"cgroup,omitempty"`     // Cgroup: the file after those is the folder of its cgroup.
}

// Account is a user with groups, by number.
type Account struct {
	UID    uint32   `json:"uid"`
	GID    uint32   `json:"gid"`
	Groups []uint32 `json:"groups"`
}

// start forks a worker. Of the files those after the worker's are kept under its name.
func (k *Keeper) start(r request) (int, error) {
	var s Start
	if err := json.Unmarshal(r.p.Body, &s); err != nil || s.Inherit < 0 || s.Inherit > len(r.fds) {
		closeAll(r.fds)
		return 0, errors.Join(errors.New("a start that cannot be read"), err)
	}
	if err := k.room(s.Name, s.Meta, len(r.fds)-s.Inherit); err != nil { // a worker that is not kept would be nobody's
		closeAll(r.fds)
		return 0, err
	}
	theirs, rest := r.fds[:s.Inherit], r.fds[s.Inherit:]
	sys := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if s.User != nil {
		sys.Credential = &syscall.Credential{Uid: s.User.UID, Gid: s.User.GID, Groups: s.User.Groups}
	}
	if s.Cgroup && len(rest) > 0 {
		sys.UseCgroupFD, sys.CgroupFD = true, rest[0]
		theirs, rest = r.fds[:s.Inherit+1], rest[1:]
	}
	defer closeAll(theirs)
	path, argv := s.limited()
	attr := &syscall.ProcAttr{Dir: s.Dir, Env: s.Env, Files: numbers(theirs[:s.Inherit]), Sys: sys}
	do := fork
	if s.User != nil {
		do = k.tame.fork
	}
	pid, err := do(path, argv, attr)
	if err != nil {
		closeAll(rest)
		return 0, err
	}
	k.children.add(pid)
	goFirst(pid)
	return pid, k.hold(s.Name, s.Meta, rest, pid)
}

// workerScore is added to what the kernel goes by when memory has run out: workers go before the node and this process, by half of what there is. They are
// replaced; if this process goes, all go.
const workerScore = 500

// goFirst sets it, for the worker and all that it will start. To raise it needs no rights; one that this process itself has, and is higher, stays.
func goFirst(pid int) {
	if own, err := os.ReadFile("/proc/self/oom_score_adj"); err == nil {
		if k, err := strconv.Atoi(strings.TrimSpace(string(own))); err == nil && k >= workerScore {
			return
		}
	}
	// A kernel without it, or a process that has ended already: nothing depends on it until memory runs out.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(strconv.Itoa(workerScore)), 0)
}

// limited is the command that runs the worker's under its limit of descriptors. A shell sets it: whoever is forked runs at once, so from outside the
// limit might come late; and the keeper's own cannot be lowered for a moment, since it has more open than a worker may.
func (s Start) limited() (path string, argv []string) {
	if s.OpenFiles == 0 || len(s.Argv) == 0 {
		return s.Path, s.Argv
	}
	set := fmt.Sprintf(`ulimit -n %d 2>/dev/null; exec "$0" "$@"`, s.OpenFiles)
	return "/bin/sh", append([]string{"sh", "-c", set, s.Path}, s.Argv[1:]...)
}

func fork(path string, argv []string, attr *syscall.ProcAttr) (int, error) {
	pid, err := syscall.ForkExec(path, argv, attr)
	if err != nil {
		return 0, fmt.Errorf("start %s: %w", path, err)
	}
	return pid, nil
}

// tame forks workers that cannot gain privileges, by no program that is run (no_new_privs): whoever runs as another user is not to become root by a
// setuid program. The attribute belongs to the thread that forks and is not given back, so it is a thread of its own. It lives as long as the process: the
// kernel ends workers when the thread that forked them ends.
type tame struct {
	once  sync.Once
	calls chan func()
	err   error
}

func (t *tame) fork(path string, argv []string, attr *syscall.ProcAttr) (pid int, err error) {
	t.once.Do(func() {
		t.calls = make(chan func())
		ready := make(chan error)
		go func() {
			runtime.LockOSThread()
			ready <- unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
			for call := range t.calls {
				call()
			}
		}()
		t.err = <-ready
	})
	if t.err != nil {
		return 0, fmt.Errorf("start %s: give up the right to gain privileges: %w", path, t.err)
	}
	done := make(chan struct{})
	t.calls <- func() {
		pid, err = fork(path, argv, attr)
		close(done)
	}
	<-done
	return pid, err
}

func numbers(fds []int) []uintptr {
	out := make([]uintptr, len(fds))
	for i, fd := range fds {
		out[i] = uintptr(fd)
	}
	return out
}
