package api

import (
	"container/list"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// limit bounds the connections of a server that are open at a time. Where all places are taken, the connection that has waited the longest for its first
// answer gives way: most likely it says nothing. Where all were answered, one more is told so and closed, as a client left waiting in the
// backlog could not tell a busy node from a dead one.
type limit struct {
	most    int
	refused func() // counts a connection that was closed for it

	mu     sync.Mutex
	open   int
	silent list.List // of *limitedConn that were not answered yet, the oldest in front
}

// enter takes a place for a connection, nil = there is none.
func (l *limit) enter(c net.Conn) *limitedConn {
	l.mu.Lock()
	var oldest *limitedConn
	if l.open >= l.most {
		front := l.silent.Front()
		if front == nil {
			l.mu.Unlock()
			return nil
		}
		oldest = front.Value.(*limitedConn)
		l.leave(oldest)
	}
	n := &limitedConn{Conn: c, in: l}
	n.at = l.silent.PushBack(n)
	l.open++
	l.mu.Unlock()
	if oldest != nil {
		l.refused()
		_ = oldest.Conn.Close() // nobody has been told anything on it
	}
	return n
}

// leave gives a connection's place back, once. The lock is held.
func (l *limit) leave(c *limitedConn) {
	if c.left {
		return
	}
	c.left = true
	l.open--
	l.answered(c)
}

// answered notes that a connection is not silent. The lock is held.
func (l *limit) answered(c *limitedConn) {
	if c.at != nil {
		l.silent.Remove(c.at)
		c.at = nil
	}
}

// limitListener hands out connections within a limit.
type limitListener struct {
	net.Listener
	limit *limit
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if n := l.limit.enter(c); n != nil {
			return n, nil
		}
		l.limit.refused()
		refuse(c)
	}
}

// refuse answers before the request is read, in one write into an empty socket buffer: it cannot block.
func refuse(c net.Conn) {
	body := `{"code":"unavailable","message":"this node answers too many requests at once","remedy":"try again"}` + "\n"
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable), len(body), body)
	c.Close()
}

// limitedConn has a place within a limit until it is closed for the first time, or gives way.
type limitedConn struct {
	net.Conn
	in   *limit
	at   *list.Element // among the silent ones; nil once it was answered. The limit's lock guards it and what follows.
	left bool
}

// Write implements net.Conn.
func (c *limitedConn) Write(b []byte) (int, error) {
	c.in.mu.Lock()
	c.in.answered(c)
	c.in.mu.Unlock()
	return c.Conn.Write(b)
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer func() {
		c.in.mu.Lock()
		defer c.in.mu.Unlock()
		c.in.leave(c)
	}()
	return c.Conn.Close()
}
