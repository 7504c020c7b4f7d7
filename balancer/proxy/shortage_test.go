package proxy

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// limitTo lets the process have descriptors up to a number, until the returned function is called.
func limitTo(t *testing.T, most int) (undo func()) {
	t.Helper()
	var was unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &was); err != nil {
		t.Fatal(err)
	}
	set := func(r unix.Rlimit) {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &r); err != nil {
			t.Error(err)
		}
	}
	set(unix.Rlimit{Cur: uint64(most), Max: was.Max})
	return func() { set(was) }
}

// free is the lowest number that no descriptor has.
func free(t *testing.T) int {
	t.Helper()
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	return fd
}

// TestLastDescriptorsAreSpared has clients come until the first is refused, while there are still descriptors for everything else.
func TestLastDescriptorsAreSpared(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	n.workers(b.listening("w1", func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) }))
	undo := limitTo(t, free(t)+20+leastSpared)
	var open []*net.TCPConn
	for n.srv.Shortage(Descriptors).Times == 0 {
		c, err := net.DialTimeout("tcp", n.addr, limit)
		if err != nil {
			t.Fatalf("after %d: %v", len(open), err)
		}
		open = append(open, c.(*net.TCPConn))
		if len(open) > 20 {
			t.Fatal("nobody was refused")
		}
		n.await("the client's fate", func() bool {
			return n.bal.Picker(app).Open("w1") == len(open) || n.srv.Shortage(Descriptors).Times > 0
		})
	}
	spare, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		t.Errorf("no descriptor is left for anything else: %v", err)
	} else {
		unix.Close(spare)
	}
	last := open[len(open)-1]
	_ = last.SetDeadline(time.Now().Add(limit))
	if _, err := last.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	for _, c := range open {
		c.Close()
	}
	n.idle()
	undo()
	if c := n.connect(); c.CloseWrite() != nil {
		t.Error("the limit was raised again, and nobody is let in")
	}
	n.idle()
}

// TestNoDescriptorAtAll has a client come when not one is left.
func TestNoDescriptorAtAll(t *testing.T) {
	b := newBench(t)
	n := b.node("a", Options{})
	to := unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: int(netip.MustParseAddrPort(n.addr).Port())}
	client, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(client)
	undo := limitTo(t, free(t))
	err = unix.Connect(client, &to)
	if err == nil {
		_, err = unix.Read(client, make([]byte, 1)) // blocks until there is an answer
	}
	undo()
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	if s := n.srv.Shortage(Descriptors); s.Times == 0 || s.Total != s.Times {
		t.Errorf("%+v", s)
	}
}
