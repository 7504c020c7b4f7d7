package mux

import (
	"errors"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// spare is a descriptor that is given up to refuse a stream when this process has no other: whoever dialed knows at once, and asks elsewhere.
type spare struct {
	mu     sync.Mutex
	fd     int // -1 = there is none
	turned uint64
	recent uint64    // of these since a minute went by without
	last   time.Time // of a stream that was refused for want of a descriptor
	told   time.Time // when the log was
}

func (s *spare) take() {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		fd = -1
	}
	s.fd = fd
}

func (s *spare) give() {
	if s.fd >= 0 {
		_ = unix.Close(s.fd)
		s.fd = -1
	}
}

// turnAway refuses a stream that could not be accepted for want of a descriptor; false means that the error is another one, or that this could not be done.
func (m *Mux) turnAway(err error) bool {
	if !errors.Is(err, unix.EMFILE) && !errors.Is(err, unix.ENFILE) {
		return false
	}
	s := &m.admission.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	s.give()
	defer s.take()
	_ = m.tcp.SetDeadline(time.Now().Add(minAcceptPause)) // whoever waited may be gone
	c, aerr := m.tcp.AcceptTCP()
	_ = m.tcp.SetDeadline(time.Time{})
	if aerr != nil {
		var timeout net.Error
		return errors.As(aerr, &timeout) && timeout.Timeout()
	}
	if time.Since(s.last) > time.Minute {
		s.recent = 0
	}
	s.turned, s.recent, s.last = s.turned+1, s.recent+1, time.Now()
	_ = c.SetLinger(0)
	m.refuse(c, reasonDescriptors, err)
	if time.Since(s.told) >= time.Second {
		s.told = time.Now()
		m.log.Warn("a peer's stream was refused: this process has no descriptor left", "err", err)
	}
	return true
}

// Shortage tells how many streams were refused for want of a descriptor: since the start, and since that began which lasts (counts; zero after a
// minute without one); and when the last was.
func (m *Mux) Shortage() (total, recent uint64, last time.Time) {
	s := &m.admission.spare
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.last) > time.Minute {
		return s.turned, 0, s.last
	}
	return s.turned, s.recent, s.last
}
