package supervisor

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// errNoSocket means that no process of a worker has a socket that listens at its private port.
var errNoSocket = errors.New("no process of the worker listens at its port")

// Sockets returns duplicates of the sockets on which the worker, or a process of its group, listens at its private port. They are the caller's; the
// worker has them as before. It takes the right to trace the worker: root has it, and a node that runs its workers as its own user, unless the kernel is
// told otherwise (kernel.yama.ptrace_scope). Errors: syscall.EPERM and the like, wrapped.
func (w Worker) Sockets() ([]int, error) {
	at, err := netip.ParseAddrPort(w.Addr)
	if err != nil || w.PID <= 0 {
		return nil, errNoSocket
	}
	wanted := make(map[string]bool)
	for _, table := range []string{"tcp", "tcp6"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/%s", w.PID, table))
		if err != nil {
			continue // without IPv6 there is no second table
		}
		for s := bufio.NewScanner(bytes.NewReader(raw)); s.Scan(); {
			if f := strings.Fields(s.Text()); len(f) >= 10 && f[3] == "0A" {
				if a, ok := kernelAddr(f[1]); ok && a.Port() == at.Port() {
					wanted["socket:["+f[9]+"]"] = true
				}
			}
		}
	}
	fds, err := borrow(w.PID, wanted)
	for _, pid := range groupOf(w.PID) {
		if err != nil || len(wanted) == 0 {
			break
		}
		var more []int
		more, err = borrow(pid, wanted)
		fds = append(fds, more...)
	}
	if len(fds) > 0 {
		return fds, nil
	}
	if err == nil {
		err = errNoSocket
	}
	return nil, err
}

// borrow duplicates those of a process's descriptors that are wanted, and takes them off the list. A process that is gone has none.
func borrow(pid int, wanted map[string]bool) ([]int, error) {
	dir := filepath.Join("/proc", strconv.Itoa(pid), "fd")
	open, err := os.ReadDir(dir)
	if skip, err := passOver(err); skip || err != nil || len(wanted) == 0 {
		return nil, err
	}
	process := -1
	defer func() {
		if process >= 0 {
			unix.Close(process)
		}
	}()
	var out []int
	for _, d := range open {
		link := linkOf(filepath.Join(dir, d.Name()))
		n, err := strconv.Atoi(d.Name())
		if err != nil || !wanted[link] {
			continue
		}
		if process < 0 {
			if process, err = unix.PidfdOpen(pid, 0); err != nil {
				return out, fmt.Errorf("open worker %d: %w", pid, err)
			}
		}
		fd, err := unix.PidfdGetfd(process, n, 0)
		if err != nil {
			return out, fmt.Errorf("take a socket of worker %d: %w", pid, err)
		}
		delete(wanted, link)
		out = append(out, fd)
	}
	return out, nil
}

// groupOf lists the other processes of a group.
func groupOf(leader int) []int {
	var out []int
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil || pid == leader {
			continue
		}
		if f := statOf(pid); len(f) > 2 && f[2] == strconv.Itoa(leader) {
			out = append(out, pid)
		}
	}
	return out
}

// statOf is what the kernel says of a process behind its name: state, parent, group, and so on. It is empty where the process is gone.
func statOf(pid int) []string {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	i := bytes.LastIndexByte(raw, ')') // a name may have anything in it
	if i < 0 {
		return nil
	}
	return strings.Fields(string(raw[i+1:]))
}

// Stopped reports whether a process is stopped, by a signal or a debugger.
func Stopped(pid int) bool {
	f := statOf(pid)
	return len(f) > 0 && (f[0] == "T" || f[0] == "t")
}
