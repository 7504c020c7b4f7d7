package proxy

import (
	"context"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// streamAge is how long a stream waits for use before it is closed.
	streamAge = 30 * time.Second
	// streamsMost bounds the streams that wait for use at one peer (count). Their number doubles each time that none was left.
	streamsMost = 8
	// streamLimit is how long opening one may take.
	streamLimit = 500 * time.Millisecond
)

// streams are open streams to peers that wait for use, so that a forward costs no handshake and no round trip before its question. There are none
// to peers to which nothing is forwarded.
type streams struct {
	s *Server

	mu      sync.Mutex // guards all below
	shelves map[string]*shelf
}

// shelf is one peer's; a goroutine tends it.
type shelf struct {
	ready []waiting
	want  int
	used  bool // since it was looked after last
	kick  chan struct{}
}

type waiting struct {
	conn  net.Conn
	since time.Time
	turn  int // questions that the peer has refused on it (count)
}

// put keeps a stream on which the peer has refused turn questions, so that a refusal costs no stream.
func (w *streams) put(node string, c net.Conn, turn int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.shelves[node]
	if k == nil || len(k.ready) >= streamsMost {
		c.Close()
		return
	}
	_ = c.SetDeadline(time.Time{})
	k.ready = append(k.ready, waiting{c, time.Now(), turn})
}

// take returns a stream to a peer that is ready and how many questions were asked on it, nil if there is none.
func (w *streams) take(node string) (c net.Conn, turn int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	k := w.shelves[node]
	if k == nil {
		k = &shelf{want: 1, kick: make(chan struct{}, 1)}
		if !w.s.start(func() { w.tend(node, k) }) {
			return nil, 0
		}
		w.shelves[node] = k
	}
	k.used = true
	defer func() {
		select {
		case k.kick <- struct{}{}:
		default:
		}
	}()
	for len(k.ready) > 0 {
		c := k.ready[len(k.ready)-1]
		k.ready = k.ready[:len(k.ready)-1]
		if time.Since(c.since) < streamAge && alive(c.conn) {
			return c.conn, c.turn
		}
		c.conn.Close()
	}
	k.want = min(2*k.want, streamsMost)
	return nil, 0
}

// tend keeps a shelf filled while it is used.
func (w *streams) tend(node string, k *shelf) {
	defer w.drop(node)
	t := time.NewTicker(streamAge / 2)
	defer t.Stop()
	for {
		select {
		case <-k.kick:
			w.fill(node, k)
		case <-t.C:
			if !w.expire(node, k) {
				return
			}
		case <-w.s.closing:
			return
		}
	}
}

// fill opens streams until there are enough, or one cannot be opened: then the next use tries again.
func (w *streams) fill(node string, k *shelf) {
	for {
		w.mu.Lock()
		enough := len(k.ready) >= k.want
		w.mu.Unlock()
		select {
		case <-w.s.closing:
			return
		default:
		}
		if enough {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), streamLimit)
		c, err := w.s.o.DialPeer(ctx, node)
		cancel()
		if err != nil {
			return
		}
		w.mu.Lock()
		k.ready = append(k.ready, waiting{c, time.Now(), 0})
		w.mu.Unlock()
	}
}

// expire closes what has waited for too long; false means that the shelf is not needed any more, and is gone.
func (w *streams) expire(node string, k *shelf) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	old := 0
	for old < len(k.ready) && time.Since(k.ready[old].since) >= streamAge {
		k.ready[old].conn.Close()
		old++
	}
	k.ready = k.ready[old:]
	if !k.used && len(k.ready) == 0 {
		delete(w.shelves, node)
		return false
	}
	if !k.used {
		k.want = max(k.want/2, 1)
	}
	k.used = false
	return true
}

// drop closes the streams that wait at a peer, or at all where node is empty.
func (w *streams) drop(node string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for name, k := range w.shelves {
		if node != "" && name != node {
			continue
		}
		for _, c := range k.ready {
			c.conn.Close()
		}
		k.ready = nil
	}
}

// DropStreams closes the streams to a peer that wait for use, or those to all where node is empty: it cannot be reached any more, or streams
// are of another kind from now on.
func (s *Server) DropStreams(node string) { s.way.streams.drop(node) }

// alive reports whether the other side has not ended a stream, as far as the kernel knows.
func alive(c net.Conn) bool {
	if n, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = n.NetConn()
	}
	k, ok := c.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := k.SyscallConn()
	if err != nil {
		return false
	}
	good := false
	cerr := raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		n, err := unix.Poll(p, 0)
		good = err == nil && n == 0
	})
	return cerr == nil && good
}
