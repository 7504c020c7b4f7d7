package lab

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

var probe struct {
	once sync.Once
	ok   bool
}

// haveSpaces reports whether network namespaces may be made here, by making one.
func haveSpaces() bool {
	probe.once.Do(func() {
		name := fmt.Sprintf("mnp%d", os.Getpid())
		if exec.Command("ip", "netns", "add", name).Run() != nil {
			return
		}
		probe.ok = exec.Command("ip", "-n", name, "link", "set", "lo", "up").Run() == nil
		_ = exec.Command("ip", "netns", "del", name).Run()
	})
	return probe.ok
}

func (l *Lab) prefix() string { return fmt.Sprintf("mn%d-%d", os.Getpid(), l.id) }

func (l *Lab) sw() string { return l.prefix() + "-sw" }

// ip runs the ip command.
func (l *Lab) ip(args ...string) {
	l.t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		l.t.Fatalf("ip %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// address is that of the i-th host; 254 is the client's place.
func (l *Lab) address(i int) string { return fmt.Sprintf("10.77.%d.%d", l.id%250, i) }

const (
	clientNumber = 254
	named        = 60 // hosts that a hosts file knows (count)
)

// openPlace makes the namespace that the client is in.
func (l *Lab) openPlace() {
	l.t.Helper()
	l.ip("netns", "add", l.sw())
	l.ip("-n", l.sw(), "link", "set", "lo", "up")
}

// openSpace makes a host's namespace. Its hosts file knows every host of the lab by name.
func (l *Lab) openSpace(ns string) {
	l.t.Helper()
	l.ip("netns", "add", ns)
	l.ip("-n", ns, "link", "set", "lo", "up")
	dir := filepath.Join("/etc/netns", ns)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	hosts := "127.0.0.1 localhost\n"
	for k := 1; k <= named; k++ {
		hosts += fmt.Sprintf("%s h%d\n", l.address(k), k)
	}
	hosts += l.address(1) + " seed\n"
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// ResolvConf is the host's file that names its name servers, as its processes see it. It is to be written in place.
func (h *Host) ResolvConf() string { return filepath.Join("/etc/netns", h.ns, "resolv.conf") }

// NameServer gives the host a name server, before its first process is started.
func (h *Host) NameServer(addr string) {
	h.lab.t.Helper()
	if err := os.WriteFile(h.ResolvConf(), []byte("nameserver "+addr+"\n"), 0o644); err != nil {
		h.lab.t.Fatal(err)
	}
}

// Nobody is an address to which the host's packets go, and from which nothing comes back.
func (h *Host) Nobody() string {
	h.lab.t.Helper()
	addr := h.lab.address(clientNumber - 1)
	h.lab.ip("-n", h.ns, "neigh", "replace", addr, "lladdr", "02:00:00:00:00:01", "dev", "eth0", "nud", "permanent")
	return addr
}

// ForgetNames empties the host's file of names, also for the processes that run.
func (h *Host) ForgetNames() {
	h.lab.t.Helper()
	if err := os.Truncate(filepath.Join("/etc/netns", h.ns, "hosts"), 0); err != nil {
		h.lab.t.Fatal(err)
	}
}

// closeSpaces removes the fabric and all namespaces.
func (l *Lab) closeSpaces() {
	l.fabric.close()
	names := []string{l.sw()}
	for _, h := range l.hosts {
		names = append(names, h.ns)
		_ = os.RemoveAll(filepath.Join("/etc/netns", h.ns))
	}
	for _, ns := range names {
		if out, err := exec.Command("ip", "netns", "del", ns).CombinedOutput(); err != nil {
			l.t.Logf("ip netns del %s: %v: %s", ns, err, out)
		}
	}
	_ = os.Remove("/etc/netns") // only if it is empty
}

// Dial dials TCP from the client's place, by a deadline.
func (l *Lab) Dial(addr string, deadline time.Time) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	return l.DialContext(ctx, "tcp", addr)
}

// DialContext dials from the client's place.
func (l *Lab) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ns := ""
	if l.fabric != nil {
		ns = l.fabric.place()
	}
	return dialFrom(ctx, ns, network, addr)
}

// dialFrom dials inside a namespace: a socket belongs to the namespace of the thread that made it.
func dialFrom(ctx context.Context, ns, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if ns == "" {
		return d.DialContext(ctx, network, addr)
	}
	type result struct {
		c   net.Conn
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine, with its namespace
		f, err := os.Open(filepath.Join("/run/netns", ns))
		if err != nil {
			done <- result{nil, err}
			return
		}
		defer f.Close()
		if err := unix.Setns(int(f.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- result{nil, err}
			return
		}
		c, err := d.DialContext(ctx, network, addr)
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

// Inside runs f in the client's place: the sockets that it opens on its own goroutine are there.
func (l *Lab) Inside(f func() error) error {
	if l.fabric == nil {
		return f()
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // as in dialFrom
		file, err := os.Open(filepath.Join("/run/netns", l.fabric.place()))
		if err != nil {
			done <- err
			return
		}
		defer file.Close()
		if err := unix.Setns(int(file.Fd()), unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	return <-done
}

// DialContext dials from the host.
func (h *Host) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return dialFrom(ctx, h.ns, network, addr)
}

// Command returns a command that runs on the host.
func (h *Host) Command(name string, args ...string) *exec.Cmd {
	if h.ns == "" {
		return exec.Command(name, args...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

// Cut drops all packets between this host and the others, in silence, as a pulled cable does; Mend plugs it in again.
func (h *Host) Cut() { h.link(false) }

// Mend undoes Cut.
func (h *Host) Mend() { h.link(true) }

func (h *Host) link(on bool) {
	h.lab.t.Helper()
	if h.lab.fabric == nil {
		h.lab.t.Skip("needs network namespaces")
	}
	h.lab.fabric.link(h.number, on)
}
