package relay

import (
	"errors"
	"io"

	"golang.org/x/sys/unix"
)

// side is one socket and what is known of it. The kernel tells of changes only: readable and writable hold until a call says otherwise.
type side struct {
	Side
	readable bool
	writable bool
	ending   bool // an end or an error is to be read: a short read is not the last
	failed   bool // there is an error
	kept     bool // the layer holds bytes that the socket has not taken
}

// read reads once from a socket, or from a layer until b is full. Both n and an error may be returned.
func (s *side) read(b []byte) (n int, err error) {
	if s.Layer != nil {
		return s.readLayer(b)
	}
	n, err = retry(func() (int, error) { return unix.Read(s.FD, b) })
	switch {
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	case n < len(b) && !s.ending:
		s.readable = false // the socket is empty, and the kernel will tell when it is not
	}
	return n, nil
}

func (s *side) readLayer(b []byte) (n int, err error) {
	for n < len(b) {
		var m int
		m, err = s.Layer.Read(b[n:])
		n += m
		if err != nil {
			break
		}
	}
	return n, err
}

// write writes once. A layer takes all; what the socket has not taken of it is kept there.
func (s *side) write(b []byte) (int, error) {
	if s.Layer == nil {
		return retry(func() (int, error) { return unix.Write(s.FD, b) })
	}
	n, err := s.Layer.Write(b)
	if err != nil {
		return n, err
	}
	_, err = s.flush()
	return n, err
}

// flush has the layer write what it kept.
func (s *side) flush() (clear bool, err error) {
	left, err := s.Layer.Flush()
	if err != nil {
		return false, err
	}
	if s.kept = left > 0; s.kept {
		s.writable = false
	}
	return !s.kept, nil
}

// end tells the other side that nothing follows.
func (s *side) end() error {
	if s.Layer == nil {
		if err := unix.Shutdown(s.FD, unix.SHUT_WR); !errors.Is(err, unix.ENOTCONN) {
			return err
		}
		return nil // it is gone; reading tells
	}
	if err := s.Layer.CloseWrite(); err != nil {
		return err
	}
	_, err := s.flush()
	return err
}

// close closes the socket. A reset is sent where the protocol has one.
func (s *side) close(reset bool) {
	if reset {
		_ = unix.SetsockoptLinger(s.FD, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	unix.Close(s.FD)
}

// retry calls again what a signal interrupted.
func retry(f func() (int, error)) (int, error) {
	for {
		if n, err := f(); err != unix.EINTR {
			return n, err
		}
	}
}
