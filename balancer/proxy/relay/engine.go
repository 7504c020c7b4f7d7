package relay

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ErrClosed is returned by Carry after Close. The sockets are closed then.
var ErrClosed = errors.New("the relay engine is closed")

// Layer turns the bytes that are relayed into those on the wire and back, such as TLS. It does no input or output of its own. Its methods
// are called by one goroutine at a time.
type Layer interface {
	// Open takes what came over the wire and appends the plain bytes that it makes whole to dst, whose capacity holds them; io.EOF when the
	// other side has ended its direction.
	Open(dst, came []byte) ([]byte, error)
	// Seal appends the wire's form of plain to dst, behind whatever else the layer has to say.
	Seal(dst, plain []byte) ([]byte, error)
	// End appends what tells the other side that nothing follows.
	End(dst []byte) ([]byte, error)
}

// Side is one of the two sides of a pair: a socket that does not block and that nobody else reads, writes or closes from now on.
type Side struct {
	FD    int
	Layer Layer // nil: the socket's own bytes are relayed
}

// Pair is what is relayed. Its functions are called by a goroutine that must not be held up.
type Pair struct {
	A, B Side
	Peer string      // Peer is the node that the pair leads to or came from, if it does, for CutPeer.
	Said func()      // Said is called at most once, when all that B sends has come; it may be nil.
	Over func(Cause) // Over is called once, when the pair has ended and its sockets are closed.
}

// Cause says how a pair ended.
type Cause uint8

// The causes.
const (
	Ended    Cause = iota + 1 // Ended: both directions came to their end.
	Broken                    // Broken: one side failed or was reset, and both were.
	TimedOut                  // TimedOut: no byte moved for the idle time.
	Cut                       // Cut: the engine was closed, or its peer cut (CutPeer).
)

// Engine relays. Make one with Open; it needs Close.
type Engine struct {
	loops    []*loop
	next     atomic.Uint32
	idle     atomic.Int64 // nanoseconds, 0 = for ever
	timedOut atomic.Uint64
	wait     sync.WaitGroup
}

// Stats are totals since the start and what is open now (counts).
type Stats struct {
	Open     int    // Open pairs
	Pipes    int    // Pipes in use or kept for the next bulk flow
	NoPipe   uint64 // NoPipe is how often bulk was copied because no further pipe is allowed or to be had.
	TimedOut uint64 // TimedOut pairs
}

// Open starts the given number of loops, at least one.
func Open(loops int) (*Engine, error) {
	e := &Engine{}
	for range max(loops, 1) {
		l, err := newLoop(e)
		if err != nil {
			_ = e.Close()
			return nil, fmt.Errorf("open the relay engine: %w", err)
		}
		e.loops = append(e.loops, l)
		e.wait.Go(l.run)
	}
	return e, nil
}

// SetIdle sets after which time without a byte a pair is reset; 0 = never, the default. It holds for open pairs too, and is looked at
// once a second or four times within d, whichever is more often.
func (e *Engine) SetIdle(d time.Duration) {
	e.idle.Store(int64(d))
	for _, l := range e.loops {
		l.wake()
	}
}

// Carry relays between two sides, whose sockets it closes in the end. It does not block. On an error the sockets are closed and p's functions are
// not called.
func (e *Engine) Carry(p Pair) error {
	l := e.loops[int(e.next.Add(1))%len(e.loops)]
	if !l.add(newLink(p)) {
		return ErrClosed
	}
	return nil
}

// CutPeer resets every pair that leads to a node or came from it. It does not block.
func (e *Engine) CutPeer(peer string) {
	for _, l := range e.loops {
		l.cut(peer)
	}
}

// Stats returns the counters now.
func (e *Engine) Stats() Stats {
	out := Stats{TimedOut: e.timedOut.Load()}
	for _, l := range e.loops {
		out.Open += int(l.open.Load())
		out.Pipes += int(l.pipes.made.Load())
		out.NoPipe += l.pipes.refused.Load()
	}
	return out
}

// Close resets every pair and returns when all of them have ended. It may be called more than once.
func (e *Engine) Close() error {
	for _, l := range e.loops {
		l.close()
	}
	e.wait.Wait()
	return nil
}
