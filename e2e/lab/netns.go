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

// openSwitch makes the bridge, in a namespace of its own, which is the client's place too.
func (l *Lab) openSwitch() {
	l.t.Helper()
	sw := l.sw()
	l.ip("netns", "add", sw)
	l.ip("-n", sw, "link", "set", "lo", "up")
	l.ip("-n", sw, "link", "add", "br0", "type", "bridge")
	l.ip("-n", sw, "addr", "add", fmt.Sprintf("10.77.%d.254/24", l.id%250), "dev", "br0")
	l.ip("-n", sw, "link", "set", "br0", "up")
}

// openSpace makes a host's namespace and plugs it into the bridge. Its hosts file knows every host of the lab by name.
func (l *Lab) openSpace(ns, ip string, i int) {
	l.t.Helper()
	port := fmt.Sprintf("p%d", i)
	l.ip("netns", "add", ns)
	l.ip("-n", ns, "link", "set", "lo", "up")
	l.ip("-n", ns, "link", "add", "eth0", "type", "veth", "peer", "name", port, "netns", l.sw())
	l.ip("-n", l.sw(), "link", "set", port, "master", "br0", "up")
	l.ip("-n", ns, "addr", "add", ip+"/24", "dev", "eth0")
	l.ip("-n", ns, "link", "set", "eth0", "up")
	dir := filepath.Join("/etc/netns", ns)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		l.t.Fatal(err)
	}
	hosts := "127.0.0.1 localhost\n"
	for k := 1; k <= 9; k++ {
		hosts += fmt.Sprintf("10.77.%d.%d h%d\n", l.id%250, k, k)
	}
	hosts += fmt.Sprintf("10.77.%d.1 seed\n", l.id%250)
	if err := os.WriteFile(filepath.Join(dir, "hosts"), []byte(hosts), 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// closeSpaces removes all that openSwitch and openSpace made.
func (l *Lab) closeSpaces() {
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

// DialContext dials from the client's place.
func (l *Lab) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ns := ""
	if l.spaces {
		ns = l.sw()
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

// command returns a command that runs on the host.
func (h *Host) command(name string, args ...string) *exec.Cmd {
	if h.ns == "" {
		return exec.Command(name, args...)
	}
	return exec.Command("ip", append([]string{"netns", "exec", h.ns, name}, args...)...)
}

// Cut drops all packets between this host and the others, in silence, as a pulled cable does; Mend plugs it in again.
func (h *Host) Cut() { h.link("down") }

// Mend undoes Cut.
func (h *Host) Mend() { h.link("up") }

func (h *Host) link(state string) {
	h.lab.t.Helper()
	if h.ns == "" {
		h.lab.t.Skip("needs network namespaces")
	}
	h.lab.ip("-n", h.lab.sw(), "link", "set", "p"+strings.TrimPrefix(h.Name, "h"), state)
}
