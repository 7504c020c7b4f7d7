package wire_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"meshnode/e2e/lab/wire"
)

// bed is two namespaces on a switch, and a socket in each.
type bed struct {
	*wire.Switch
	names [2]string
	socks [2]net.PacketConn
}

func open(t *testing.T) *bed {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	b := &bed{Switch: wire.New()}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	for i := range b.names {
		ns := fmt.Sprintf("mnw%d-%d", os.Getpid(), i)
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("needs network namespaces: %v: %s", err, out)
		}
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", ns).Run() })
		port, err := b.Plug(ns, "eth0")
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODEV) {
			t.Skipf("needs TAP devices: %v", err)
		}
		if err != nil || port != i {
			t.Fatalf("port %d: %v", port, err)
		}
		for _, line := range []string{"addr add " + address(i) + "/24 dev eth0", "link set lo up", "link set eth0 up"} {
			if out, err := exec.Command("ip", append([]string{"-n", ns}, strings.Fields(line)...)...).CombinedOutput(); err != nil {
				t.Fatalf("%s: %v: %s", line, err, out)
			}
		}
		b.names[i] = ns
	}
	for i := range b.socks {
		s, err := listen(b.names[i], address(i)+":7000")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		b.socks[i] = s
	}
	if got := b.trips(t, 20); len(got) == 0 { // each learns where the other is
		t.Fatal("nothing passes a switch without rules")
	}
	return b
}

func address(i int) string { return fmt.Sprintf("10.78.0.%d", i+1) }

// listen opens a socket in a namespace.
func listen(ns, addr string) (net.PacketConn, error) {
	type result struct {
		c   net.PacketConn
		err error
	}
	done := make(chan result, 1)
	go func() {
		runtime.LockOSThread()
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
		c, err := new(net.ListenConfig).ListenPacket(context.Background(), "udp4", addr)
		done <- result{c, err}
	}()
	r := <-done
	return r.c, r.err
}

// trips sends n datagrams from 0 to 1, which sends each back, and returns how long those that came back took.
func (b *bed) trips(t *testing.T, n int) []time.Duration {
	t.Helper()
	stop := make(chan struct{})
	go func() {
		defer close(stop)
		var buf [64]byte
		for {
			k, from, err := b.socks[1].ReadFrom(buf[:])
			if err != nil {
				return // the deadline below
			}
			_, _ = b.socks[1].WriteTo(buf[:k], from)
		}
	}()
	var got []time.Duration
	all := make(chan struct{})
	begun := make([]time.Time, n)
	go func() {
		defer close(all)
		var buf [64]byte
		for {
			k, _, err := b.socks[0].ReadFrom(buf[:])
			var i int
			if err != nil {
				return
			}
			if _, err := fmt.Sscanf(string(buf[:k]), "%d", &i); err == nil {
				got = append(got, time.Since(begun[i]))
			}
		}
	}()
	to, err := net.ResolveUDPAddr("udp4", address(1)+":7000")
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		begun[i] = time.Now()
		if _, err := b.socks[0].WriteTo(fmt.Appendf(nil, "%d", i), to); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	deadline := time.Now().Add(500 * time.Millisecond)
	for _, s := range b.socks {
		_ = s.SetReadDeadline(deadline)
	}
	<-all
	<-stop
	for _, s := range b.socks {
		_ = s.SetReadDeadline(time.Time{})
	}
	slices.Sort(got)
	return got
}

// What is asked for is got: the delay of one direction, the jitter, and the loss of the other.
func TestDelayAndLoss(t *testing.T) {
	b := open(t)
	plain := b.trips(t, 200)
	b.Set(0, 1, wire.Rule{Delay: 50 * time.Millisecond, Jitter: 5 * time.Millisecond})
	slow := b.trips(t, 500)
	b.Set(1, 0, wire.Rule{Loss: 0.2})
	lossy := b.trips(t, 1000)
	t.Logf("no rule: %d of 200 back, median %s; 50 ms, 5 ms either way: %d of 500, median %s, from %s to %s; and 20 %% loss on the way back: %d of 1000",
		len(plain), plain[len(plain)/2], len(slow), slow[len(slow)/2], slow[0], slow[len(slow)-1], len(lossy))
	if len(slow) != 500 || slow[0] < 45*time.Millisecond {
		t.Errorf("%d of 500 came back, the first after %s; want all, none before 45 ms", len(slow), slow[0])
	}
	if len(lossy) < 720 || len(lossy) > 880 { // six standard deviations
		t.Errorf("%d of 1000 came back, want about 800", len(lossy))
	}
	if c := b.Count(1, 0); int(c.Lost) < 1000-len(lossy) || c.Refused != 0 {
		t.Errorf("%+v on the way back, but %d are missing", c, 1000-len(lossy))
	}
}

// A cut in one direction stops that one and no other, and can be mended.
func TestCut(t *testing.T) {
	b := open(t)
	b.Set(0, 1, wire.Rule{Cut: true})
	before := b.Count(0, 1)
	if got := b.trips(t, 50); len(got) != 0 {
		t.Errorf("%d came back over a direction that is cut", len(got))
	}
	if after := b.Count(0, 1); after.Passed != before.Passed || after.Lost < before.Lost+50 {
		t.Errorf("passed and lost were %+v, and are %+v", before, after)
	}
	b.Set(0, 1, wire.Rule{})
	b.Set(1, 0, wire.Rule{Cut: true})
	before = b.Count(0, 1)
	if got := b.trips(t, 50); len(got) != 0 {
		t.Errorf("%d came back over the other direction, which is cut", len(got))
	}
	if after := b.Count(0, 1); after.Passed < before.Passed+50 {
		t.Errorf("only %d passed in the direction that is not cut", after.Passed-before.Passed)
	}
	b.Set(1, 0, wire.Rule{})
	if got := b.trips(t, 50); len(got) != 50 {
		t.Errorf("mended: %d of 50 came back", len(got))
	}
}
