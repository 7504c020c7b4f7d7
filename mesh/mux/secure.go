package mux

import (
	"crypto/tls"
	"io"
	"net"
	"syscall"
	"time"
)

// wire is what is below a TLS connection: a TCP connection, and once that was detached two buffers in memory. What was read of it before
// TLS began is read again first.
type wire struct {
	*net.TCPConn
	before   []byte
	detached bool
	in       []byte // came over the wire and was not decrypted
	out      []byte // is to go over the wire
}

// errDry is what a detached wire returns when it has nothing more to be read. To the TLS library it is an error that passes.
type errDry struct{}

func (errDry) Error() string   { return syscall.EAGAIN.Error() }
func (errDry) Timeout() bool   { return true }
func (errDry) Temporary() bool { return true }

// Is makes errors.Is find what a socket that does not block would return.
func (errDry) Is(target error) bool { return target == syscall.EAGAIN }

// Read implements net.Conn.
func (w *wire) Read(b []byte) (n int, err error) {
	switch {
	case len(w.before) > 0:
		n = copy(b, w.before)
		w.before = w.before[n:]
		return n, nil
	case !w.detached:
		return w.TCPConn.Read(b)
	case len(w.in) == 0:
		return 0, errDry{}
	}
	n = copy(b, w.in)
	w.in = w.in[n:]
	return n, nil
}

// Write implements net.Conn.
func (w *wire) Write(b []byte) (int, error) {
	if !w.detached {
		return w.TCPConn.Write(b)
	}
	w.out = append(w.out, b...)
	return len(b), nil
}

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error {
	if w.detached {
		return nil
	}
	return w.TCPConn.SetDeadline(t)
}

// SetWriteDeadline implements net.Conn; the TLS library sets one for its goodbye.
func (w *wire) SetWriteDeadline(t time.Time) error {
	if w.detached {
		return nil
	}
	return w.TCPConn.SetWriteDeadline(t)
}

// secureConn is a TLS connection whose socket can be taken away: then it goes on as a transformer of bytes.
type secureConn struct {
	*tls.Conn
	wire *wire
	peer Identity // who is at the other end, once identify has found that out
}

// identify reads from the verified certificate who is at the other end, after the handshake: once, for whoever asks (PeerOf).
func (c *secureConn) identify() error {
	state := c.ConnectionState()
	if !state.HandshakeComplete || len(state.VerifiedChains) == 0 {
		return errNoIdentity
	}
	who, ok := identityOf(state.PeerCertificates[0])
	if !ok {
		return errNoIdentity
	}
	c.peer = who
	return nil
}

// Detach takes the socket out of Go's poller and gives it away. From then on only Open, Seal and End may be called, by one goroutine at a
// time, and whoever has the socket reads and writes it. On an error the connection stays as it was.
func (c *secureConn) Detach() (fd int, err error) {
	raw, err := c.wire.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := raw.Control(func(old uintptr) {
		var errno syscall.Errno
		var n uintptr
		n, _, errno = syscall.Syscall(syscall.SYS_FCNTL, old, syscall.F_DUPFD_CLOEXEC, 0)
		if fd = int(n); errno != 0 {
			err = errno
		}
	})
	if cerr != nil {
		return -1, cerr
	}
	if err != nil {
		return -1, err
	}
	_ = c.wire.TCPConn.Close() // the socket lives on in its duplicate
	c.wire.detached = true
	return fd, nil
}

// Open takes what came over the wire and appends the plain bytes that it makes whole to dst, whose capacity must hold them. io.EOF says that
// the other side has ended its direction, after these bytes.
func (c *secureConn) Open(dst, came []byte) ([]byte, error) {
	c.wire.in = came
	for {
		if len(dst) == cap(dst) {
			return dst, io.ErrShortBuffer
		}
		n, err := c.Conn.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if _, dry := err.(errDry); dry {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// Seal appends the form of plain bytes that goes over the wire to dst, behind what else is to be sent.
func (c *secureConn) Seal(dst, plain []byte) ([]byte, error) {
	return c.collect(dst, func() error {
		_, err := c.Conn.Write(plain)
		return err
	})
}

// End appends what tells the other side that nothing follows.
func (c *secureConn) End(dst []byte) ([]byte, error) { return c.collect(dst, c.Conn.CloseWrite) }

// collect appends what f writes, behind what was written before by answers to the other side's library.
func (c *secureConn) collect(dst []byte, f func() error) ([]byte, error) {
	c.wire.out = append(dst, c.wire.out...)
	err := f()
	dst, c.wire.out = c.wire.out, nil
	return dst, err
}
