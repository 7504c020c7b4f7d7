package node

import (
	"context"
	"net"
	"sync"

	"meshnode/mesh/mux"
	"meshnode/node/api"
)

// clients keeps one API client for each peer, with its connections.
type clients struct {
	mu     sync.Mutex
	byName map[string]*peerClient
}

type peerClient struct {
	*api.Client
	addr string
}

// get returns the client of a peer; a new one when the peer's address has changed.
func (c *clients) get(m *mux.Mux, name, addr string) *api.Client {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.byName[name]; p != nil {
		if p.addr == addr {
			return p.Client
		}
		p.Close()
	}
	if c.byName == nil {
		c.byName = make(map[string]*peerClient)
	}
	p := &peerClient{addr: addr, Client: api.NewClient(func(ctx context.Context) (net.Conn, error) { return m.Dial(ctx, mux.API, addr) })}
	c.byName[name] = p
	return p.Client
}

func (c *clients) drop(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.byName[name]; p != nil {
		p.Close()
		delete(c.byName, name)
	}
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, p := range c.byName {
		p.Close()
	}
	c.byName = nil
}
