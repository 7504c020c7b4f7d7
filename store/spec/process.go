package spec

import (
	"errors"
	"fmt"
	"regexp"
)

// DefaultInstanceVar is the variable that holds a worker's slot.
const DefaultInstanceVar = "NODE_APP_INSTANCE"

// StopSignals are the signals that may ask a worker to end.
func StopSignals() []string {
	return []string{"SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2"}
}

// Process is what the processes of a worker are given beside command and environment. The zero value is the default.
type Process struct {
	// User and Group are the name or number under which a worker runs; empty for the node's own. Group empty: the user's.
	User  string `json:"user,omitempty"`
	Group string `json:"group,omitempty"`
	// InstanceVar names the variable that holds the worker's slot; empty for DefaultInstanceVar.
	InstanceVar string `json:"instance_var,omitempty"`
	// IncrementVar names a variable of Env whose number grows by one with every slot.
	IncrementVar string `json:"increment_var,omitempty"`
	// FilterEnv keeps variables of the node's own environment from the workers: a name, a prefix that ends in "*", or "*" for all.
	FilterEnv []string `json:"filter_env,omitempty"`
	// StopSignal asks a worker to end; empty for SIGTERM.
	StopSignal string `json:"stop_signal,omitempty"`
	// StopMessage sends a Node worker the message "shutdown" instead of the signal.
	StopMessage bool `json:"stop_message,omitempty"`
	// LeaveTree tells and kills the worker's own process alone, and leaves those it started to it.
	LeaveTree bool `json:"leave_tree,omitempty"`
	// SendProxy is the version of the PROXY protocol header by which a worker that is not Node.js is told of each connection's
	// addresses: SendProxyV1, SendProxyV2, or empty for none.
	SendProxy string `json:"send_proxy,omitempty"`
	// Limits bound what a worker may use, with all that it starts.
	Limits Limits `json:"limits,omitzero"`
	// SecretEnv is like App.Env for values that nobody is to read. In the configuration they are sealed; see Sealed.
	SecretEnv map[string]string `json:"secret_env,omitempty"`
}

// Limits bound one worker with all that it starts; zero means no limit. Memory, CPU and Tasks need cgroup v2 on the node.
type Limits struct {
	// Memory is in bytes; beyond it the kernel ends the worker.
	Memory uint64 `json:"memory_bytes,omitempty"`
	// CPU is in cores.
	CPU float64 `json:"cpu_cores,omitempty"`
	// Tasks is the number of processes and threads (count).
	Tasks uint64 `json:"tasks,omitempty"`
	// OpenFiles is the number of descriptors of each process (count).
	OpenFiles uint64 `json:"open_files,omitempty"`
}

var (
	variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)
	accountName  = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}$`)
)

func (p Process) validate() error {
	return errors.Join(
		matches("process.user", p.User, accountName.MatchString, "is no name or number of a user"),
		matches("process.group", p.Group, accountName.MatchString, "is no name or number of a group"),
		matches("process.instance_var", p.InstanceVar, variableName.MatchString, "cannot be the name of a variable"),
		matches("process.increment_var", p.IncrementVar, variableName.MatchString, "cannot be the name of a variable"),
		oneOf("process.stop_signal", p.StopSignal, append(StopSignals(), "")...),
		oneOf("process.send_proxy", p.SendProxy, SendProxyV1, SendProxyV2, ""),
		validateList("process.filter_env", p.FilterEnv),
		validateRange("process.limits.cpu_cores", p.Limits.CPU, 4096),
	)
}

// matches reports that v, where it is not empty, is not what key may hold.
func matches(key, v string, ok func(string) bool, what string) error {
	if v == "" || ok(v) {
		return nil
	}
	return fmt.Errorf("%s: %q %s", key, clip(v), what)
}

// maxList is the largest number of entries of a list of names or patterns (count).
const maxList = 256

func validateList(key string, list []string) error {
	if len(list) > maxList {
		return fmt.Errorf("%s: %d entries, at most %d are allowed", key, len(list), maxList)
	}
	for _, v := range list {
		if v == "" || !passable(v) {
			return fmt.Errorf("%s: %q cannot be an entry", key, clip(v))
		}
	}
	return nil
}
