package meshtest

import (
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// packetQueue is how many packets a host keeps for its reader; further ones are lost, as in a full socket buffer.
const packetQueue = 1024

// packet is one datagram on its way.
type packet struct {
	from net.Addr
	data []byte
}

// packetConn is a host's packet socket.
type packetConn struct {
	host  *Host
	queue chan packet
	done  chan struct{}
	once  sync.Once
	lost  atomic.Uint64
}

var _ net.PacketConn = (*packetConn)(nil)

// Packets opens the host's packet socket; the host has one at a time, and a second one is refused with syscall.EADDRINUSE. Deadlines are not
// supported (os.ErrNoDeadline).
func (h *Host) Packets() (net.PacketConn, error) {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.packets != nil || h.net.closed {
		return nil, &net.OpError{Op: "listen", Net: "udp", Addr: net.UDPAddrFromAddrPort(h.addr), Err: syscall.EADDRINUSE}
	}
	h.packets = &packetConn{host: h, queue: make(chan packet, packetQueue), done: make(chan struct{})}
	return h.packets, nil
}

// ReadFrom implements net.PacketConn.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case p := <-c.queue:
		return copy(b, p.data), p.from, nil
	case <-c.done:
		return 0, nil, &net.OpError{Op: "read", Net: "udp", Addr: c.LocalAddr(), Err: net.ErrClosed}
	}
}

// WriteTo implements net.PacketConn. Like UDP it does not tell whether the packet arrives.
func (c *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-c.done:
		return 0, &net.OpError{Op: "write", Net: "udp", Addr: to, Err: net.ErrClosed}
	default:
	}
	n := c.host.net
	n.mu.Lock()
	target := n.hosts[to.String()]
	if target == nil || !n.wayLocked(c.host, target) || n.random.Float64() < n.options.Loss {
		n.mu.Unlock()
		return len(b), nil
	}
	delay := n.latency()
	n.mu.Unlock()
	p := packet{from: c.LocalAddr(), data: append([]byte(nil), b...)}
	if delay == 0 {
		target.receive(p)
	} else {
		time.AfterFunc(delay, func() { target.receive(p) })
	}
	return len(b), nil
}

// receive queues a packet that has arrived; it is lost when nobody listens or the queue is full.
func (h *Host) receive(p packet) {
	h.net.mu.Lock()
	c := h.packets
	lost := c == nil || h.stopped
	h.net.mu.Unlock()
	if lost {
		return
	}
	select {
	case c.queue <- p:
	default:
		c.lost.Add(1)
	}
}

// Overflow returns how many packets the host's open packet socket has lost because nobody read them.
func (h *Host) Overflow() uint64 {
	h.net.mu.Lock()
	defer h.net.mu.Unlock()
	if h.packets == nil {
		return 0
	}
	return h.packets.lost.Load()
}

// Close implements net.PacketConn.
func (c *packetConn) Close() error {
	c.once.Do(func() {
		close(c.done)
		c.host.net.mu.Lock()
		defer c.host.net.mu.Unlock()
		c.host.packets = nil
	})
	return nil
}

// LocalAddr implements net.PacketConn.
func (c *packetConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.host.addr) }

// SetDeadline implements net.PacketConn.
func (c *packetConn) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline implements net.PacketConn.
func (c *packetConn) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline implements net.PacketConn.
func (c *packetConn) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }
