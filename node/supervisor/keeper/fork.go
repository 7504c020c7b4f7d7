package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"syscall"
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
	pid, err := fork(path, argv, &syscall.ProcAttr{Dir: s.Dir, Env: s.Env, Files: numbers(theirs[:s.Inherit]), Sys: sys})
	if err != nil {
		closeAll(rest)
		return 0, err
	}
	k.children.add(pid)
	return pid, k.hold(s.Name, s.Meta, rest, pid)
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

func numbers(fds []int) []uintptr {
	out := make([]uintptr, len(fds))
	for i, fd := range fds {
		out[i] = uintptr(fd)
	}
	return out
}
