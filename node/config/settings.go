package config

import (
	"os"
	"path/filepath"
	"strings"
)

const (
	// PeerPort is the port between servers where an address names none.
	PeerPort = "7946"
	// SocketName is the file name of the control API's Unix socket in the data folder.
	SocketName = "meshnode.sock"
	// EnvPrefix starts the name of every environment variable that is a setting.
	EnvPrefix = "MESHNODE_"

	defaultBind    = "0.0.0.0:" + PeerPort
	defaultHTTP    = "127.0.0.1:7947"
	defaultLog     = "info"
	rootDataDir    = "/var/lib/meshnode"
	maxCores       = 1024
	minWeight      = 0.01
	maxWeight      = 100
	maxNameBytes   = 63
	maxTags        = 32
	maxJoinEntries = 64
)

// Settings are the settings of this server, complete and in normal form when they come from Load or Flags.Resolve.
type Settings struct {
	Join       []string          // peer addresses host:port to join, in the order given; empty = found a cluster
	Bind       string            // host:port of the peer port, TCP and UDP
	Advertise  string            // host:port peers reach us at; empty = chosen from the interfaces
	Node       string            // name of this node, unique in the cluster
	DataDir    string            // absolute path of the folder that keeps state
	KeyFile    string            // path of the file with the cluster key; empty = <DataDir>/cluster.key
	Key        string            // cluster key itself, from MESHNODE_KEY only; a secret, never print it
	Token      string            // join token, from MESHNODE_TOKEN only; a secret, never print it
	TokenFile  string            // path of a file with a join token; empty = none
	Insecure   bool              // no key, no TLS, no encryption between servers
	Tags       map[string]string // free labels of this server; nil when there are none
	Zone       string            // failure zone of this server; empty = none
	Weight     float64           // share of connections of each worker here beside those of other servers; 0 = 1
	Cores      int               // cores to use; 0 = all usable ones
	HTTP       string            // host:port of metrics and health; empty = off
	LogLevel   string            // trace, debug, info, warn or error
	LogJSON    bool              // log as JSON lines
	AppBind    string            // IP address client ports open on when the app names none; empty = all
	ConfigFile string            // path of the settings file that was read; empty = none
	NoPreload  bool              // load nothing of ours into Node.js workers
	Direct     bool              // workers accept by themselves where the kernel can choose among them
	NoWorkers  bool              // run no workers here: only take connections and pass them on
}

// Defaults returns the settings of a server that is told nothing: environ ("KEY=value" entries, as from os.Environ) is
// asked for the home folder only. Node is empty when the host has no name and DataDir is empty when no home folder is
// known; Validate reports both.
func Defaults(environ []string) Settings {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return Settings{
		Bind:     defaultBind,
		Node:     host,
		DataDir:  DefaultDataDir(environ),
		HTTP:     defaultHTTP,
		LogLevel: defaultLog,
		Direct:   true,
	}
}

// DefaultDataDir returns the data folder of a node that names none: /var/lib/meshnode for root, otherwise meshnode in
// the state folder of the user. It is empty when environ has neither XDG_STATE_HOME nor HOME.
func DefaultDataDir(environ []string) string {
	return dataDirFor(os.Geteuid(), environ)
}

func dataDirFor(uid int, environ []string) string {
	if uid == 0 {
		return rootDataDir
	}
	if state := lookup(environ, "XDG_STATE_HOME"); filepath.IsAbs(state) {
		return filepath.Join(state, "meshnode")
	}
	if home := lookup(environ, "HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "state", "meshnode")
	}
	return ""
}

// Socket returns the path of the control API's Unix socket.
func (s Settings) Socket() string { return filepath.Join(s.DataDir, SocketName) }

// lookup returns the value of name in environ, the last entry winning as in os/exec; empty when it is not there.
func lookup(environ []string, name string) string {
	value := ""
	for _, entry := range environ {
		if k, v, ok := strings.Cut(entry, "="); ok && k == name {
			value = v
		}
	}
	return value
}
