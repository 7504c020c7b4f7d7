package relay

import (
	"io"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

const limit = 20 * time.Second // of every wait in these tests

// rig is an engine and what its pairs say in the end.
type rig struct {
	t *testing.T
	e *Engine
}

func newRig(t *testing.T, loops int) *rig {
	t.Helper()
	leaks := goleak.IgnoreCurrent()
	e, err := Open(loops)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.Close()
		if st := e.Stats(); st.Open != 0 || st.Pipes != 0 {
			t.Errorf("something is left: %+v", st)
		}
		if err := goleak.Find(leaks); err != nil {
			t.Errorf("goroutines are left: %v", err)
		}
	})
	return &rig{t: t, e: e}
}

// tcp returns a connection and the bare socket at its other end.
func tcp(t *testing.T) (*net.TCPConn, int) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	other, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), bare(t, other)
}

// local is the same with a pair of Unix sockets.
func local(t *testing.T) (net.Conn, int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fds[0]), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(limit))
	return c, fds[1]
}

func bare(t *testing.T, c net.Conn) (fd int) {
	t.Helper()
	defer c.Close()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err == nil {
		err = raw.Control(func(old uintptr) { fd, _ = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 0) })
	}
	if err != nil {
		t.Fatal(err)
	}
	return fd
}

// carry relays between two sides and returns where their end is told.
func (r *rig) carry(a, b Side) chan Cause {
	r.t.Helper()
	over := make(chan Cause, 2)
	if err := r.e.Carry(a, b, func(c Cause) { over <- c }); err != nil {
		r.t.Fatal(err)
	}
	return over
}

func (r *rig) ends(over chan Cause, want Cause) {
	r.t.Helper()
	select {
	case got := <-over:
		if got != want {
			r.t.Errorf("the pair ended with cause %d, want %d", got, want)
		}
	case <-time.After(limit):
		r.t.Fatal("the pair does not end")
	}
}

// veil is a layer over a socket that does not block: it turns the bits of every byte, and keeps what the socket does not take.
type veil struct {
	fd    int
	kept  []byte
	ended bool
}

func (v *veil) Read(b []byte) (int, error) {
	n, err := retry(func() (int, error) { return unix.Read(v.fd, b[:min(len(b), 1000)]) })
	if err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, io.EOF
	}
	turn(b[:n])
	return n, nil
}

func (v *veil) Write(b []byte) (int, error) {
	at := len(v.kept)
	v.kept = append(v.kept, b...)
	turn(v.kept[at:])
	return len(b), nil
}

func (v *veil) Flush() (int, error) {
	for len(v.kept) > 0 {
		n, err := retry(func() (int, error) { return unix.Write(v.fd, v.kept) })
		if err == unix.EAGAIN {
			break
		}
		if err != nil {
			return len(v.kept), err
		}
		v.kept = v.kept[n:]
	}
	if len(v.kept) == 0 && v.ended {
		v.ended = false
		return 0, unix.Shutdown(v.fd, unix.SHUT_WR)
	}
	return len(v.kept), nil
}

func (v *veil) CloseWrite() error {
	v.ended = true
	return nil
}

func turn(b []byte) {
	for i := range b {
		b[i] ^= 0xff
	}
}
