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
	opened   bool // the layer was asked for what it had from before
}

// read reads once. The bytes are in buf, or in plain behind a layer.
func (s *side) read(buf, plain []byte) ([]byte, error) {
	if s.Layer != nil && !s.opened {
		s.opened = true
		if b, err := s.Layer.Open(plain[:0], nil); len(b) > 0 || err != nil {
			return b, err
		}
	}
	n, err := retry(func() (int, error) { return unix.Read(s.FD, buf) })
	switch {
	case err != nil:
		return nil, err
	case n == 0 && s.Layer != nil: // a layer says so itself; this is a side that broke down
		return nil, io.ErrUnexpectedEOF
	case n == 0:
		return nil, io.EOF
	case n < len(buf) && !s.ending:
		s.readable = false // the socket is empty, and the kernel will tell when it is not
	}
	if s.Layer == nil {
		return buf[:n], nil
	}
	return s.Layer.Open(plain[:0], buf[:n])
}

// write writes once.
func (s *side) write(b []byte) (int, error) {
	return retry(func() (int, error) { return unix.Write(s.FD, b) })
}

// shut ends the direction towards this side, for the kernel.
func (s *side) shut() error {
	if err := unix.Shutdown(s.FD, unix.SHUT_WR); !errors.Is(err, unix.ENOTCONN) {
		return err
	}
	return nil // it is gone; reading tells
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
