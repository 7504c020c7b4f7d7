package telemetry

import (
	"container/list"
	"net"
	"sync"
)

// maxConns bounds the connections to -http that are open at once (count).
const maxConns = 512

// crowd is a listener that ends the connection that was answered, or came, the longest ago when one too many comes in: who says nothing is
// the first to go, and keeps nobody else out.
type crowd struct {
	net.Listener
	most    int
	tooMany func() // counts a connection that was ended

	mu    sync.Mutex
	conns *list.List // of *crowded, the first to go in front
}

func newCrowd(l net.Listener, most int, tooMany func()) *crowd {
	return &crowd{Listener: l, most: most, tooMany: tooMany, conns: list.New()}
}

// Accept implements net.Listener.
func (l *crowd) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	n := &crowded{Conn: c, in: l}
	l.mu.Lock()
	n.at = l.conns.PushBack(n)
	var last *crowded
	if l.conns.Len() > l.most {
		last = l.conns.Front().Value.(*crowded)
	}
	l.mu.Unlock()
	if last != nil {
		l.tooMany()
		_ = last.Close() // it is of no use to anybody
	}
	return n, nil
}

// crowded is one connection of a crowd.
type crowded struct {
	net.Conn
	in *crowd
	at *list.Element // nil once it is closed
}

// Write implements net.Conn.
func (c *crowded) Write(b []byte) (int, error) {
	c.in.mu.Lock()
	if c.at != nil {
		c.in.conns.MoveToBack(c.at)
	}
	c.in.mu.Unlock()
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *crowded) Close() error {
	c.in.mu.Lock()
	if c.at != nil {
		c.in.conns.Remove(c.at)
		c.at = nil
	}
	c.in.mu.Unlock()
	return c.Conn.Close()
}
