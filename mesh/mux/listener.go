package mux

import (
	"net"
	"sync"
)

// queueLength is how many accepted streams of one protocol may wait for Accept.
const queueLength = 512

// listener is the queue of accepted streams of one protocol.
type listener struct {
	mux      *Mux
	protocol Protocol
	queue    chan net.Conn
	done     chan struct{}

	mu     sync.Mutex // orders put against Close: nothing is queued after it
	reason error      // why it is closed; nil while open
}

func newListener(m *Mux, p Protocol) *listener {
	return &listener{mux: m, protocol: p, queue: make(chan net.Conn, queueLength), done: make(chan struct{})}
}

// put queues a stream and reports whether it was taken; it never blocks. The reason is one of the metric's.
func (l *listener) put(c net.Conn) (reason string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != nil {
		return reasonNoListener, false
	}
	select {
	case l.queue <- c:
		return "", true
	default:
		return reasonQueueFull, false
	}
}

// Accept implements net.Listener. After Close it returns an error that wraps net.ErrClosed.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.done:
		return nil, l.closed()
	default:
	}
	select {
	case c := <-l.queue:
		return c, nil
	case <-l.done:
		return nil, l.closed()
	}
}

func (l *listener) closed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return &net.OpError{Op: "accept", Net: string(l.protocol), Addr: l.Addr(), Err: l.reason}
}

// Addr implements net.Listener: the address of the peer port.
func (l *listener) Addr() net.Addr { return l.mux.tcp.Addr() }

// Close implements net.Listener. It closes the streams still queued; later calls do nothing.
func (l *listener) Close() error {
	l.shut(net.ErrClosed)
	l.mux.forget(l)
	return nil
}

// shut closes the listener for a reason, once.
func (l *listener) shut(reason error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reason != nil {
		return
	}
	l.reason = reason
	close(l.done)
	for {
		select {
		case c := <-l.queue:
			_ = c.Close()
		default:
			return
		}
	}
}
