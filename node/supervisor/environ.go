package supervisor

import (
	"strconv"
	"strings"

	"meshnode/node/supervisor/nodeipc"
)

// runVariable marks every process that descends from a worker: "<node ID>/<worker ID>". By it the processes that a worker left
// behind are found, whatever they did to their process group.
const runVariable = "MESHNODE_RUN"

// variables is an environment in the making: the last value of a name counts, in the place of the first.
type variables struct {
	values map[string]string
	order  []string
}

func (v *variables) set(name, value string) {
	if _, ok := v.values[name]; !ok {
		v.order = append(v.order, name)
	}
	v.values[name] = value
}

func (v *variables) setAll(list []string) {
	for _, kv := range list {
		name, value, _ := strings.Cut(kv, "=")
		v.set(name, value)
	}
}

// environ builds a worker's environment: the node's own without what concerns the node alone, then the app's, then ours.
func (o *Options) environ(node []string, p *process) []string {
	spec, slot := p.spec, strconv.Itoa(p.Slot)
	v := variables{values: make(map[string]string, len(node)+16)}
	for _, kv := range node {
		if !ownVariable(kv) && !filtered(kv, spec.Account.FilterEnv) {
			v.setAll([]string{kv})
		}
	}
	v.setAll(p.account.env())
	v.setAll(spec.Env)
	if spec.Port > 0 {
		v.set("PORT", strconv.Itoa(spec.Port))
	}
	if name := spec.Account.IncrementVar; name != "" {
		if n, err := strconv.Atoi(v.values[name]); err == nil {
			v.set(name, strconv.Itoa(n+p.Slot))
		}
	}
	instance := "NODE_APP_INSTANCE"
	if spec.Account.InstanceVar != "" {
		instance = spec.Account.InstanceVar
	}
	v.set(instance, slot)
	v.set("MESHNODE_APP", spec.App)
	v.set("MESHNODE_NODE", o.Node)
	v.set("MESHNODE_WORKER", spec.App+"/"+slot)
	v.set(runVariable, p.run)
	if spec.Mode == ModeCluster && o.Preload != "" {
		v.set("NODE_OPTIONS", nodeipc.NodeOptions(v.values["NODE_OPTIONS"], o.Preload))
	}
	out := make([]string, len(v.order))
	for i, k := range v.order {
		out[i] = k + "=" + v.values[k]
	}
	return out
}

// filtered reports whether the app does not want a variable of the node's.
func filtered(kv string, filter []string) bool {
	name, _, _ := strings.Cut(kv, "=")
	for _, f := range filter {
		if prefix, open := strings.CutSuffix(f, "*"); open && strings.HasPrefix(name, prefix) || f == name {
			return true
		}
	}
	return false
}

// ownVariable reports whether a variable concerns the node itself: its settings and the cluster key are no worker's business, and the
// sockets and channels it inherited are not theirs.
func ownVariable(kv string) bool {
	for _, p := range []string{"MESHNODE_", "_MESHNODE_", "NOTIFY_SOCKET=", "LISTEN_FDS=", "LISTEN_PID=", "LISTEN_FDNAMES=", "WATCHDOG_",
		"NODE_CHANNEL_", "NODE_UNIQUE_ID="} {
		if strings.HasPrefix(kv, p) {
			return true
		}
	}
	return false
}
