package node

import (
	"fmt"
	"time"

	"meshnode/node/api"
	"meshnode/node/supervisor"
)

// hungSpoken is how long a worker must accept nothing before status warns: one that works on a long request alone is nobody's concern.
const hungSpoken = time.Second

// hung lists the workers of an app, "" = of all, that accept nothing at this moment.
func (n *Node) hung(app string) []api.HungWorker {
	found := n.proxy.Hung()
	if len(found) == 0 {
		return nil
	}
	var out []api.HungWorker
	for _, s := range n.sup.Status() {
		for _, h := range found {
			if s.Worker != h.Worker || app != "" && s.App != app {
				continue
			}
			x := api.HungWorker{App: s.App, Worker: fmt.Sprint(s.Slot), PID: s.PID, For: h.For.Seconds(), Reason: "it accepts no connection, though some wait"}
			if supervisor.Stopped(s.PID) {
				x.Reason += ": its process is stopped"
			}
			out = append(out, x)
		}
	}
	return out
}

func (n *Node) hungWarnings() []api.Warning {
	var out []api.Warning
	for _, h := range n.hung("") {
		if h.For < hungSpoken.Seconds() {
			continue
		}
		remedy := "connections go to others, where there are any; if it does not go on by itself, see: meshnode logs " + h.App
		out = append(out, api.Warning{App: h.App, What: fmt.Sprintf("%s/%s on %s hangs for %s: %s", h.App, h.Worker, n.s.Node,
			time.Duration(h.For*float64(time.Second)).Round(time.Second), h.Reason), Remedy: remedy})
	}
	return out
}
