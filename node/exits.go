package node

import (
	"sync"
	"time"

	"meshnode/node/api"
)

// exitsKept is how many ends of workers a node remembers (count); describe shows them.
const exitsKept = 50

// exits are the last ends of workers on this node, newest last.
type exits struct {
	mu   sync.Mutex
	last []api.Exit
}

func (e *exits) add(x api.Exit) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if len(e.last) == exitsKept {
		e.last = append(e.last[:0], e.last[1:]...)
	}
	x.Time = time.Now().UTC()
	e.last = append(e.last, x)
}

// list returns them, newest first.
func (e *exits) list() []api.Exit {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make([]api.Exit, 0, len(e.last))
	for i := len(e.last) - 1; i >= 0; i-- {
		out = append(out, e.last[i])
	}
	return out
}
