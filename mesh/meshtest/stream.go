package meshtest

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	backlog   = 128      // streams that wait for Accept
	chunkSize = 32 << 10 // bytes that a stream moves at once
)

// listener takes the streams of one service of a host.
type listener struct {
	host    *Host
	service string
	queue   chan net.Conn
	done    chan struct{}
	once    sync.Once
}

// Listen opens a listener for a service, which stands for a protocol of the one port, such as "gossip". A service has one listener at a time:
// a second one is refused with syscall.EADDRINUSE.
func (h *Host) Listen(service string) (net.Listener, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.listeners[service] != nil || h.net.closed {
		return nil, &net.OpError{Op: "listen", Net: "tcp", Addr: tcpAddr(h.addr), Err: syscall.EADDRINUSE}
	}
	l := &listener{host: h, service: service, queue: make(chan net.Conn, backlog), done: make(chan struct{})}
	h.listeners[service] = l
	return l, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.Addr(), Err: net.ErrClosed}
	}
}

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return tcpAddr(l.host.addr) }

// Close implements net.Listener.
func (l *listener) Close() error {
	l.once.Do(func() {
		l.host.net.mu.Lock()
		delete(l.host.listeners, l.service)
		l.host.net.mu.Unlock()
		close(l.done)
	})
	for {
		select {
		case c := <-l.queue:
			_ = c.Close()
		default:
			return nil
		}
	}
}

// Dialer returns a function that dials a service of other hosts from this one.
func (h *Host) Dialer(service string) func(ctx context.Context, addr string) (net.Conn, error) {
	return func(ctx context.Context, addr string) (net.Conn, error) { return h.dial(ctx, service, addr) }
}

// dial waits until both directions are open, for one round trip, and for a place in the backlog. Nobody at the address: refused.
func (h *Host) dial(ctx context.Context, service, addr string) (net.Conn, error) {
	fail := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Source: tcpAddr(h.addr), Err: err}
	}
	n := h.net
	n.mu.Lock()
	target := n.hosts[addr]
	n.mu.Unlock()
	if target == nil {
		return fail(syscall.ECONNREFUSED)
	}
	if !n.pass(ctx, h, target) || !n.pass(ctx, target, h) {
		return fail(context.Cause(ctx))
	}
	n.mu.Lock()
	l := target.listeners[service]
	n.mu.Unlock()
	if l == nil {
		return fail(syscall.ECONNREFUSED)
	}
	near, far := n.pair(h, target)
	select {
	case l.queue <- far:
		select {
		case <-l.done:
			// Closed at the same moment: nobody will accept what is queued now.
			_ = near.Close()
			return fail(syscall.ECONNREFUSED)
		default:
			return near, nil
		}
	case <-l.done:
		_ = near.Close()
		return fail(syscall.ECONNREFUSED)
	case <-ctx.Done():
		_ = near.Close()
		return fail(context.Cause(ctx))
	}
}

// pass waits for the delay from one host to another and for the way to be open; it is false when ctx or the network ended first.
func (n *Network) pass(ctx context.Context, from, to *Host) bool {
	n.mu.Lock()
	delay := n.latency()
	n.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	case <-n.done:
		return false
	}
	for {
		open, changed := n.way(from, to)
		if open {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		case <-n.done:
			return false
		}
	}
}

// stream is a stream between two hosts: two pipes with a relay in each direction between their inner ends.
type stream struct {
	ends   [4]net.Conn
	cancel context.CancelFunc
}

// close ends both ends of the stream.
func (p *stream) close() {
	p.cancel()
	for _, c := range p.ends {
		_ = c.Close()
	}
}

// conn is one end of a stream, with the addresses of its hosts.
type conn struct {
	net.Conn
	local, remote net.Addr
	out           *way
}

// Unacked is how many chunks the other host has not confirmed, whether or not somebody reads there. While no confirmation could come back it
// is at least one.
func (c *conn) Unacked() (int, error) {
	n := int(c.out.under.Load())
	if open, _ := c.out.net.way(c.out.to, c.out.from); !open {
		n = max(n, 1)
	}
	return n, nil
}

// LocalAddr implements net.Conn.
func (c *conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// pair makes a stream and starts its relays.
func (n *Network) pair(a, b *Host) (near, far net.Conn) {
	outerA, innerA := net.Pipe()
	outerB, innerB := net.Pipe()
	ctx, cancel := context.WithCancel(context.Background())
	p := &stream{ends: [4]net.Conn{outerA, innerA, innerB, outerB}, cancel: cancel}
	there, back := &way{net: n, from: a, to: b}, &way{net: n, from: b, to: a}
	near = &conn{outerA, tcpAddr(a.addr), tcpAddr(b.addr), there}
	far = &conn{outerB, tcpAddr(b.addr), tcpAddr(a.addr), back}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		p.close()
		return near, far
	}
	a.streams[p], b.streams[p] = struct{}{}, struct{}{}
	var relays sync.WaitGroup
	relays.Go(func() { there.relay(ctx, innerB, innerA) })
	relays.Go(func() { back.relay(ctx, innerA, innerB) })
	n.wait.Go(func() {
		relays.Wait()
		p.close()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(a.streams, p)
		delete(b.streams, p)
	})
	return near, far
}

// way is one direction of a stream.
type way struct {
	net      *Network
	from, to *Host
	under    atomic.Int64 // chunks that have left and not arrived
}

// relay moves bytes in one direction, with the network's delays and cuts. When the source ends the destination's end follows, by the same
// way: a host that is out of reach does not see it.
func (w *way) relay(ctx context.Context, dst, src net.Conn) {
	buf := make([]byte, chunkSize)
	for {
		size, err := src.Read(buf)
		w.under.Add(1)
		if !w.net.pass(ctx, w.from, w.to) {
			return
		}
		w.under.Add(-1)
		if size > 0 {
			if _, werr := dst.Write(buf[:size]); werr != nil {
				err = io.ErrClosedPipe
			}
		}
		if err != nil {
			_ = dst.Close()
			return
		}
	}
}
