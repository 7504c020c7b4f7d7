package api

import "time"

// Status is the answer to "how is the cluster": the shape scripts read from status -json.
type Status struct {
	Cluster  string         `json:"cluster"`  // cluster identity; empty until the node belongs to one
	Leader   string         `json:"leader"`   // node name of the leader, or ""
	Quorum   bool           `json:"quorum"`   // false = configuration changes are refused
	Index    uint64         `json:"index"`    // configuration index this node has applied
	Members  []MemberStatus `json:"members"`  // sorted by node
	Apps     []AppStatus    `json:"apps"`     // sorted by app
	Warnings []Warning      `json:"warnings"` // what the operator should act on

	Settings map[string]string `json:"settings"` // of the cluster, defaults included
}

// MemberStatus is one server as seen by the node that answers.
type MemberStatus struct {
	Node         string            `json:"node"`
	Addr         string            `json:"addr"`   // host:port of the peer port
	Status       string            `json:"status"` // alive, suspect, failed or left
	Role         string            `json:"role"`   // leader, voter or non-voter; empty while not admitted
	Zone         string            `json:"zone"`
	Tags         map[string]string `json:"tags"`
	Cores        int               `json:"cores"`
	Load         float64           `json:"load"` // busy share in [0,1]
	Connections  int               `json:"connections"`
	ForwardedIn  uint64            `json:"forwarded_in"`  // connections taken from peers since start
	ForwardedOut uint64            `json:"forwarded_out"` // connections given to peers since start
	AppliedIndex uint64            `json:"applied_index"`
	Version      string            `json:"version"`
	Uptime       float64           `json:"uptime_seconds"`
	Trusted      *Trusted          `json:"trusted,omitempty"` // missing with -insecure, and of a server that cannot say
}

// Trusted says since when a server has the cluster key, and how it got it: "key" (it was given to it), "code" or "token".
type Trusted struct {
	Since time.Time `json:"since"`
	By    string    `json:"by"`
}

// AppStatus is one app over the whole cluster.
type AppStatus struct {
	App         string   `json:"app"`
	Namespace   string   `json:"namespace"`
	Release     uint64   `json:"release"`
	Listen      []string `json:"listen"`  // client addresses, given and learned
	Workers     int      `json:"workers"` // wanted, over all nodes
	Ready       int      `json:"ready"`   // ready now, over all nodes
	Restarts    uint64   `json:"restarts"`
	Connections int      `json:"connections"`
	Stopped     bool     `json:"stopped"`           // the operator stopped it
	Rollout     *Rollout `json:"rollout,omitempty"` // nil = all nodes have the release
}

// Warning is something the operator should act on.
type Warning struct {
	App    string `json:"app,omitempty"` // the app it concerns, if it is one
	What   string `json:"what"`
	Remedy string `json:"remedy"`
}

// WorkerStatus is one worker: the shape scripts read from list -json.
type WorkerStatus struct {
	App         string  `json:"app"`
	Namespace   string  `json:"namespace"`
	Worker      string  `json:"worker"` // its slot on its node, from "0"
	Node        string  `json:"node"`
	PID         int     `json:"pid"`    // 0 when no process runs
	Status      string  `json:"status"` // starting, ready, draining, stopping, stopped, backoff or failed
	Mode        string  `json:"mode"`   // cluster or port
	Release     uint64  `json:"release"`
	Restarts    uint64  `json:"restarts"`
	CPU         float64 `json:"cpu_percent"`  // 100 = one core
	Memory      uint64  `json:"memory_bytes"` // resident
	Load        float64 `json:"load"`         // how busy it was in about the last second, in [0,1]: its event loop, or of one core
	Connections int     `json:"connections"`
	Uptime      float64 `json:"uptime_seconds"`
}

// Change is the answer to a change of the configuration: what to wait for with Progress.
type Change struct {
	App     string `json:"app"`
	Index   uint64 `json:"index"`   // configuration index of the change
	Release uint64 `json:"release"` // release that holds now
}

// States of NodeProgress.
const (
	StateWorking = "working"
	StateDone    = "done"
	StateFailed  = "failed"
	StateWaiting = "waiting" // its turn in the rollout has not come: it goes on with the release before
)

// Progress tells how far a change of an app has come.
type Progress struct {
	App     string         `json:"app"`
	Release uint64         `json:"release"`           // release that was asked about
	Done    bool           `json:"done"`              // no node is working on it any more, whatever came out
	Nodes   []NodeProgress `json:"nodes"`             // sorted by node
	Refused *Refusal       `json:"refused,omitempty"` // the release was refused everywhere; nil = it was not
}

// NodeProgress is one node's part of a change.
type NodeProgress struct {
	Node    string   `json:"node"`
	Ready   int      `json:"ready"`          // workers of the wanted release that are ready
	Want    int      `json:"want"`           // workers this node should have
	Release uint64   `json:"release"`        // release this node serves now; older than asked = the old one is kept
	Scaled  bool     `json:"scaled"`         // as many workers are ready as there should be, of whichever release, and no others are left
	State   string   `json:"state"`          // StateWorking, StateDone, StateFailed or StateWaiting
	Error   string   `json:"error"`          // why it failed, else empty
	Tail    []string `json:"tail,omitempty"` // last output of the worker that failed
}

// LogLine is one line of a worker's output.
type LogLine struct {
	Time   time.Time `json:"time"`
	Node   string    `json:"node"`
	App    string    `json:"app"`
	Worker string    `json:"worker"`
	Stream string    `json:"stream"` // StreamOut or StreamErr
	Text   string    `json:"text"`   // without the line end

	Kind    string `json:"kind,omitempty"`    // empty for a line; else KindDropped, KindUnreachable or KindNow, in place of one
	Dropped uint64 `json:"dropped,omitempty"` // KindDropped: so many lines are missing here
}

// Kinds of LogLine that are no line.
const (
	KindDropped     = "dropped"     // lines are missing here
	KindUnreachable = "unreachable" // the node does not answer; Text says why
	KindNow         = "now"         // between nodes: the node's past ends here
)

// Streams of LogLine and LogQuery.
const (
	StreamOut = "out"
	StreamErr = "err"
)

// LogQuery says which lines of output are wanted.
type LogQuery struct {
	Apps   []string  // none = every app
	Node   string    // empty = every node; the server drops what a backend sends of other nodes
	Worker string    // empty = every worker; else the slot on its node
	Stream string    // StreamOut, StreamErr, or empty for both
	Lines  int       // at most so many of the past, over all; 0 = none
	Since  time.Time // zero = from the beginning
	Grep   string    // a regular expression that the text must match; empty = all
	Follow bool      // go on with new lines until the client leaves
}

// Upgrade is how the replacement of a node's binary goes.
type Upgrade struct {
	Path    string `json:"path"`    // of the binary; empty = there was none
	Version string `json:"version"` // of the binary that answers, or while it has not taken over, of the new one
	Running bool   `json:"running"` // it is not over
	Error   string `json:"error"`   // why the former binary goes on, else empty
}
