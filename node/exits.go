package node

import (
	"strconv"
	"sync"
	"time"

	"meshnode/node/api"
	"meshnode/node/supervisor"
)

// exitsKept is how many ends of workers a node remembers (count); describe shows them.
const exitsKept = 50

// exits are the last ends of workers on this node, newest last.
type exits struct {
	mu   sync.Mutex
	last []api.Exit
}

func (e *exits) add(x supervisor.Exit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.last) == exitsKept {
		e.last = append(e.last[:0], e.last[1:]...)
	}
	e.last = append(e.last, api.Exit{Time: time.Now().UTC(), App: x.App, Worker: strconv.Itoa(x.Slot), Release: x.Release, Code: x.Code,
		Signal: x.Signal, Reason: x.Reason})
}

// list returns them, newest first, as ends on the given node.
func (e *exits) list(node string) []api.Exit {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]api.Exit, 0, len(e.last))
	for i := len(e.last) - 1; i >= 0; i-- {
		x := e.last[i]
		x.Node = node
		out = append(out, x)
	}
	return out
}
