package proxy

import (
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// grumble lets one line a second through.
type grumble struct {
	mu   sync.Mutex
	last time.Time
	held int
}

func (g *grumble) warn(log hclog.Logger, msg string, kv ...any) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.last) < time.Second {
		g.held++
		return
	}
	log.Warn(msg, append(kv, "count", g.held+1)...)
	g.last, g.held = time.Now(), 0
}
