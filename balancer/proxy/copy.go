package proxy

import (
	"io"
	"net"
	"os"
	"sync"
)

// copyBuffer is the size of a copying relay's buffers (bytes): one TLS record.
const copyBuffer = 16 << 10

// copyBoth relays with two goroutines, for connections that are no sockets, and blocks to the end.
func (s *Server) copyBoth(pa, pb party) {
	a, erra := pa.open()
	b, errb := pb.open()
	if erra != nil || errb != nil || !s.hold(a, false) {
		for _, c := range []net.Conn{a, b} {
			if c != nil {
				abort(c)
				c.Close()
			}
		}
		return
	}
	if !s.hold(b, false) {
		s.release(a)
		return
	}
	var back sync.WaitGroup
	back.Go(func() { half(a, b) })
	half(b, a)
	back.Wait()
	s.release(a)
	s.release(b)
}

// open returns the party as a connection; a bare socket is consumed, also on an error.
func (p party) open() (net.Conn, error) {
	if p.conn != nil {
		return p.conn, nil
	}
	f := os.NewFile(uintptr(p.fd), "socket")
	defer f.Close()
	return net.FileConn(f) // duplicates
}

// half moves src's bytes to dst, then closes dst for writing. An error ends both connections, as a reset where the kernel allows.
func half(dst, src net.Conn) {
	err := copyBuffered(dst, src)
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

func copyBuffered(dst io.Writer, src io.Reader) error {
	// Hidden, so that io.CopyBuffer does not find a ReadFrom and takes a pipe for the life of the connection.
	_, err := io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, make([]byte, copyBuffer))
	return err
}
