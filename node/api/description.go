package api

import (
	"time"

	"meshnode/store/spec"
)

// Description is everything there is to say about one app.
type Description struct {
	App       spec.App      `json:"app"`
	Status    AppStatus     `json:"status"`
	Nodes     []NodeWorkers `json:"nodes"`             // sorted by node
	Refused   *Refusal      `json:"refused,omitempty"` // of the newest release, if that is not the present one
	Exits     []Exit        `json:"exits"`             // the last ones over all nodes, newest first
	Listeners []Listener    `json:"listeners"`         // sorted by node, then address
	Warnings  []Warning     `json:"warnings,omitempty"`
}

// NodeWorkers are the workers of an app on one node.
type NodeWorkers struct {
	Node     string         `json:"node"`
	Progress NodeProgress   `json:"progress"`
	Workers  []WorkerStatus `json:"workers"`
	Clients  ClientCounts   `json:"clients"`
}

// ClientCounts are the connections of an app that came in by one node, and those that were refused before anybody was asked to serve them.
type ClientCounts struct {
	Open            int    `json:"open"`              // whoever serves them
	Clients         int    `json:"clients"`           // client addresses that are counted now
	OverLimit       uint64 `json:"over_limit"`        // refused because of the limit on connections
	OverClientLimit uint64 `json:"over_client_limit"` // refused because of the limit on one client's
	BadHeader       uint64 `json:"bad_header"`        // refused without a valid PROXY protocol header
	Untrusted       uint64 `json:"untrusted"`         // refused because a header is not believed from there
}

// Exit is one end of a worker's process.
type Exit struct {
	Time    time.Time `json:"time"`
	App     string    `json:"app"`
	Node    string    `json:"node"`
	Worker  string    `json:"worker"`
	Release uint64    `json:"release"`
	Code    int       `json:"code"`   // exit code; -1 when a signal ended it
	Signal  string    `json:"signal"` // name such as "SIGKILL", else empty
	Reason  string    `json:"reason"` // why, as meshnode sees it: "asked to stop", "not ready within 30s"
}

// Listener is one client address of an app on one node.
type Listener struct {
	App     string `json:"app"`
	Node    string `json:"node"`
	Addr    string `json:"addr"`
	State   string `json:"state"` // ListenerOpen or ListenerFailed
	Error   string `json:"error"` // why it failed, else empty
	Learned bool   `json:"learned"`
}

// States of Listener.
const (
	ListenerOpen   = "open"
	ListenerFailed = "failed"
)

// StartRequest asks for an app to run.
type StartRequest struct {
	// App is the app as wanted. When its Modified is not 0, the change is based on that version, and a newer one is a
	// conflict.
	App spec.App `json:"app"`
	// Replace lets App take the place of one of that name; without it that one is a conflict.
	Replace bool `json:"replace"`
}

// Hello is what two nodes tell each other when one wants to join.
type Hello struct {
	Node       string `json:"node"`
	ID         string `json:"id"`
	Addr       string `json:"addr"`       // advertised host:port of the peer port
	Cluster    string `json:"cluster"`    // cluster identity; empty = belongs to none
	Members    int    `json:"members"`    // members alive as this node sees them, itself included
	Configured bool   `json:"configured"` // the cluster's configuration holds something
	Fresh      bool   `json:"fresh"`      // founded just now, by a node that had no state
	Version    string `json:"version"`
	Protocol   int    `json:"protocol"` // version of the peers' routes
	// Unseen, in an answer, says that the node that answers does not have the one that asked for a living member at its address.
	Unseen bool `json:"unseen,omitempty"`
}

// LocalStatus is what one node knows about itself, for the node that puts a cluster's answer together.
type LocalStatus struct {
	Member    MemberStatus            `json:"member"`
	Workers   []WorkerStatus          `json:"workers"`
	Progress  map[string]NodeProgress `json:"progress"` // by app
	Exits     []Exit                  `json:"exits"`
	Listeners []Listener              `json:"listeners"`
	Clients   map[string]ClientCounts `json:"clients"` // by app
	Warnings  []Warning               `json:"warnings"`
	Server    *ServerState            `json:"server,omitempty"` // nil = an older release, which does not tell
	Time      time.Time               `json:"time,omitzero"`    // by the server's own clock; zero = an older release, which does not tell
}
