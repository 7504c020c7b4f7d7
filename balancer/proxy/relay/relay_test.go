package relay

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestHalfCloseEitherWayFirst(t *testing.T) {
	for name, first := range map[string]int{"a": 0, "b": 1} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			a, afd := tcp(t)
			b, bfd := tcp(t)
			over, said := make(chan Cause, 2), make(chan int, 2)
			if err := r.e.Carry(Pair{A: Side{FD: afd}, B: Side{FD: bfd}, Said: func() { said <- len(over) }, Over: func(c Cause) { over <- c }}); err != nil {
				t.Fatal(err)
			}
			ends := [2]*net.TCPConn{a, b}
			early, late := ends[first], ends[1-first]
			say(t, early, "question")
			_ = early.CloseWrite()
			if got, err := io.ReadAll(late); err != nil || string(got) != "question" {
				t.Errorf("got %q, %v", got, err)
			}
			if told := len(said); told != first { // b is told of before its end is passed on
				t.Errorf("the end of b was told %d times before %s's other side ended, want %d", told, name, first)
			}
			say(t, late, "answer") // the other direction goes on
			_ = late.CloseWrite()
			if got, err := io.ReadAll(early); err != nil || string(got) != "answer" {
				t.Errorf("got %q, %v", got, err)
			}
			r.ends(over, Ended)
			if len(said) != 1 || <-said != 0 {
				t.Error("the end of b was not told once, before the end of all")
			}
		})
	}
}

func say(t *testing.T, w io.Writer, text string) {
	t.Helper()
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
}

func TestResetPassesEitherWay(t *testing.T) {
	for name, first := range map[string]int{"a": 0, "b": 1} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			a, afd := tcp(t)
			b, bfd := tcp(t)
			over := r.carry(Side{FD: afd}, Side{FD: bfd})
			ends := [2]*net.TCPConn{a, b}
			_ = ends[first].SetLinger(0)
			ends[first].Close()
			if _, err := ends[1-first].Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the other side saw %v", err)
			}
			r.ends(over, Broken)
		})
	}
}

// TestResetWhileNothingIsRead has a side that is reset while the relay does not read it, for the other side takes nothing.
func TestResetWhileNothingIsRead(t *testing.T) {
	r := newRig(t, 1)
	a, afd := tcp(t)
	b, bfd := tcp(t)
	over := r.carry(Side{FD: afd}, Side{FD: bfd})
	fill(t, a)
	_ = a.SetLinger(0)
	a.Close()
	r.ends(over, Broken)
	_, err := io.Copy(io.Discard, b)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the other side saw %v", err)
	}
}

// fill writes until nothing more is taken, and returns how much was.
func fill(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	block := make([]byte, 1<<20)
	for {
		_ = c.SetWriteDeadline(time.Now().Add(time.Second))
		m, err := c.Write(block)
		n += m
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n
		}
		if err != nil || n > 1<<30 {
			t.Fatalf("%d bytes were taken, %v", n, err)
		}
	}
}

// TestSlowReaderIsBounded has a reader that takes nothing for a while: the writer is held back, and nothing is lost.
func TestSlowReaderIsBounded(t *testing.T) {
	for name, layered := range map[string]bool{"plain": false, "layer": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, 1)
			a, afd := tcp(t)
			b, bfd := tcp(t)
			to, out := Side{FD: bfd}, net.Conn(b)
			if layered {
				to.Layer, out = &veil{}, &veiled{TCPConn: b}
			}
			over := r.carry(Side{FD: afd}, to)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			sent := fill(t, a)
			runtime.ReadMemStats(&after)
			if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 4<<20 { // one block of fill, and buffers
				t.Errorf("the heap has grown by %d bytes", grown)
			}
			_ = a.CloseWrite()
			got, err := io.Copy(io.Discard, struct{ io.Reader }{out}) // hidden: its WriteTo is that of the socket
			if err != nil || got != int64(sent) {
				t.Errorf("%d bytes arrived of %d, %v", got, sent, err)
			}
			_ = out.(interface{ CloseWrite() error }).CloseWrite()
			r.ends(over, Ended)
		})
	}
}

// TestBytesStayInOrder sends much in pieces of many sizes, both ways at once, over every kind of side.
func TestBytesStayInOrder(t *testing.T) {
	kinds := map[string]func(*testing.T) (net.Conn, Side){
		"tcp":  func(t *testing.T) (net.Conn, Side) { c, fd := tcp(t); return c, Side{FD: fd} },
		"unix": func(t *testing.T) (net.Conn, Side) { c, fd := local(t); return c, Side{FD: fd} },
		"layer": func(t *testing.T) (net.Conn, Side) {
			c, fd := tcp(t)
			return &veiled{TCPConn: c}, Side{FD: fd, Layer: &veil{}}
		},
	}
	for na, ka := range kinds {
		for nb, kb := range kinds {
			t.Run(na+" to "+nb, func(t *testing.T) {
				r := newRig(t, 2)
				var wg sync.WaitGroup
				for i := range uint64(4) {
					a, sa := ka(t)
					b, sb := kb(t)
					over := r.carry(sa, sb)
					up, down := noise(2*i, 3<<20), noise(2*i+1, 3<<20)
					wg.Go(func() { pour(t, a, up, i) })
					wg.Go(func() { pour(t, b, down, i+9) })
					wg.Go(func() { expect(t, b, up) })
					wg.Go(func() { expect(t, a, down) })
					t.Cleanup(func() { r.ends(over, Ended) })
				}
				wg.Wait()
			})
		}
	}
}

func noise(seed uint64, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(b)
	return b
}

// pour writes b in pieces whose sizes depend on the seed, then ends the side.
func pour(t *testing.T, c net.Conn, b []byte, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	for len(b) > 0 {
		n := min(len(b), 1+rnd.IntN(1<<uint(2+rnd.IntN(19))))
		if _, err := c.Write(b[:n]); err != nil {
			t.Errorf("write: %v", err)
			return
		}
		b = b[n:]
	}
	_ = c.(interface{ CloseWrite() error }).CloseWrite()
}

func expect(t *testing.T, c net.Conn, want []byte) {
	got := make([]byte, len(want))
	_, err := io.ReadFull(c, got)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("other bytes arrived than were sent, %v", err)
	}
	if n, err := c.Read(got); n != 0 || err != io.EOF {
		t.Errorf("%d bytes follow, %v", n, err)
	}
}

func TestIdlePairsTakeLittle(t *testing.T) {
	var nofile unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &nofile); err != nil {
		t.Fatal(err)
	}
	pairs := int(min(10000, (nofile.Cur-256)/4))
	r := newRig(t, 1)
	var outer []int
	defer func() {
		for _, fd := range outer {
			unix.Close(fd)
		}
	}()
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range pairs {
		var s [2]Side
		for i := range s {
			fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				t.Fatal(err)
			}
			outer = append(outer, fds[0])
			s[i].FD = fds[1]
		}
		if err := r.e.Carry(Pair{A: s[0], B: s[1], Over: func(Cause) {}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := unix.Write(outer[len(outer)-1], []byte("x")); err != nil { // the last pair lives, hence all are taken in
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(outer[len(outer)-2]), "socket")
	_ = f.SetDeadline(time.Now().Add(limit))
	if _, err := f.Read(make([]byte, 1)); err != nil {
		t.Error(err)
	}
	outer = append(outer[:len(outer)-2], outer[len(outer)-1])
	f.Close()
	runtime.GC()
	runtime.ReadMemStats(&after)
	if each := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / int64(pairs); each > 1<<10 {
		t.Errorf("an idle pair takes %d bytes of memory", each)
	}
}

func TestIdleTimeOut(t *testing.T) {
	r := newRig(t, 1)
	a, afd := tcp(t)
	_, bfd := tcp(t)
	over := r.carry(Side{FD: afd}, Side{FD: bfd})
	r.e.SetIdle(20 * time.Millisecond)
	if _, err := a.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	r.ends(over, TimedOut)
	if st := r.e.Stats(); st.TimedOut != 1 {
		t.Errorf("%+v", st)
	}
}

func TestCloseCutsAll(t *testing.T) {
	r := newRig(t, 2)
	var overs []chan Cause
	var outer []net.Conn
	for range 8 {
		a, afd := tcp(t)
		b, bfd := tcp(t)
		overs = append(overs, r.carry(Side{FD: afd}, Side{FD: bfd}))
		outer = append(outer, a, b)
	}
	if err := r.e.Close(); err != nil {
		t.Fatal(err)
	}
	for _, o := range overs {
		r.ends(o, Cut)
	}
	for _, c := range outer {
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("after Close: %v", err)
		}
	}
	c, fd := tcp(t)
	_, other := tcp(t)
	if err := r.e.Carry(Pair{A: Side{FD: fd}, B: Side{FD: other}, Over: func(Cause) { t.Error("over was called") }}); !errors.Is(err, ErrClosed) {
		t.Errorf("got %v", err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the socket is left open: %v", err)
	}
}

// TestCutPeer resets what belongs to one peer, and nothing else.
func TestCutPeer(t *testing.T) {
	r := newRig(t, 2)
	var lost, kept []chan Cause
	for range 8 {
		for _, to := range []string{"a", "b"} {
			_, afd := tcp(t)
			_, bfd := tcp(t)
			over := r.carryTo(to, Side{FD: afd}, Side{FD: bfd})
			if to == "a" {
				lost = append(lost, over)
			} else {
				kept = append(kept, over)
			}
		}
	}
	c, cfd := tcp(t)
	d, dfd := tcp(t)
	over := r.carryTo("", Side{FD: cfd}, Side{FD: dfd})
	r.e.CutPeer("a")
	for _, o := range lost {
		r.ends(o, Cut)
	}
	if n := r.e.Stats().Open; n != len(kept)+1 {
		t.Errorf("%d pairs are open, want %d", n, len(kept)+1)
	}
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(d, make([]byte, 1)); err != nil {
		t.Errorf("another pair: %v", err)
	}
	c.Close()
	d.Close()
	r.ends(over, Ended)
	r.e.CutPeer("b")
	for _, o := range kept {
		r.ends(o, Cut)
	}
}

// FuzzOrder has any sequence of pieces cross a pair.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{1, 2, 3})
	f.Add([]byte{0, 255, 17, 0})
	f.Fuzz(func(t *testing.T, sizes []byte) {
		r := newRig(t, 1)
		a, afd := local(t)
		b, bfd := local(t)
		over := r.carry(Side{FD: afd}, Side{FD: bfd})
		var want []byte
		for i, s := range sizes[:min(len(sizes), 64)] {
			want = append(want, bytes.Repeat([]byte{byte(i)}, int(s)*int(s)*4)...)
		}
		go func() {
			at := 0
			for _, s := range sizes[:min(len(sizes), 64)] {
				n := int(s) * int(s) * 4
				_, _ = a.Write(want[at : at+n])
				at += n
			}
			_ = a.(*net.UnixConn).CloseWrite()
		}()
		got, err := io.ReadAll(b)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes arrived of %d, or other ones; %v", len(got), len(want), err)
		}
		b.Close()
		r.ends(over, Ended)
	})
}

// TestRush is on after a period with many events, and off after one with few or one that came late.
func TestRush(t *testing.T) {
	var r rush
	for i := range int64(40) { // 200 events in 10 ms
		r.count(5, i*rushPeriod/40)
	}
	if r.on {
		t.Error("on within the first period")
	}
	if r.count(1, rushPeriod); !r.on {
		t.Error("off after a period with many events")
	}
	if r.count(500, 2*rushPeriod); r.on {
		t.Error("on after a period with one event")
	}
	if r.count(1, 5*rushPeriod); r.on {
		t.Error("on after a pause")
	}
}
