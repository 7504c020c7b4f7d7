package mux

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"time"
)

// Bounds of the pause after a failed accept, such as "too many open files".
const (
	minAcceptPause = 5 * time.Millisecond
	maxAcceptPause = time.Second
)

// accept takes connections until the listener is closed and starts a handshake for each. It never waits for a client.
func (m *Mux) accept() {
	pause := minAcceptPause
	for {
		c, err := m.tcp.AcceptTCP()
		switch {
		case err == nil:
			pause = minAcceptPause
			m.admit(c)
		case errors.Is(err, net.ErrClosed):
			return
		case m.turnAway(err):
		default:
			m.log.Warn("cannot accept peer streams for now", "err", err, "dur", pause)
			select {
			case <-time.After(pause):
			case <-m.ctx.Done():
				return
			}
			pause = min(2*pause, maxAcceptPause)
		}
	}
}

// admit starts the handshake of one connection, or closes it when too many are under way.
func (m *Mux) admit(c *net.TCPConn) {
	ctx, cancel := context.WithTimeout(m.ctx, handshakeLimit)
	place := m.admission.enter(remoteHost(c), cancel)
	if place == nil {
		cancel()
		m.refuse(c, reasonBusy, nil)
		return
	}
	m.wait.Go(func() {
		defer cancel()
		defer m.admission.leave(place)
		conn, protocol, err := m.welcome(ctx, c)
		switch {
		case errors.Is(err, errRole):
			m.refuse(c, reasonRole, err)
		case err != nil:
			m.refuse(c, reasonHandshake, err)
		default:
			m.deliver(conn, protocol)
		}
	})
}

// welcome runs the accepting side of the handshake, up to whether the other side's role is one of the protocol's; the caller closes c on an error.
func (m *Mux) welcome(ctx context.Context, c *net.TCPConn) (net.Conn, Protocol, error) {
	if m.secure.Load() == nil {
		return welcomePlain(ctx, c, m.self)
	}
	first := make([]byte, len(preambleMagic))
	if err := readFirst(ctx, c, first); err != nil {
		return nil, "", err
	}
	if isMagic(first) { // a TLS record begins otherwise
		return m.welcomeSigned(ctx, c, first)
	}
	w := &wire{TCPConn: c, before: first}
	conn := &secureConn{Conn: tls.Server(w, m.secure.Load().server), wire: w}
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, "", explain(err)
	}
	negotiated := conn.ConnectionState().NegotiatedProtocol
	if negotiated == alpn(Admit) {
		s, err := newStranger(conn.Conn)
		return s, Admit, err
	}
	if err := conn.identify(); err != nil {
		return nil, "", err
	}
	protocol, ok := protocolOf(negotiated)
	if !ok {
		return nil, "", errNoProtocol
	}
	return conn, protocol, mayOpen(protocol, conn.peer.Role)
}

// readFirst reads what tells the modes apart.
func readFirst(ctx context.Context, c net.Conn, b []byte) error {
	defer bound(ctx, c)()
	if _, err := io.ReadFull(c, b); err != nil {
		return fmt.Errorf("read the greeting: %w", err)
	}
	return unbound(ctx, c)
}

// deliver puts a stream into the queue of its protocol, or closes it.
func (m *Mux) deliver(c net.Conn, p Protocol) {
	m.mu.Lock()
	l := m.listeners[p]
	m.mu.Unlock()
	if l == nil {
		m.refuse(c, reasonNoListener, nil)
		return
	}
	if reason, ok := l.put(c); !ok {
		m.refuse(c, reason, nil)
		return
	}
	m.accepted.Add(1)
}

// refuse closes a connection and says so to the counters and, at debug level only, to the log: anybody who can reach the port causes it.
func (m *Mux) refuse(c net.Conn, reason string, err error) {
	m.refused.Add(1)
	m.meter.count(metricRefused, reason)
	m.log.Debug("refused a peer stream", "addr", c.RemoteAddr().String(), "reason", reason, "err", err)
	_ = c.Close()
}

// sendRefusal tells the other side in plain text why it is refused. It reads what the other side has sent, within a bound: closing a socket
// with unread bytes resets it, and the answer would be lost.
func sendRefusal(ctx context.Context, c *net.TCPConn, status byte) {
	deadline := time.Now().Add(refuseLimit)
	if limit, ok := ctx.Deadline(); ok && limit.Before(deadline) {
		deadline = limit
	}
	_ = c.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.Write(preamble{status: status}.encode()); err != nil {
		return
	}
	if err := c.CloseWrite(); err != nil {
		return
	}
	_, _ = io.CopyN(io.Discard, c, 64<<10)
}

// remoteHost returns the host a connection comes from.
func remoteHost(c *net.TCPConn) netip.Addr {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}
