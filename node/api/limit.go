package api

import (
	"fmt"
	"net"
	"net/http"
	"sync"
)

// limitListener hands out at most cap(slots) connections at a time. One more is told so and closed, as a client left
// waiting in the backlog could not tell a busy node from a dead one.
type limitListener struct {
	net.Listener
	slots   chan struct{}
	refused func()
}

// Accept implements net.Listener.
func (l *limitListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.slots <- struct{}{}:
			return &limitedConn{Conn: c, free: sync.OnceFunc(func() { <-l.slots })}, nil
		default:
			l.refused()
			refuse(c)
		}
	}
}

// refuse answers before the request is read, in one write into an empty socket buffer: it cannot block.
func refuse(c net.Conn) {
	body := `{"code":"unavailable","message":"this node answers too many requests at once","remedy":"try again"}` + "\n"
	fmt.Fprintf(c, "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable), len(body), body)
	c.Close()
}

// limitedConn gives its slot back when it is closed for the first time.
type limitedConn struct {
	net.Conn
	free func()
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}
