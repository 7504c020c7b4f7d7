package supervisor

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"meshnode/node/supervisor/nodeipc"
	"meshnode/node/supervisor/output"
)

// Mode is how connections reach a worker.
type Mode string

// The modes.
const (
	ModeCluster Mode = "cluster" // ModeCluster passes accepted sockets over Node's IPC channel.
	ModeSocket  Mode = "socket"  // ModeSocket lets the worker inherit a listening socket of its own, on a private port.
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
	App       string
	Release   uint64
	Command   []string // Command is argv; a bare program name is looked up in PATH.
	Dir       string   // Dir is the absolute working directory.
	Env       []string // Env holds "KEY=value", laid over the node's own environment.
	Mode      Mode
	Port      int  // Port is the value of PORT in mode cluster; 0 leaves it unset.
	Serves    bool // Serves is set in modes port and socket when clients reach the app: the worker must listen.
	WaitReady bool // WaitReady: ready once the worker says so, and not before. Otherwise its word counts for nothing.
	Times     Times
	Account   Account
	Restart   Restart
	Health    Health
	Logs      output.Policy // Logs says how the output is kept.
	Guess
}

// Times are the deadlines of a worker's start and end.
type Times struct {
	Listen time.Duration // Listen is how long a worker may take to become ready.
	Watch  time.Duration // Watch is how long the successor of a worker must stay up, ready, before it takes its place.
	Drain  time.Duration // Drain is how long open connections may take to finish before a stop.
	Kill   time.Duration // Kill is how long the process may take to end after the stop signal.
}

// Account is what a worker's processes are given beside command and environment.
type Account struct {
	User, Group  string   // User and Group are names or numbers; empty for the node's own.
	InstanceVar  string   // InstanceVar names the variable with the slot.
	IncrementVar string   // IncrementVar names a variable of Env that grows with the slot.
	FilterEnv    []string // FilterEnv are names of the node's variables to leave out; a trailing "*" stands for the rest.
	StopSignal   string   // StopSignal is such as "SIGINT"; empty for SIGTERM.
	StopMessage  bool     // StopMessage sends Node's message "shutdown" instead.
	LeaveTree    bool     // LeaveTree ends the worker's own process alone.
	Header       byte     // Header is the version of the PROXY protocol header that it is given before each connection; 0 = none.
	Limits       Limits
}

// Limits bound a worker; 0 = none.
type Limits struct {
	Memory    uint64  // bytes
	CPU       float64 // cores
	Tasks     uint64  // processes and threads (count)
	OpenFiles uint64  // descriptors of each process (count)
}

// Restart is when a worker is started again.
type Restart struct {
	Off           bool
	StopExitCodes []int
	MinUptime     time.Duration // MinUptime: a worker that lived less was a failed start.
	Max           int           // Max is how many failed starts in a row end the trying.
	Delay         time.Duration // Delay is a fixed wait; 0 = the growing one.
	Backoff       time.Duration // Backoff is the first of the growing waits.
	MaxMemory     uint64        // MaxMemory in bytes; a worker beyond it is replaced. 0 = none.
	Cron          string        // Cron is when all workers are replaced in turn.
	Watch         []string      // Watch are the paths whose change replaces the workers.
	IgnoreWatch   []string
	WatchDelay    time.Duration
	Alone         bool // Alone: two workers of a slot cannot run at once; a replacement starts after the end of the old one.
}

// Health is how a worker is told to be well.
type Health struct {
	Path     string // Path is asked for by HTTP; empty = not.
	TCP      bool   // TCP checks by connecting, workers in modes port and socket.
	Header   []byte // Header is what such a worker expects before a request; nil = nothing.
	Interval time.Duration
	Timeout  time.Duration
	Fall     int
	Rise     int
	Hang     time.Duration // Hang is how long a Node worker's event loop may be blocked; negative = for ever.
}

// AutoMode returns the mode for a command whose mode was left open: cluster for Node.js and what starts it, port for all else.
func AutoMode(command []string) Mode {
	if len(command) > 0 && (isNode(command[0]) || isLauncher(command[0])) {
		return ModeCluster
	}
	return ModePort
}

func isNode(program string) bool {
	base := filepath.Base(program)
	return base == "node" || base == "nodejs" || strings.HasPrefix(base, "node-")
}

// isLauncher reports whether a program is Node.js itself, but runs the app in another process.
func isLauncher(program string) bool {
	return slices.Contains([]string{"npm", "npx", "yarn", "yarnpkg", "pnpm", "pnpx", "tsx", "ts-node", "next", "nodemon"}, filepath.Base(program))
}

// inherits reports whether the app runs in the process that is started, so that this one is given Node's own channel. A launcher would take it
// and, with it, listen and talk in the app's place.
func inherits(command []string) bool {
	if !isNode(command[0]) {
		return false
	}
	for i := 1; i < len(command); i++ {
		switch arg := command[i]; {
		case arg == "--watch" || strings.HasPrefix(arg, "--watch-path"):
			return false
		case slices.Contains([]string{"-r", "--require", "--import", "--loader", "--experimental-loader", "-C", "--conditions"}, arg):
			i++ // its value
		case !strings.HasPrefix(arg, "-"):
			return !isLauncher(arg)
		}
	}
	return true
}

// Worker is one running process as the routing sees it.
type Worker struct {
	ID      string // ID is unique for the life of the node: "app/slot#start".
	App     string
	Slot    int
	Release uint64
	Mode    Mode
	Serves  bool
	PID     int
	Addr    string          // Addr is the private "127.0.0.1:port" in modes port and socket.
	Header  byte            // Header is the version of the PROXY protocol header that it wants; 0 = none.
	Channel *nodeipc.Family // Channel is what its Node.js processes are spoken to by in mode cluster, else nil.
	// Uncaught are the client addresses that its app would bind by itself; it serves them in mode port.
	Uncaught []string
	Checking *atomic.Uint32 // Checking is from which port the health check asks it at this moment, 0 = from none; nil where it is not known.
	Adopted  bool           // Adopted: the worker was started by a former run of the node and may have connections.
	Reports  bool           // Reports: an adopted worker whose started process tells what it has open.
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
	Restarts  int    // Restarts counts starts after an unexpected end, and replacements that were not asked for.
	StartedAt time.Time
	Busy      Busy
	Trouble
}

// Busy is how busy the event loop of a slot's Node.js worker is.
type Busy struct {
	Share float64 // Share of the last second, about, that it worked; in [0,1].
	Known bool    // Known is unset for a worker that does not tell, and before its first word.
}

// Trouble is what went wrong in a slot.
type Trouble struct {
	Error    string   // Error is the last unexpected end, failed start or refused release, in words; empty once that is mended.
	LastExit string   // LastExit is how the last process of the slot ended.
	Tail     []string // Tail is the last output of the process that failed.
	Done     bool     // Done: the worker ended by itself and is not to be started again (State is StateStopped).
	Unproven bool     // Unproven: the worker is ready, but has not stayed up as long as a new release must.
	Spare    bool     // Spare: the slot is left empty, because the app can run with one worker only (see Uncaught).
	Ill      string   // Ill is why the worker is given no connections though it runs; empty while it is well.
}
