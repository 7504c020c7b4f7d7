package arch

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

var importRules = []rule{{"imports", checkImports}}

const module = "meshnode"

// Paths of the libraries in the table.
const (
	hclog     = "github.com/hashicorp/go-hclog"
	armon     = "github.com/armon/go-metrics"
	armonProm = "github.com/armon/go-metrics/prometheus"
	successor = "github.com/hashicorp/go-metrics"
	sysUnix   = "golang.org/x/sys/unix"
	renameio  = "github.com/google/renameio/v2"
	goCmp     = "github.com/google/go-cmp/cmp"
	goleak    = "go.uber.org/goleak"
	raft      = "github.com/hashicorp/raft"
	gossip    = "github.com/hashicorp/memberlist"
)

// uses is one thing that a room may import, and why.
type uses struct{ path, why string }

const (
	handedLogger  = "the logger is handed in"
	handedMetrics = "the metrics instance is handed in"
)

// table says what each room may import beside the standard library. Rooms and imports that are not here are denied.
var table = map[string][]uses{
	"balancer": nil, // pure, and knows neither gossip nor processes
	"balancer/sim": {
		{"balancer", "the code that decides, as it is shipped"},
	},
	"balancer/proxy": {
		{"balancer", "carries out what it decides"},
		{hclog, handedLogger},
		{"balancer/proxy/relay", "carries the bytes of what is relayed"},
		{"balancer/reuseport", "the sockets that the kernel chooses among"},
		{sysUnix, "accept4 and bare descriptors; net has no way to them"},
		{"github.com/cilium/ebpf", "puts the choice among workers' sockets into the kernel"},
		{"github.com/cilium/ebpf/asm", "the program of that choice"},
		{"github.com/pires/go-proxyproto", "what is in a PROXY protocol header; where it ends is found here, so that no byte behind it is read"},
		{"github.com/mdlayher/netlink", "asks the kernel when the connections that workers hold have ended"},
	},
	"balancer/proxy/relay": {
		{sysUnix, "epoll, splice and bare descriptors: an event loop beside Go's scheduler"},
	},
	"balancer/reuseport": {
		{sysUnix, "attaches the program to the sockets"},
		{"github.com/cilium/ebpf", "the table of the sockets"},
		{"github.com/cilium/ebpf/asm", "the end of every program that chooses among them"},
	},
	"balancer/datagram": {
		{"balancer", "asks it where sessions go"},
		{"balancer/reuseport", "the sockets that the kernel chooses among"},
		{"github.com/cilium/ebpf", "puts the choice among workers' sockets into the kernel"},
		{"github.com/cilium/ebpf/asm", "the program of that choice"},
		{hclog, handedLogger},
		{sysUnix, "the address that a datagram was sent to, and sending without waiting"},
	},
	"cmd/meshnode": {
		{"node", "runs the node, and finds the way to another server's"},
		{"node/api", "talks to the running node"},
		{"node/appfile", "reads the files that describe apps; what runs a script"},
		{"node/config", "settings and their flags; nearest words"},
		{"node/supervisor", "asks systemctl; other programs run nowhere else"},
		{"node/supervisor/keeper", "forks the node on the main thread, which only main can give"},
		{"node/telemetry", "the keeper logs as the node does"},
		{"store/spec", "describes the app that a verb starts"},
		{sysUnix, "who listens on a socket, and the end of that process"},
	},
	"mesh": {
		{hclog, handedLogger},
		{armon, handedMetrics},
		{gossip, "the gossip itself"},
	},
	"mesh/admit":    nil, // how a server without the key is let in, over a stream that is handed in
	"mesh/meshtest": nil, // a network of its own, for tests
	"mesh/mux": {
		{hclog, handedLogger},
		{armon, handedMetrics},
		{sysUnix, "asks the kernel whether what was sent to a peer has arrived"},
	},
	"node": {
		{"balancer", "tells it which workers are ready and what peers report"},
		{"balancer/datagram", "the data path of datagrams"},
		{"balancer/proxy", "the data path"},
		{"mesh", "members and load"},
		{"mesh/admit", "lets servers in that have no key, and asks to be let in"},
		{"mesh/mux", "the peer port, which all pillars share"},
		{"node/api", "answers the operator and the peers"},
		{"node/audit", "keeps what they changed"},
		{"node/config", "the settings it is given"},
		{"node/load", "how busy this server is"},
		{"node/reconcile", "the steps from the configuration to the workers"},
		{"node/supervisor", "the workers"},
		{"node/supervisor/keeper", "listening sockets outlive the node, upgrades"},
		{"node/supervisor/output", "asks for what workers print"},
		{"node/supervisor/nodeipc", "translates listen calls of Node workers into listeners"},
		{"node/telemetry", "the root logger and metrics, handed on to everybody"},
		{"store", "the configuration"},
		{"store/fsm", "builds the commands that are proposed"},
		{"store/quorum", "feeds the leader's loop with members"},
		{"store/spec", "reads the configuration"},
		{hclog, handedLogger},
		{renameio, "files of the data folder are replaced whole"},
		{sysUnix, "sockets that workers share, and those that were kept for nobody"},
		{"github.com/gofrs/flock", "one process per data folder, over crashes"},
		{"github.com/hashicorp/go-sockaddr", "chooses the address to advertise when none is given"},
	},
	"node/api": {
		{"store/spec", "describes apps to the operator"},
		{hclog, handedLogger},
		{armon, handedMetrics},
	},
	"node/audit": nil, // lines in files
	"node/appfile": {
		{"node/config", "nearest words"},
		{"node/supervisor", "runs the Node.js that evaluates a file; counts cores"},
		{"store/spec", "what an app of a file becomes"},
		{"github.com/netresearch/go-cron", "whether a pattern of times is one"},
		{"go.yaml.in/yaml/v4", "reads YAML files"},
	},
	"node/config": {
		{"go.yaml.in/yaml/v4", "reads the settings file"},
	},
	"node/load":      nil,
	"node/reconcile": nil,
	"node/supervisor": {
		{"node/supervisor/keeper", "forks the workers, and keeps what outlives the node"},
		{"node/supervisor/nodeipc", "speaks to Node workers"},
		{hclog, handedLogger},
		{armon, handedMetrics},
		{"node/supervisor/output", "keeps what workers print"},
		{"github.com/fsnotify/fsnotify", "files whose change replaces workers"},
		{"github.com/netresearch/go-cron", "when workers are to be replaced"},
		{sysUnix, "subreaper, process groups, descriptors of workers"},
	},
	"node/supervisor/output": {
		{hclog, handedLogger},
		{armon, handedMetrics},
		{sysUnix, "sizes of pipes, and an epoll descriptor of its own: the runtime's poller is woken by every write"},
	},
	"node/supervisor/keeper": {
		{hclog, handedLogger},
		{sysUnix, "passes descriptors, waits for children"},
		{"github.com/coreos/go-systemd/v22/daemon", "tells systemd how it stands"},
	},
	"node/supervisor/nodeipc": {
		{sysUnix, "passes sockets to workers"},
		{renameio, "the preload script is replaced whole"},
	},
	"node/telemetry": {
		{hclog, "makes the root logger"},
		{armon, "makes the metrics instance"},
		{armonProm, "its Prometheus sink"},
		{successor, "takes in what raft and memberlist emit"},
		{"github.com/prometheus/client_golang/prometheus", "the registry behind /metrics"},
		{"github.com/prometheus/client_golang/prometheus/promhttp", "serves /metrics"},
	},
	"store": {
		{"store/fsm", "what raft applies"},
		{"store/quorum", "is the narrow raft that the leader's loop works on"},
		{"store/raftlog", "where raft's log is"},
		{"store/spec", "publishes the configuration"},
		{raft, "the agreement itself"},
		{hclog, handedLogger},
		{armon, handedMetrics},
		{renameio, "the kept configuration is replaced whole"},
	},
	"store/fsm": {
		{"store/spec", "the values that commands change"},
	},
	"store/quorum": {
		{hclog, handedLogger},
		{armon, handedMetrics},
	},
	"store/raftlog": {
		{raft, "implements its log and vote store"},
		{"github.com/hashicorp/raft-boltdb/v2", "the store on disk"},
		{"go.etcd.io/bbolt", "reads the file once before it is opened for writing"},
		{"go.etcd.io/bbolt/errors", "tells a locked file from a damaged one"},
		{renameio, "the marker is replaced whole"},
		{sysUnix, "has the kernel read a file from the disk again"},
		{hclog, handedLogger},
	},
	"store/spec": nil, // pure values
	"e2e":        nil, // promises on real binaries: see testTable
	"e2e/arch":   nil, // reads the source, imports nothing of it
	"e2e/lab": {
		{"node/api", "reads what the command line answers, with its own types"},
		{"e2e/lab/wire", "cables that delay, lose and cut"},
		{sysUnix, "makes hosts of network namespaces"},
	},
	"e2e/lab/wire": {
		{sysUnix, "makes TAP devices in namespaces"},
	},
	"e2e/bench": {
		{"e2e/bench/contender", "supervisors that are compared"},
		{"e2e/bench/front", "load balancers that are compared"},
		{"e2e/bench/load", "the requests"},
	},
	"e2e/bench/front": {
		{"e2e/bench/contender", "finds processes and runs command lines"},
	},
	"e2e/bench/contender": nil, // drives meshnode and PM2 through their command lines
	"e2e/bench/load":      nil, // plain HTTP on plain connections
	"e2e/demo":            nil, // uses meshnode as an operator does, through the command line
	"e2e/demo/goapp":      nil, // its app where there is no Node.js
	"e2e/apps/program":    nil, // stands for any server that is no Node.js
}

// testTable says what tests may import beyond their room's own rows. "" stands for every room.
var testTable = map[string][]uses{
	"": {
		{goCmp, "readable differences"},
		{goleak, "no goroutine left behind"},
		{hclog, "a quiet logger to hand in"},
		{armon, "a metrics instance to hand in"},
		{sysUnix, "looks at sockets and processes from the kernel's side"},
	},
	"mesh":          {{"mesh/meshtest", "a network that can lose and part"}},
	"store":         {{"github.com/anishathalye/porcupine", "whether a history could have happened one after the other"}},
	"store/raftlog": {{armon, handedMetrics}},
	"node":          {{"mesh/meshtest", "several nodes in one process"}},
	"e2e": {
		{"node/api", "reads what the control API answers, with its own types"},
		{"mesh/mux", "plays a server that lies, with a certificate that is in order"},
		{raft, "says what such a server says"},
		{"e2e/lab", "hosts, nodes, clients and faults"},
		{"e2e/lab/wire", "rules of bad cables"},
		{"e2e/bench/load", "requests that are sent once and followed one by one"},
	},
}

// maybe are rooms that need not exist.
var maybe = []string{"e2e", "e2e/lab", "e2e/lab/wire"}

func checkImports(h *house) []string {
	var out []string
	used := make(map[string]bool)
	for _, s := range h.sources {
		rows, ok := table[s.room]
		if !ok {
			out = append(out, fmt.Sprintf("%s: the room %s is not in the table of imports", s.path, s.room))
			continue
		}
		for _, i := range s.file.Imports {
			p := pathOf(i)
			if standard(p) {
				continue
			}
			p = strings.TrimPrefix(p, module+"/")
			switch {
			case has(rows, p):
				used[s.room+" "+p] = true
			case s.test && (p == s.room || has(testTable[""], p) || has(testTable[s.room], p)):
			default:
				out = append(out, h.at(i, "%s may not import %s", s.room, p))
			}
		}
	}
	return append(out, stale(h, used)...)
}

// stale are rows that nothing needs any more, and rows without a reason.
func stale(h *house, used map[string]bool) []string {
	var out []string
	rooms := h.rooms()
	for room, rows := range table {
		if !slices.Contains(rooms, room) && !slices.Contains(maybe, room) {
			out = append(out, fmt.Sprintf("table of imports: there is no room %s", room))
		}
		for _, u := range rows {
			if u.why == "" {
				out = append(out, fmt.Sprintf("table of imports: %s -> %s has no reason", room, u.path))
			}
			if !used[room+" "+u.path] {
				out = append(out, fmt.Sprintf("table of imports: %s does not import %s any more", room, u.path))
			}
		}
	}
	slices.Sort(out)
	return out
}

func has(rows []uses, p string) bool {
	return slices.ContainsFunc(rows, func(u uses) bool { return u.path == p })
}

// standard reports whether an import path is the standard library's: its first part has no dot, and it is not ours.
func standard(p string) bool {
	first, _, _ := strings.Cut(p, "/")
	return !strings.Contains(first, ".") && first != module && p != "C" && path.Clean(p) == p
}
