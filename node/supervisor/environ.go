package supervisor

import (
	"strconv"
	"strings"

	"meshnode/node/supervisor/nodeipc"
)

// runVariable marks every process that descends from a worker: "<node ID>/<worker ID>". By it the processes that a worker left
// behind are found, whatever they did to their process group.
const runVariable = "MESHNODE_RUN"

// environ builds a worker's environment: the node's own without what concerns the node alone, then the app's, then ours.
func (o *Options) environ(node []string, spec Spec, slot int, run string) []string {
	env := make(map[string]string, len(node)+16)
	order := make([]string, 0, len(node)+16)
	set := func(kv string) {
		k, v, _ := strings.Cut(kv, "=")
		if _, ok := env[k]; !ok {
			order = append(order, k)
		}
		env[k] = v
	}
	for _, kv := range node {
		if !ownVariable(kv) {
			set(kv)
		}
	}
	for _, kv := range spec.Env {
		set(kv)
	}
	if spec.Port > 0 {
		set("PORT=" + strconv.Itoa(spec.Port))
	}
	set("NODE_APP_INSTANCE=" + strconv.Itoa(slot))
	set("MESHNODE_APP=" + spec.App)
	set("MESHNODE_NODE=" + o.Node)
	set("MESHNODE_WORKER=" + spec.App + "/" + strconv.Itoa(slot))
	set(runVariable + "=" + run)
	if spec.Mode == ModeCluster && o.Preload != "" {
		set("NODE_OPTIONS=" + nodeipc.NodeOptions(env["NODE_OPTIONS"], o.Preload))
	}
	out := make([]string, len(order))
	for i, k := range order {
		out[i] = k + "=" + env[k]
	}
	return out
}

// ownVariable reports whether a variable concerns the node itself: its settings and the cluster key are no worker's business, and the
// sockets and channels it inherited are not theirs.
func ownVariable(kv string) bool {
	for _, p := range []string{"MESHNODE_", "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "WATCHDOG_",
		"NODE_CHANNEL_", "NODE_UNIQUE_ID="} {
		if strings.HasPrefix(kv, p) {
			return true
		}
	}
	return false
}
