package mesh

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// acceptStreams gives every accepted stream to take until the listener is closed or ctx ends. take must not block for long.
func acceptStreams(ctx context.Context, l net.Listener, log hclog.Logger, take func(net.Conn)) {
	wait := acceptMin
	for {
		c, err := l.Accept()
		switch {
		case err == nil:
			wait = acceptMin
			take(c)
		case ctx.Err() != nil || errors.Is(err, net.ErrClosed):
			return
		default:
			log.Warn("cannot accept streams of peers for now", "err", err, "dur", wait)
			if !pause(ctx, wait) {
				return
			}
			wait = min(2*wait, acceptMax)
		}
	}
}

// pause waits for d; it is false if ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// openStreams bounds the streams of peers that are open at once and can close them all.
type openStreams struct {
	limit int

	mu     sync.Mutex
	open   map[*trackedConn]struct{}
	closed bool
}

func newOpenStreams(limit int) *openStreams {
	return &openStreams{limit: limit, open: make(map[*trackedConn]struct{})}
}

// track takes a place for c until the returned connection is closed; false means that there is none.
func (s *openStreams) track(c net.Conn) (net.Conn, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || len(s.open) >= s.limit {
		return nil, false
	}
	t := &trackedConn{Conn: c, streams: s}
	s.open[t] = struct{}{}
	return t, true
}

// closeAll closes every stream and lets no more in.
func (s *openStreams) closeAll() {
	s.mu.Lock()
	s.closed = true
	open := make([]*trackedConn, 0, len(s.open))
	for t := range s.open {
		open = append(open, t)
	}
	s.mu.Unlock()
	for _, t := range open {
		_ = t.Close()
	}
}

// trackedConn gives its place back when it is closed.
type trackedConn struct {
	net.Conn
	streams *openStreams
}

// Close implements net.Conn.
func (t *trackedConn) Close() error {
	t.streams.mu.Lock()
	delete(t.streams.open, t)
	t.streams.mu.Unlock()
	return t.Conn.Close()
}
