package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The first argument of this program where it is not the benchmark but one job of it, or the first process of a job's namespaces.
const (
	jobWord  = "job:"
	initWord = "init:"
)

const jobLimit = 45 * time.Minute // the longest job is the one of 10,000 restarts

// isolate runs a job in a process of its own, as root in its own network and process namespaces, and returns its result.
func isolate(ctx context.Context, o options, j job, round int) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, jobLimit)
	defer cancel()
	dir, err := os.MkdirTemp(o.dir, "run-")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(dir) // the whole scratch folder goes at the end in any case
	j.Bin, j.Here, j.Dir = o.bin, o.here, dir
	if j.openLoop() {
		j.Count = round // another seed in each round, the same for all contenders
	}
	raw, err := json.Marshal(j)
	if err != nil {
		return result{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return result{}, err
	}
	args := []string{self, jobWord, string(raw)}
	if os.Geteuid() == 0 {
		args = []string{"unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child", self, initWord, string(raw)}
		if j.openLoop() {
			args = append([]string{"chrt", "--rr", "1"}, args...)
		}
	}
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Dir = dir
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the benchmark to hear, which ends the job
	if os.Geteuid() != 0 {
		c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) } // the job ends its contender; namespaces end everything
		c.WaitDelay = time.Minute
	}
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, os.Stderr
	if err := c.Run(); err != nil {
		return result{}, errors.Join(err, keepLogs(o, j, round))
	}
	var r result
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return r, fmt.Errorf("result of a job: %w", err)
	}
	r.Round = round
	return r, keepLogs(o, j, round)
}

// keepLogs copies what the contender wrote about itself.
func keepLogs(o options, j job, round int) error {
	if o.keep == "" {
		return nil
	}
	logs, err := filepath.Glob(filepath.Join(j.Dir, "*.log"))
	if err != nil {
		return err
	}
	more, err := filepath.Glob(filepath.Join(j.Dir, "pm2", "pm2.log"))
	if err != nil {
		return err
	}
	to := filepath.Join(o.keep, fmt.Sprintf("%s-%d", strings.NewReplacer(" ", "_", "/", "_", ":", "").Replace(j.String()), round+1))
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, name := range append(logs, more...) {
		raw, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(name)), raw, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// initMain is the first process of a job's namespaces: it opens the loopback device, runs the job as a child, and reaps whatever is left to
// it. When it ends, so does everything in the namespaces.
func initMain(raw string) int {
	for _, args := range [][]string{{"ip", "link", "set", "lo", "up"}, {"sysctl", "-qw", "net.ipv4.ip_local_port_range=10240 65000"}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s: %v: %s\n", strings.Join(args, " "), err, out)
			return 1
		}
	}
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	p, err := os.StartProcess(self, []string{self, jobWord, raw}, &os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			fmt.Fprintln(os.Stderr, "bench: wait:", err)
			return 1
		case pid == p.Pid:
			return status.ExitStatus()
		}
	}
}
