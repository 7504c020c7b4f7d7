package meshtest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"meshnode/mesh/meshtest"
)

func bubble(t *testing.T, o meshtest.Options, f func(t *testing.T, a, b *meshtest.Host, n *meshtest.Network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := meshtest.New(o)
		defer n.Close()
		f(t, n.Host("10.0.0.1:1"), n.Host("10.0.0.2:1"), n)
	})
}

// stream opens a stream from a to b.
func stream(t *testing.T, a, b *meshtest.Host) (near, far net.Conn) {
	t.Helper()
	l, err := b.Listen("x")
	if err != nil {
		t.Fatal(err)
	}
	near, err = a.Dialer("x")(t.Context(), b.Addr())
	if err != nil {
		t.Fatal(err)
	}
	far, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return near, far
}

func TestStreamCarriesBothWaysAndEnds(t *testing.T) {
	bubble(t, meshtest.Options{Delay: 5 * time.Millisecond}, func(t *testing.T, a, b *meshtest.Host, _ *meshtest.Network) {
		near, far := stream(t, a, b)
		if near.RemoteAddr().String() != b.Addr() || far.RemoteAddr().String() != a.Addr() {
			t.Error(near.RemoteAddr(), far.RemoteAddr())
		}
		begin := time.Now()
		go func() {
			_, _ = near.Write([]byte("ping"))
			_ = near.Close()
		}()
		got, err := io.ReadAll(far)
		if err != nil || string(got) != "ping" {
			t.Errorf("%q, %v", got, err)
		}
		if d := time.Since(begin); d < 5*time.Millisecond {
			t.Errorf("took %v", d)
		}
	})
}

func TestDialOfNobodyIsRefused(t *testing.T) {
	bubble(t, meshtest.Options{}, func(t *testing.T, a, b *meshtest.Host, _ *meshtest.Network) {
		for _, addr := range []string{b.Addr(), "10.9.9.9:1"} {
			if _, err := a.Dialer("x")(t.Context(), addr); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s: %v", addr, err)
			}
		}
	})
}

func TestDialOfAStoppedHostEndsWithItsContext(t *testing.T) {
	bubble(t, meshtest.Options{}, func(t *testing.T, a, b *meshtest.Host, _ *meshtest.Network) {
		if _, err := b.Listen("x"); err != nil {
			t.Fatal(err)
		}
		b.Stop()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.Dialer("x")(ctx, b.Addr()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestCutStallsAStreamUntilHeal(t *testing.T) {
	bubble(t, meshtest.Options{}, func(t *testing.T, a, b *meshtest.Host, n *meshtest.Network) {
		near, far := stream(t, a, b)
		n.Cut(a, b)
		if _, err := near.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		_ = far.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := far.Read(make([]byte, 1)); err == nil {
			t.Error("a byte went through a cut")
		}
		go func() { _, _ = far.Write([]byte("y")) }()
		if _, err := near.Read(make([]byte, 1)); err != nil {
			t.Errorf("the other direction is open: %v", err)
		}
		n.Heal()
		_ = far.SetReadDeadline(time.Time{})
		if _, err := far.Read(make([]byte, 1)); err != nil {
			t.Errorf("after the heal: %v", err)
		}
	})
}

func TestKillEndsStreamsAndListeners(t *testing.T) {
	bubble(t, meshtest.Options{}, func(t *testing.T, a, b *meshtest.Host, _ *meshtest.Network) {
		near, _ := stream(t, a, b)
		b.Kill()
		if _, err := near.Read(make([]byte, 1)); err == nil {
			t.Error("the stream survived")
		}
		if _, err := a.Dialer("x")(t.Context(), b.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Error(err)
		}
		if _, err := b.Listen("x"); err != nil {
			t.Errorf("the host cannot be used again: %v", err)
		}
	})
}

func TestPacketsAreLostAndCutAndBounded(t *testing.T) {
	bubble(t, meshtest.Options{Loss: 0.5, Seed: 1}, func(t *testing.T, a, b *meshtest.Host, n *meshtest.Network) {
		from, err := a.Packets()
		if err != nil {
			t.Fatal(err)
		}
		to, err := b.Packets()
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan int)
		go func() {
			count, buf := 0, make([]byte, 10)
			for {
				if _, _, err := to.ReadFrom(buf); err != nil {
					got <- count
					return
				}
				count++
			}
		}()
		send := func(k int) {
			for range k {
				if _, err := from.WriteTo([]byte("p"), to.LocalAddr()); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
		}
		send(1000)
		n.Set(meshtest.Options{})
		n.Cut(a, b)
		send(1000)
		_ = to.Close()
		if count := <-got; count < 400 || count > 600 {
			t.Errorf("%d of 1000 packets came through a loss of one half", count)
		}
		n.Heal()
		if _, err := b.Packets(); err != nil {
			t.Fatal(err)
		}
		send(2000)
		if lost := b.Overflow(); lost != 2000-1024 {
			t.Errorf("%d packets beyond the queue", lost)
		}
	})
}
