package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"time"
)

// conn is a connection that may have carried answers before.
type conn struct {
	net.Conn
	r      *bufio.Reader
	reused bool
	pid    int       // who answered last on it; 0 = nobody yet
	last   time.Time // of that answer
}

// dialHere is the Dial of this process's own place.
func dialHere(addr string, deadline time.Time) (net.Conn, error) {
	d := net.Dialer{Deadline: deadline}
	d.SetMultipathTCP(false)
	return d.DialContext(context.Background(), "tcp", addr)
}

// open opens a connection. The deadline holds for the exchange that follows too.
func open(dial Dial, addr string, deadline time.Time) (*conn, error) {
	c, err := dial(addr, deadline)
	if err != nil {
		return nil, err
	}
	return &conn{Conn: c, r: bufio.NewReader(c)}, nil
}

// closed reports whether the server has closed an idle connection, without taking anything from it.
func (c *conn) closed() bool {
	raw, err := c.Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		return true
	}
	gone := c.r.Buffered() > 0 // bytes that nobody asked for
	var b [1]byte
	err = raw.Control(func(fd uintptr) { // not Read: that one heeds the deadline of the exchange before
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		gone = gone || !errors.Is(err, syscall.EAGAIN) // no error is an end, or bytes that nobody asked for
	})
	return gone || err != nil
}

// exchange sends request n, which names the work if there is any, and reads its answer. keep says whether the connection may carry another one.
func (c *conn) exchange(n int, work time.Duration, last bool, deadline time.Time) (keep bool, err error) {
	if err := c.SetDeadline(deadline); err != nil {
		return false, err
	}
	path, end := fmt.Sprintf("/?n=%d", n), ""
	if work > 0 {
		path += fmt.Sprintf("&us=%d", work.Microseconds())
	}
	if last {
		end = "Connection: close\r\n"
	}
	if _, err := fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: bench\r\n%s\r\n", path, end); err != nil {
		return false, err
	}
	res, err := http.ReadResponse(c.r, nil)
	if err != nil {
		return false, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err
	}
	var got, pid int
	if _, err := fmt.Sscanf(string(body), "answer %d from %d\n", &got, &pid); err != nil || res.StatusCode != http.StatusOK || got != n || !strings.HasSuffix(string(body), "\n") {
		return false, fmt.Errorf("%w: status %d, body %.60q to request %d", errWrong, res.StatusCode, body, n)
	}
	c.pid, c.last = pid, time.Now()
	return !res.Close && !last, nil
}

// pool keeps idle connections; the one used last is used first. The requests under way bound it.
type pool struct {
	addr string
	dial Dial

	mu     sync.Mutex
	idle   []*conn
	closed int // idle connections that the server had closed (count)
}

// get returns a kept connection, or a new one.
func (p *pool) get(deadline time.Time) (*conn, error) {
	for {
		c := p.pop()
		if c == nil {
			return open(p.dial, p.addr, deadline)
		}
		if !c.closed() {
			c.reused = true
			return c, nil
		}
		p.drop(c)
	}
}

// drop ends a connection that the server has closed first, and counts it.
func (p *pool) drop(c *conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed++
}

func (p *pool) pop() *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	c := p.idle[len(p.idle)-1]
	p.idle = p.idle[:len(p.idle)-1]
	return c
}

func (p *pool) put(c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
}

func (p *pool) close() {
	for c := p.pop(); c != nil; c = p.pop() {
		_ = c.Close() // nothing is under way on it
	}
}
