package mesh

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// Times and bounds of the load streams.
const (
	// reportInterval is how often a record is pushed; it is the heartbeat too.
	reportInterval = 50 * time.Millisecond
	// feedWriteLimit is how long a peer may not take a record before its stream is closed.
	feedWriteLimit = 2 * time.Second
	// maxFeeds bounds the load streams of peers open at once.
	maxFeeds = 256
	// helloVersion is the version of the load stream.
	helloVersion = 1
)

var errBadStream = errors.New("malformed load stream")

// feeds is the accepting side of the load streams: each peer that opens one is pushed our latest record until it closes the stream.
type feeds struct {
	facts *facts
	meter *meter
	log   hclog.Logger
	beat  beat
}

// beat tells all open streams of the moments at which a record is due. They are the same for all, so that a process with many peers is woken
// twenty times a second and not twenty times for each. It rests while there is no stream.
type beat struct {
	mu    sync.Mutex
	users int
	next  chan struct{} // closed at the next moment
	timer *time.Timer
}

func (b *beat) join() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users++; b.users == 1 {
		b.next = make(chan struct{})
		b.timer = time.AfterFunc(reportInterval, b.strike)
	}
}

func (b *beat) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users--; b.users == 0 {
		b.timer.Stop()
	}
}

func (b *beat) strike() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.users > 0 {
		close(b.next)
		b.next = make(chan struct{})
		b.timer.Reset(reportInterval)
	}
}

// due is the channel that is closed at the next moment; only for those who have joined.
func (b *beat) due() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.next
}

// serveFeeds serves until ctx ends; then it closes the listener and every stream and waits for their goroutines.
func serveFeeds(ctx context.Context, l net.Listener, f *feeds) {
	var wait sync.WaitGroup
	streams := newOpenStreams(maxFeeds)
	stop := context.AfterFunc(ctx, func() {
		_ = l.Close()
		streams.closeAll()
	})
	defer stop()
	acceptStreams(ctx, l, f.log, func(c net.Conn) {
		tracked, ok := streams.track(c)
		if !ok {
			f.meter.refused(reasonStreams, 1)
			_ = c.Close()
			return
		}
		wait.Go(func() { f.push(ctx, tracked) })
	})
	streams.closeAll()
	wait.Wait()
}

// push writes the hello and then the latest record again and again, until the peer is gone.
func (f *feeds) push(ctx context.Context, c net.Conn) {
	var heard sync.WaitGroup
	heard.Go(func() { _, _ = io.Copy(io.Discard, c) }) // what a peer says to see whether it arrives
	defer heard.Wait()
	defer func() { _ = c.Close() }()
	f.beat.join()
	defer f.beat.leave()
	frame := appendHello(nil, originOf(f.facts.self))
	for {
		due := f.beat.due() // before the write: what that takes does not add up
		if err := c.SetWriteDeadline(time.Now().Add(feedWriteLimit)); err != nil {
			return
		}
		// An error here is the usual end of a stream: the peer dialed us and closes when it likes.
		if _, err := c.Write(frame); err != nil {
			return
		}
		frame = *f.facts.frame.Load()
		select {
		case <-due:
		case <-ctx.Done():
			return
		}
	}
}

// appendFrame appends a frame: length u16 and the payload.
func appendFrame(b, payload []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(payload)))
	return append(b, payload...)
}

// appendHello appends the first frame of a stream: version u8, when the process that pushes started (Unix milliseconds, i64), and its name.
func appendHello(b []byte, self origin) []byte {
	hello := binary.LittleEndian.AppendUint64([]byte{helloVersion}, uint64(self.started))
	return appendFrame(b, append(hello, self.name...))
}

// readFrame reads one frame into buf, which must have room for maxLoadBytes, and returns its payload.
func readFrame(r *bufio.Reader, buf []byte) ([]byte, error) {
	var head [2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := int(binary.LittleEndian.Uint16(head[:]))
	if n == 0 || n > maxLoadBytes {
		return nil, fmt.Errorf("%w: a frame of %d bytes", errBadStream, n)
	}
	if _, err := io.ReadFull(r, buf[:n]); err != nil {
		return nil, err
	}
	return buf[:n], nil
}

// readHello reads the first frame and checks that the node at the other end is the one that was meant: addresses change hands. It returns
// when that node's process started.
func readHello(r *bufio.Reader, buf []byte, want string) (started int64, err error) {
	hello, err := readFrame(r, buf)
	if err != nil {
		return 0, err
	}
	if hello[0] != helloVersion {
		return 0, fmt.Errorf("%w: version %d, not %d", errBadStream, hello[0], helloVersion)
	}
	if len(hello) < 9 {
		return 0, fmt.Errorf("%w: the hello is cut short", errBadStream)
	}
	if got := string(hello[9:]); got != want {
		return 0, fmt.Errorf("%w: the node there is %q, not %q", errBadStream, got, want)
	}
	return int64(binary.LittleEndian.Uint64(hello[1:])), nil
}
