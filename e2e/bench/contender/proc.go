package contender

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of processor time in /proc.
const tick = 10 * time.Millisecond

// stat are the fields of /proc/<pid>/stat behind the command's name; the first one is the state.
func stat(pid int) ([]string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil, err
	}
	f := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+1:]))
	if len(f) < 22 {
		return nil, errors.New("short stat of a process")
	}
	return f, nil
}

// CPU is the processor time that processes have used so far. One that has ended counts as none.
func CPU(pids []int) time.Duration {
	var sum time.Duration
	for _, pid := range pids {
		f, err := stat(pid)
		if err != nil {
			continue
		}
		user, _ := strconv.Atoi(f[11])
		system, _ := strconv.Atoi(f[12])
		sum += time.Duration(user+system) * tick
	}
	return sum
}

// RSS is the resident memory of processes, in bytes.
func RSS(pids []int) int64 {
	var sum int64
	for _, pid := range pids {
		f, err := stat(pid)
		if err != nil {
			continue
		}
		pages, _ := strconv.ParseInt(f[21], 10, 64)
		sum += pages * int64(os.Getpagesize())
	}
	return sum
}

// children are the living children of a process.
func children(parent int) []int {
	var out []int
	for _, pid := range processes() {
		f, err := stat(pid)
		if err == nil && f[0] != "Z" && f[1] == strconv.Itoa(parent) {
			out = append(out, pid)
		}
	}
	return out
}

// Descendants are the children of a process and theirs.
func Descendants(parent int) []int {
	var out []int
	for _, pid := range children(parent) {
		out = append(append(out, pid), Descendants(pid)...)
	}
	return out
}

// processes are all process ids, in order.
func processes() []int {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil
	}
	var out []int
	for _, name := range names {
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil {
			out = append(out, pid)
		}
	}
	slices.Sort(out)
	return out
}

// Running are the living processes whose command line names the script: workers, whoever their parent is.
func Running(script string) []int {
	var out []int
	for _, pid := range processes() {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		args := strings.Split(string(line), "\x00")
		if err != nil || pid == os.Getpid() || filepath.Base(strings.Fields(args[0] + " -")[0]) != "node" || !strings.Contains(string(line), script) {
			continue
		}
		if f, err := stat(pid); err == nil && f[0] != "Z" {
			out = append(out, pid)
		}
	}
	return out
}

// Executable is the file that a process runs.
func Executable(pid int) string {
	name, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return ""
	}
	return strings.TrimSuffix(name, " (deleted)")
}
