package spec

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
)

// Mode is the way connections reach the workers of an app.
type Mode string

const (
	// ModeAuto lets the node choose by what the command is and what the worker does.
	ModeAuto Mode = "auto"
	// ModeCluster is for unmodified Node.js programs: accepted sockets are passed to the workers.
	ModeCluster Mode = "cluster"
	// ModeSocket is for programs that take over an inherited listening socket (LISTEN_FDS, LISTEN_PID).
	ModeSocket Mode = "socket"
	// ModePort is for any program that listens on the port named by the environment variable PORT.
	ModePort Mode = "port"
)

// Order says how workers of older releases are replaced.
type Order string

const (
	// OrderStartFirst starts a new worker, waits until it is ready, and only then drains an old one.
	OrderStartFirst Order = "start-first"
	// OrderStopFirst drains an old worker before its successor starts: for programs that cannot run twice.
	OrderStopFirst Order = "stop-first"
	// OrderRestart is OrderStopFirst for the present release and OrderStartFirst for all that follow: what an operator asks
	// for once, of an app that is otherwise replaced without a gap.
	OrderRestart Order = "restart"
)

// Limits on one app. They bound what a node keeps in memory and on disk for it.
const (
	// MaxWorkers is the largest number of workers per node.
	MaxWorkers = 1024
	// MaxListen is the largest number of addresses in App.Listen, and in App.Learned.
	MaxListen = 16
	// MaxAppBytes is the largest size of an App as JSON, in bytes.
	MaxAppBytes = 128 << 10
	// MaxTimeout is the largest value of each of the Timeouts, in seconds: one day.
	MaxTimeout = 86400
)

// Defaults of the Timeouts, in seconds.
const (
	DefaultListenSeconds = 30
	DefaultDrainSeconds  = 30
	DefaultKillSeconds   = 10
	DefaultWatchSeconds  = 1
)

// App is a named workload as the operator wants it. Name, Command and Dir have no default.
type App struct {
	// Name identifies the app: a letter or digit, then up to 62 letters, digits, dots, dashes and underscores.
	// "all" is taken by the command line.
	Name string `json:"name"`
	// Namespace groups apps: verbs take it in the place of an app's name. Empty for none.
	Namespace string `json:"namespace,omitempty"`
	// Command is the argument vector of a worker, the program first.
	Command []string `json:"command"`
	// Dir is the absolute working directory of a worker.
	Dir string `json:"dir"`
	// Env is added to the environment of a worker.
	Env map[string]string `json:"env,omitempty"`
	// Workers is the number of workers per node; 0 means one per usable core.
	Workers int `json:"workers"`
	// Mode is how connections reach a worker.
	Mode Mode `json:"mode"`
	// Listen holds the client addresses, "host:port" or ":port"; with "/udp" behind it, for datagrams.
	Listen []string `json:"listen,omitempty"`
	// WaitReady makes a worker count as ready only after it said so itself.
	WaitReady bool `json:"wait_ready,omitempty"`
	// Timeouts are the deadlines of starting and stopping a worker.
	Timeouts Timeouts `json:"timeouts"`
	// Stopped keeps the app known, with no worker running.
	Stopped bool `json:"stopped,omitempty"`
	// Order is how workers of older releases are replaced.
	Order Order `json:"order"`
	// Process is what the processes of a worker are given beside command and environment.
	Process Process `json:"process,omitzero"`
	Care
	Standing
}

// Standing is what the state machine keeps of an app. What a proposer sets there is ignored.
type Standing struct {
	// Release is the present version of the app; versions are counted from 1 and a number is never used twice.
	Release uint64 `json:"release"`
	// Learned holds the client addresses that workers asked for themselves, sorted.
	Learned []string `json:"learned,omitempty"`
	// Created is the Raft index of the command that made the app.
	Created uint64 `json:"created"`
	// Modified is the Raft index of the last command that touched the app.
	Modified uint64 `json:"modified"`
	// Rollout is how far Release has come over the nodes.
	Rollout Rollout `json:"rollout,omitzero"`
	// Newest is the highest number that a release of the app ever had, refused ones included; 0 means Release.
	Newest uint64 `json:"newest,omitempty"`
	// Since is when Release was proposed, in seconds of Unix time by the proposer's clock; 0 when it is not known.
	Since int64 `json:"since,omitempty"`
}

// Timeouts are deadlines in seconds. Zero means the default.
type Timeouts struct {
	// Listen is how long a new worker may take to become ready, in seconds.
	Listen float64 `json:"listen_seconds"`
	// Drain is how long a worker may take to finish its open connections, in seconds.
	Drain float64 `json:"drain_seconds"`
	// Kill is how long a worker may take to exit after its stop signal before it is killed, in seconds.
	Kill float64 `json:"kill_seconds"`
	// Watch is how long a new worker of a new release must stay up, ready, before it is given connections and the rollout goes
	// on, in seconds. Negative means not at all.
	Watch float64 `json:"watch_seconds,omitempty"`
}

// WithDefaults returns a deep copy of a in which every empty field that has a default holds it.
func (a App) WithDefaults() App {
	a = a.Clone()
	if a.Mode == "" {
		a.Mode = ModeAuto
	}
	if a.Order == "" {
		a.Order = OrderStartFirst
	}
	a.Timeouts.Listen = orDefault(a.Timeouts.Listen, DefaultListenSeconds)
	a.Timeouts.Drain = orDefault(a.Timeouts.Drain, DefaultDrainSeconds)
	a.Timeouts.Kill = orDefault(a.Timeouts.Kill, DefaultKillSeconds)
	a.Timeouts.Watch = orDefault(a.Timeouts.Watch, DefaultWatchSeconds)
	a.Restart = a.Restart.withDefaults()
	a.Health = a.Health.withDefaults()
	a.Logs = a.Logs.withDefaults()
	return a
}

// Clone returns a deep copy of a: changing it never reaches the original.
func (a App) Clone() App {
	a.Command = slices.Clone(a.Command)
	a.Env = maps.Clone(a.Env)
	a.Listen = slices.Clone(a.Listen)
	a.Learned = slices.Clone(a.Learned)
	a.Process.FilterEnv = slices.Clone(a.Process.FilterEnv)
	a.Process.SecretEnv = maps.Clone(a.Process.SecretEnv)
	a.Restart.StopExitCodes = slices.Clone(a.Restart.StopExitCodes)
	a.Restart.Watch = slices.Clone(a.Restart.Watch)
	a.Restart.IgnoreWatch = slices.Clone(a.Restart.IgnoreWatch)
	a.Rollout.Nodes = slices.Clone(a.Rollout.Nodes)
	a.Clients = a.Clients.clone()
	return a
}

// SameProcess reports whether a worker started for a can stay for b: whether they agree in every field that a
// running process depends on. Workers, Stopped, Order, Namespace, Balance, Clients and the fields of the state machine are not among them.
func (a App) SameProcess(b App) bool {
	return bytes.Equal(a.process(), b.process())
}

// process is the canonical form of what a running worker depends on. JSON is used as the yardstick because it is what
// the cluster stores: an empty list and an absent one are the same there.
func (a App) process() []byte {
	a.Workers, a.Stopped, a.Order, a.Namespace, a.Standing = 0, false, "", "", Standing{}
	a.Balance, a.Clients = Balance{}, Clients{}
	text, err := json.Marshal(a)
	if err != nil {
		return nil
	}
	return text
}

// Plain reports whether a has none of the fields that came with version 3 of the frames in which it is stored.
func (a App) Plain() bool {
	return !hasDatagrams(a.Listen) && !hasDatagrams(a.Learned) && a.Balance == Balance{} && a.Clients.IsZero() && a.Process.SendProxy == "" && !a.Health.TCP
}

func orDefault[T comparable](v, def T) T {
	if v == *new(T) {
		return def
	}
	return v
}
