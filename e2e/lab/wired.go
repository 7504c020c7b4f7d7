package lab

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"meshnode/e2e/lab/wire"
)

// wired joins the hosts by a switch with bad cables. The client is at its port 0, the i-th host at port i.
type wired struct {
	*Lab
	wire *wire.Switch
}

// NewWired returns a lab like New's whose hosts, and the client's place, are joined by a switch that delays, loses and cuts as Cable says.
// Tests that need it are skipped where it cannot be.
func NewWired(t testing.TB, n int) *Lab {
	t.Helper()
	if !haveSpaces() {
		t.Skip("needs network namespaces")
	}
	return build(t, n, func(l *Lab) fabric { return &wired{l, wire.New()} })
}

// Cable gives the direction from one host to another a rule; nil is the client's place.
func (l *Lab) Cable(from, to *Host, r wire.Rule) {
	l.t.Helper()
	l.wired().wire.Set(port(from), port(to), r)
}

// Cables gives both directions between two hosts a rule.
func (l *Lab) Cables(a, b *Host, r wire.Rule) {
	l.t.Helper()
	l.Cable(a, b, r)
	l.Cable(b, a, r)
}

// Carried says what became of the frames from one host to another; nil is the client's place.
func (l *Lab) Carried(from, to *Host) wire.Count {
	l.t.Helper()
	return l.wired().wire.Count(port(from), port(to))
}

// Record keeps what the hosts say to each other, up to a number of bytes, until the returned function is called.
func (l *Lab) Record(most int) func() []wire.Frame {
	l.t.Helper()
	return l.wired().wire.Record(most)
}

// Replay gives a recorded frame to the host that it was for once more.
func (l *Lab) Replay(f wire.Frame) {
	l.t.Helper()
	l.wired().wire.Inject(f.To, f.Data)
}

func (l *Lab) wired() *wired {
	l.t.Helper()
	w, ok := l.fabric.(*wired)
	if !ok {
		l.t.Fatal("this lab has no switch with rules: see NewWired")
	}
	return w
}

func port(h *Host) int {
	if h == nil {
		return 0
	}
	return h.number
}

func (w *wired) open() {
	w.t.Helper()
	w.openPlace()
	w.cable(w.sw(), w.address(clientNumber))
}

func (w *wired) plug(h *Host, _ int) {
	w.t.Helper()
	w.cable(h.ns, h.IP)
}

func (w *wired) cable(ns, ip string) {
	w.t.Helper()
	_, err := w.wire.Plug(ns, "eth0")
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
		w.t.Skipf("needs TAP devices: %v", err)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.ip("-n", ns, "addr", "add", ip+"/24", "dev", "eth0")
	w.ip("-n", ns, "link", "set", "eth0", "up")
}

func (w *wired) link(i int, on bool) {
	for k := range len(w.hosts) + 1 {
		if k != i {
			w.wire.Set(k, i, wire.Rule{Cut: !on})
			w.wire.Set(i, k, wire.Rule{Cut: !on})
		}
	}
}

func (w *wired) place() string { return w.sw() }

func (w *wired) close() {
	if err := w.wire.Close(); err != nil {
		w.t.Log(err)
	}
}
