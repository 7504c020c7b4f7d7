package proxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// bufferSize is the size of a relay's buffer, in bytes: one TLS record.
const bufferSize = 16 << 10

// bulkAfter is how many full buffers in a row make a flow bulk, which is then moved inside the kernel.
const bulkAfter = 4

// relay moves bytes both ways until both directions have ended, passing on half-closes and resets, and closes both ends.
func (s *Server) relay(a, b net.Conn) {
	if !s.hold(a) {
		b.Close()
		return
	}
	if !s.hold(b) {
		s.release(a)
		return
	}
	var back sync.WaitGroup
	back.Go(func() { s.half(a, b) })
	s.half(b, a)
	back.Wait()
	s.release(a)
	s.release(b)
}

// half moves src's bytes to dst, then closes dst for writing. An error ends both connections, as a reset where the kernel allows.
func (s *Server) half(dst, src net.Conn) {
	err := s.transfer(dst, src)
	if err == nil {
		if w, ok := dst.(interface{ CloseWrite() error }); ok && w.CloseWrite() == nil {
			return
		}
	}
	for _, c := range []net.Conn{dst, src} {
		if err != nil {
			abort(c)
		}
		c.Close()
	}
}

// abort closes the TCP connection below c so that the other side sees a reset. A TLS connection would say goodbye first, and the other
// side would take the failure for an orderly end.
func abort(c net.Conn) {
	for {
		n, ok := c.(interface{ NetConn() net.Conn })
		if !ok {
			break
		}
		c = n.NetConn()
	}
	if t, ok := c.(interface{ SetLinger(sec int) error }); ok && t.SetLinger(0) == nil {
		c.Close()
	}
}

// transfer copies src to dst until the end of src (then nil) or an error.
func (s *Server) transfer(dst, src net.Conn) error {
	rs, ok := raw(src)
	if !ok {
		return copyBuffered(dst, src)
	}
	rd, kernel := raw(dst)
	full := 0
	for {
		n, err := copyOnce(dst, rs)
		if n == 0 || err != nil {
			return err
		}
		if n < bufferSize {
			full = 0
		} else if full++; kernel && full >= bulkAfter {
			full = 0
			if end, err := s.pipes.moveBulk(rd, rs); end || err != nil {
				return err
			}
		}
	}
}

// raw returns the kernel socket below a connection; a TLS connection has none that could be used.
func raw(c net.Conn) (syscall.RawConn, bool) {
	k, ok := c.(syscall.Conn)
	if !ok {
		return nil, false
	}
	r, err := k.SyscallConn()
	return r, err == nil
}

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// copyOnce waits for bytes, then moves at most one buffer. A connection that is idle holds no buffer: it is taken when bytes are there.
// n is 0 at the end of src.
func copyOnce(dst io.Writer, src syscall.RawConn) (n int, err error) {
	var buf *[bufferSize]byte
	rerr := src.Read(func(fd uintptr) bool {
		buf = buffers.Get().(*[bufferSize]byte)
		for {
			if n, err = unix.Read(int(fd), buf[:]); err != unix.EINTR {
				break
			}
		}
		if err == unix.EAGAIN {
			buffers.Put(buf)
			buf = nil
			return false
		}
		return true
	})
	if buf == nil {
		return 0, rerr
	}
	defer buffers.Put(buf)
	if err = errors.Join(rerr, err); err != nil || n == 0 {
		return 0, err
	}
	if _, err = dst.Write(buf[:n]); err != nil {
		return n, err
	}
	return n, nil
}

func copyBuffered(dst io.Writer, src io.Reader) error {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	// Hidden, so that io.CopyBuffer does not find a ReadFrom and takes a pipe for the life of the connection.
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf[:])
	return err
}
