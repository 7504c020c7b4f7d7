package store

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// memnet is a network of streams in memory: addresses are names, and a cut address is like a pulled cable.
type memnet struct {
	mu        sync.Mutex
	listeners map[string]*memListener
	conns     map[*memConn]struct{}
	cut       map[string]bool
	oneWay    map[[2]string]bool // from, to
}

func newMemnet() *memnet {
	return &memnet{listeners: map[string]*memListener{}, conns: map[*memConn]struct{}{}, cut: map[string]bool{}, oneWay: map[[2]string]bool{}}
}

func (n *memnet) listen(addr string) *memListener {
	l := &memListener{net: n, addr: addr, queue: make(chan net.Conn), closed: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.listeners[addr] = l
	return l
}

// dialer returns the dial function of the node at from.
func (n *memnet) dialer(from string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, to string) (net.Conn, error) {
		n.mu.Lock()
		l, silent := n.listeners[to], n.cut[from] || n.cut[to] || n.oneWay[[2]string{from, to}]
		n.mu.Unlock()
		if silent {
			<-ctx.Done()
			return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
		}
		if l == nil {
			return nil, fmt.Errorf("dial %s: connection refused", to)
		}
		near, far := net.Pipe()
		a := &memConn{Conn: near, net: n, ends: [2]string{from, to}}
		b := &memConn{Conn: far, net: n, ends: [2]string{from, to}}
		select {
		case l.queue <- b:
		case <-l.closed:
			return nil, fmt.Errorf("dial %s: connection refused", to)
		case <-ctx.Done():
			return nil, fmt.Errorf("dial %s: %w", to, ctx.Err())
		}
		n.mu.Lock()
		n.conns[a], n.conns[b] = struct{}{}, struct{}{}
		n.mu.Unlock()
		return a, nil
	}
}

// isolate cuts addr off from everybody; heal undoes it.
func (n *memnet) isolate(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[addr] = true
	for c := range n.conns {
		if c.ends[0] == addr || c.ends[1] == addr {
			_ = c.Conn.Close()
			delete(n.conns, c)
		}
	}
}

// sever keeps one address from dialing another, and ends the streams between the two; the other direction goes on. mend undoes it.
func (n *memnet) sever(from, to string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.oneWay[[2]string{from, to}] = true
	for c := range n.conns {
		if c.ends == [2]string{from, to} {
			_ = c.Conn.Close()
			delete(n.conns, c)
		}
	}
}

func (n *memnet) mend() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.oneWay)
}

func (n *memnet) heal(addr string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.cut, addr)
}

type memConn struct {
	net.Conn
	net  *memnet
	ends [2]string
}

func (c *memConn) Close() error {
	c.net.mu.Lock()
	delete(c.net.conns, c)
	c.net.mu.Unlock()
	return c.Conn.Close()
}

type memListener struct {
	net    *memnet
	addr   string
	queue  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.closed)
		l.net.mu.Lock()
		defer l.net.mu.Unlock()
		if l.net.listeners[l.addr] == l {
			delete(l.net.listeners, l.addr)
		}
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return streamAddr(l.addr) }
