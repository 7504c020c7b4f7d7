package relay

import (
	"encoding/binary"
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
func (r *rig) carry(a, b Side) chan Cause { return r.carryTo("", a, b) }

func (r *rig) carryTo(peer string, a, b Side) chan Cause {
	r.t.Helper()
	over := make(chan Cause, 2)
	if err := r.e.Carry(Pair{A: a, B: b, Peer: peer, Over: func(c Cause) { over <- c }}); err != nil {
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

// veil is a layer: it sends frames of two bytes of length and bytes whose bits are turned; an empty one is the end.
type veil struct {
	came []byte
}

const frameMost = 10_000

func (v *veil) Open(dst, came []byte) ([]byte, error) {
	v.came = append(v.came, came...)
	for len(v.came) >= 2 {
		n := int(binary.BigEndian.Uint16(v.came))
		if n == 0 {
			return dst, io.EOF
		}
		if len(v.came) < 2+n {
			break
		}
		at := len(dst)
		dst = append(dst, v.came[2:2+n]...)
		turn(dst[at:])
		v.came = v.came[2+n:]
	}
	return dst, nil
}

func (v *veil) Seal(dst, plain []byte) ([]byte, error) {
	for len(plain) > 0 {
		n := min(len(plain), frameMost)
		dst = binary.BigEndian.AppendUint16(dst, uint16(n))
		at := len(dst)
		dst = append(dst, plain[:n]...)
		turn(dst[at:])
		plain = plain[n:]
	}
	return dst, nil
}

func (v *veil) End(dst []byte) ([]byte, error) { return append(dst, 0, 0), nil }

// veiled is the other end of a side with a veil.
type veiled struct {
	*net.TCPConn
	veil  veil
	plain []byte
	err   error
}

func (c *veiled) Write(b []byte) (int, error) {
	sealed, _ := c.veil.Seal(nil, b)
	if _, err := c.TCPConn.Write(sealed); err != nil {
		return 0, err
	}
	return len(b), nil
}

func (c *veiled) Read(b []byte) (int, error) {
	for len(c.plain) == 0 && c.err == nil {
		buf := make([]byte, 32<<10)
		n, err := c.TCPConn.Read(buf)
		if err != nil {
			return 0, err
		}
		c.plain, c.err = c.veil.Open(nil, buf[:n])
	}
	n := copy(b, c.plain)
	if c.plain = c.plain[n:]; n == 0 {
		return 0, c.err
	}
	return n, nil
}

func (c *veiled) CloseWrite() error {
	end, _ := c.veil.End(nil)
	_, err := c.TCPConn.Write(end)
	return err
}

func turn(b []byte) {
	for i := range b {
		b[i] ^= 0xff
	}
}
