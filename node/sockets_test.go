package node

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"meshnode/node/supervisor/nodeipc"
)

func onPath(path string) (listenKey, nodeipc.Query) {
	return listenKey{"app", path}, nodeipc.Query{Address: path, Port: -1, Family: "-1"}
}

func sharedWith(t *testing.T, s *sharedSockets, k listenKey, worker string, q nodeipc.Query) *os.File {
	t.Helper()
	f, err := s.take(k, worker, q)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func TestSharedDatagramSocketOutlivesItsWorkers(t *testing.T) {
	s := newSharedSockets(forgetful{})
	k, q := listenKey{"app", "127.0.0.1:0:udp4:0"}, nodeipc.Query{Address: "127.0.0.1", Family: "udp4", Reuse: true}
	f := sharedWith(t, s, k, "a", q)
	one, err := net.FilePacketConn(f)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	s.ended("a")
	c, err := net.Dial("udp4", one.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	one.Close()
	f.Close()
	fmt.Fprint(c, "between two workers")
	two, err := net.FilePacketConn(sharedWith(t, s, k, "b", q))
	if err != nil {
		t.Fatal(err)
	}
	defer two.Close()
	b := make([]byte, 100)
	if n, _, err := two.ReadFrom(b); err != nil || string(b[:n]) != "between two workers" {
		t.Errorf("read %q, %v", b[:n], err)
	}
	if apps := s.apps(); len(apps) != 1 || apps[0] != "app" {
		t.Errorf("apps %v", apps)
	}
	s.close("app")
	if len(s.apps()) != 0 {
		t.Error("a stopped app keeps its socket")
	}
}

func TestSharedPath(t *testing.T) {
	s := newSharedSockets(forgetful{})
	path := filepath.Join(t.TempDir(), "app.sock")
	k, q := onPath(path)
	sharedWith(t, s, k, "a", q)
	sharedWith(t, s, k, "b", q)
	s.release(k, "a")
	other := newSharedSockets(forgetful{})
	if _, err := other.take(k, "x", q); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a path whose owner lives: %v", err)
	}
	if c, err := net.Dial("unix", path); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	s.ended("b")
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the path is left behind: %v", err)
	}
}

func TestSharedPathOfADeadOwnerIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	s := newSharedSockets(forgetful{})
	k, q := onPath(path)
	sharedWith(t, s, k, "a", q)
	// Somebody takes the name meanwhile: it is theirs.
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.close("app")
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("another's file is removed: %v", err)
	}
	if _, err := s.take(k, "a", q); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("a path that is no socket: %v", err)
	}
}

func TestSharedSocketsAreBounded(t *testing.T) {
	s := newSharedSockets(forgetful{})
	take := func(i int) error {
		f, err := s.take(listenKey{"app", fmt.Sprint(i)}, "a", nodeipc.Query{Address: "127.0.0.1", Family: "udp4"})
		if err == nil {
			f.Close()
		}
		return err
	}
	for i := range maxShared {
		if err := take(i); err != nil {
			t.Fatal(err)
		}
	}
	if err := take(maxShared); !errors.Is(err, syscall.ENOBUFS) {
		t.Errorf("one more: %v", err)
	}
	s.release(listenKey{"app", "0"}, "a")
	if err := take(maxShared); err != nil {
		t.Errorf("in place of one that nobody has: %v", err)
	}
	s.close("app")
}

// forgetful is a keeper that keeps nothing.
type forgetful struct{}

func (forgetful) Take(string, string) (int, bool) { return 0, false }
func (forgetful) Hold(string, string, int)        {}
func (forgetful) Drop(string, string)             {}
