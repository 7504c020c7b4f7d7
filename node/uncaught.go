package node

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"meshnode/node/api"
	"meshnode/node/supervisor"
)

// uncaughtWarnings say which Node.js apps bind their ports past meshnode here, what became of them, and how to mend it.
func (n *Node) uncaughtWarnings() []api.Warning {
	var out []api.Warning
	all := n.sup.Uncaught()
	for _, app := range slices.Sorted(maps.Keys(all)) {
		out = append(out, uncaughtWarning(app, n.s.Node, all[app]))
	}
	return out
}

func uncaughtWarning(app, node string, u supervisor.Uncaught) api.Warning {
	where := strings.Join(u.Addrs, ", ")
	if where == "" {
		where = "its port"
	}
	port := "PORT"
	if len(u.Addrs) > 0 {
		port = u.Addrs[0][strings.LastIndexByte(u.Addrs[0], ':')+1:]
	}
	w := api.Warning{App: app, What: fmt.Sprintf("%s listens on %s by itself on %s, past meshnode", app, where, node)}
	switch {
	case u.Alone:
		w.What += ", and ignores PORT: only one worker of it can run there"
		w.Remedy = fmt.Sprintf("have it listen on the port in PORT, and say so: mode: port, port: %s", port)
	case u.Seen:
		w.What += ": its connections are not balanced, and a second worker may find the port taken"
		w.Remedy = fmt.Sprintf("if clients connect to it, have it listen on the port in PORT, and say so: mode: port, port: %s", port)
	default:
		w.What += ": it runs in mode port there, and sees clients as 127.0.0.1"
		w.Remedy = fmt.Sprintf("say so: mode: port, port: %s; or keep NODE_OPTIONS for its Node.js, and stop and start it", port)
	}
	return w
}
