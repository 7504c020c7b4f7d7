package proxy

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeWorker is a worker that takes sockets over a socket pair, as a Node worker does, or is dialed.
type fakeWorker struct {
	b      *bench
	id     string
	handle func(net.Conn)
	// verdict answers an offer: Accepted, Refused, or 0 for no answer.
	verdict func() Outcome
	dialed  net.Listener // for a worker that does not take sockets

	mu     sync.Mutex
	ours   *net.UnixConn
	theirs *net.UnixConn
	seq    uint32
	offers map[uint32]func(Outcome)
	says   map[uint32][]byte
	ended  bool
	seen   chan struct{}
	remote netip.AddrPort
	header HeaderVersion
}

func accepts() Outcome { return Accepted }

// passing makes a worker that takes sockets.
func (b *bench) passing(id string, verdict func() Outcome, handle func(net.Conn)) *fakeWorker {
	b.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	w := &fakeWorker{b: b, id: id, handle: handle, verdict: verdict, offers: make(map[uint32]func(Outcome)), says: make(map[uint32][]byte), seen: make(chan struct{}, 64)}
	w.ours, w.theirs = fileConn(b.t, fds[0]).(*net.UnixConn), fileConn(b.t, fds[1]).(*net.UnixConn)
	b.wg.Go(w.work)
	b.wg.Go(w.hear)
	b.ends = append(b.ends, w.die)
	return w
}

// listening makes a worker that is dialed.
func (b *bench) listening(id string, handle func(net.Conn)) *fakeWorker {
	b.t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	w := &fakeWorker{b: b, id: id, handle: handle, dialed: ln}
	b.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			b.wg.Go(func() { w.serve(c) })
		}
	})
	b.ends = append(b.ends, func() { ln.Close() })
	return w
}

func fileConn(t *testing.T, fd int) net.Conn {
	f := os.NewFile(uintptr(fd), "socket")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Error(err)
	}
	return c
}

func (w *fakeWorker) Passes() bool { return w.dialed == nil }

func (w *fakeWorker) Header() HeaderVersion { return w.header }

func (w *fakeWorker) Dial(ctx context.Context) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "tcp", w.dialed.Addr().String())
}

func (w *fakeWorker) Offer(_ string, fd int, remote netip.AddrPort, outcome func(Outcome)) error {
	return w.offer(fd, Origin{Client: remote}, outcome)
}

func (w *fakeWorker) offer(fd int, from Origin, outcome func(Outcome)) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return net.ErrClosed
	}
	w.seq++
	w.remote = from.Client
	w.offers[w.seq] = outcome
	w.says[w.seq] = from.Say
	if _, _, err := w.ours.WriteMsgUnix(binary.BigEndian.AppendUint32(nil, w.seq), unix.UnixRights(fd), nil); err != nil {
		delete(w.offers, w.seq)
		return err
	}
	return nil
}

// hear takes the worker's answers.
func (w *fakeWorker) hear() {
	var b [5]byte
	for {
		if _, err := io.ReadFull(w.ours, b[:]); err != nil {
			return
		}
		w.mu.Lock()
		n := binary.BigEndian.Uint32(b[:])
		outcome := w.offers[n]
		delete(w.offers, n)
		w.mu.Unlock()
		if outcome != nil {
			outcome(Outcome(b[4]))
		}
	}
}

// work is the worker's side: it receives descriptors, answers, and serves.
func (w *fakeWorker) work() {
	msg, oob := make([]byte, 4), make([]byte, 64)
	for {
		_, n, _, _, err := w.theirs.ReadMsgUnix(msg, oob)
		if err != nil || n == 0 {
			return
		}
		cms, _ := unix.ParseSocketControlMessage(oob[:n])
		fds, _ := unix.ParseUnixRights(&cms[0])
		v := w.verdict()
		if v != Accepted {
			unix.Close(fds[0])
		}
		if v != 0 {
			_, _ = w.theirs.Write(append(msg[:4:4], byte(v)))
		}
		if v == Accepted {
			c := fileConn(w.b.t, fds[0])
			w.mu.Lock()
			_, _ = c.Write(w.says[binary.BigEndian.Uint32(msg)])
			w.mu.Unlock()
			w.b.wg.Go(func() { w.serve(c) })
		}
		select {
		case w.seen <- struct{}{}:
		default:
		}
	}
}

func (w *fakeWorker) serve(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(2 * limit))
	w.handle(c)
}

// speaker is a fakeWorker that takes the streams of peers themselves.
type speaker struct{ *fakeWorker }

func (speaker) Speaks(string) bool { return true }

func (w speaker) OfferSaying(_ string, fd int, from Origin, outcome func(Outcome)) error {
	return w.offer(fd, from, outcome)
}

// die ends the channel; open offers are lost.
func (w *fakeWorker) die() {
	w.mu.Lock()
	lost := w.offers
	w.offers = nil
	again := w.ended
	w.ended = true
	w.mu.Unlock()
	if again {
		return
	}
	w.ours.Close()
	w.theirs.Close()
	for _, outcome := range lost {
		outcome(Lost)
	}
}

// saying is a handler: it answers all it was sent, behind the given word, after the client has ended its side.
func saying(word string) func(net.Conn) {
	return func(c net.Conn) {
		b, err := io.ReadAll(c)
		if err == nil {
			_, _ = c.Write(append([]byte(word+":"), b...))
		}
	}
}

// echo is a handler. It copies by hand: io.Copy takes a pipe of its own.
func echo(c net.Conn) {
	b := make([]byte, 1<<10)
	for {
		n, err := c.Read(b)
		if err != nil {
			return
		}
		if _, err := c.Write(b[:n]); err != nil {
			return
		}
	}
}

// ask sends text, ends the client's side and returns the answer.
func ask(t *testing.T, c *net.TCPConn, text string) string {
	t.Helper()
	if _, err := c.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(c)
	if err != nil {
		t.Fatalf("after %q: %v", b, err)
	}
	return string(b)
}
