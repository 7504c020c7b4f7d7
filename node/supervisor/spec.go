package supervisor

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"meshnode/node/supervisor/nodeipc"
	"meshnode/node/supervisor/output"
)

// Mode is how connections reach a worker.
type Mode string

// The modes.
const (
	ModeCluster Mode = "cluster" // ModeCluster passes accepted sockets over Node's IPC channel.
	ModePort    Mode = "port"    // ModePort gives the worker a private loopback port in PORT.
)

// Order is the order of a replacement.
type Order uint8

// The orders.
const (
	StartFirst Order = iota // StartFirst: the successor is ready before the old worker is drained.
	StopFirst               // StopFirst: the old worker has ended before the successor starts.
)

// Spec is what a worker is started with. It is not changed after it was handed over.
type Spec struct {
	App           string
	Release       uint64
	Command       []string // Command is argv; a bare program name is looked up in PATH.
	Dir           string   // Dir is the absolute working directory.
	Env           []string // Env holds "KEY=value", laid over the node's own environment.
	Mode          Mode
	Port          int           // Port is the value of PORT in mode cluster; 0 leaves it unset.
	Serves        bool          // Serves is set in mode port when clients reach the app: the worker must listen on PORT.
	Undecided     bool          // Undecided is set in mode cluster while nobody knows whether the worker listens: living for quietAfter is ready enough.
	WaitReady     bool          // WaitReady: ready once the worker says so, and not before. Otherwise its word counts for nothing.
	ListenTimeout time.Duration // ListenTimeout is how long a worker may take to become ready.
	DrainTimeout  time.Duration // DrainTimeout is how long open connections may take to finish before a stop.
	KillTimeout   time.Duration // KillTimeout is how long the process may take to end after the stop signal.
	Logs          output.Policy // Logs says how the output is kept.
}

// AutoMode returns the mode for a command whose mode was left open: cluster for Node.js, port for all else.
func AutoMode(command []string) Mode {
	if len(command) == 0 {
		return ModePort
	}
	switch base := filepath.Base(command[0]); {
	case base == "node" || base == "nodejs" || strings.HasPrefix(base, "node-"):
		return ModeCluster
	default:
		return ModePort
	}
}

// Worker is one running process as the routing sees it.
type Worker struct {
	ID      string // ID is unique for the life of the node: "app/slot#start".
	App     string
	Slot    int
	Release uint64
	Mode    Mode
	Serves  bool
	Addr    string           // Addr is the private "127.0.0.1:port" in mode port.
	Channel *nodeipc.Channel // Channel is the IPC channel in mode cluster, else nil.
}

// Exit is one end of a worker's process.
type Exit struct {
	Worker
	Code   int    // Code is the exit code, -1 when a signal ended it.
	Signal string // Signal is such as "SIGKILL", else empty.
	Reason string // Reason is how it ended and why, in words.
}

// Router is what the supervisor needs of the routing.
type Router interface {
	// Route says that the worker may be given connections from now on.
	Route(w Worker)
	// Unroute takes the worker out: from its return on, it is given no new connection.
	Unroute(w Worker)
	// Drained blocks until the worker has no open connection, or the context ends (then it returns the context's error).
	Drained(ctx context.Context, w Worker) error
	// Ended says that the worker's process is gone, and with it every connection it had.
	Ended(w Worker)
	// Listen answers a Node worker's listen call. It must not block.
	Listen(w Worker, q nodeipc.Query) nodeipc.Reply
	// Unlisten says that a Node worker closed its server on key.
	Unlisten(w Worker, key string)
}

// State is the state of a slot, as list shows it.
type State string

// The states.
const (
	StateStarting State = "starting"
	StateReady    State = "ready"
	StateDraining State = "draining"
	StateStopping State = "stopping"
	StateStopped  State = "stopped"
	StateBackoff  State = "backoff"
	StateFailed   State = "failed"
)

// Status is a snapshot of one slot.
type Status struct {
	App       string
	Slot      int
	PID       int // PID of the worker that serves, or of the one that starts; 0 = none
	Worker    string
	State     State
	Mode      Mode
	Release   uint64 // Release of the worker that serves, or of the one that starts.
	Replacing uint64 // Replacing is the release of the successor that is being started; 0 = none.
	Refused   uint64 // Refused is the last release whose worker did not become ready while an older one served on; 0 = none.
	Restarts  int    // Restarts counts starts after an unexpected end.
	StartedAt time.Time
	Error     string   // Error is the last unexpected end, failed start or refused release, in words; empty once that is mended.
	LastExit  string   // LastExit is how the last process of the slot ended.
	Tail      []string // Tail is the last output of the process that failed.
}
