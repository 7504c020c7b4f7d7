package nodeipc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// ErrDetached is what Run returns when the channel goes on in another process.
var ErrDetached = errors.New("the worker's IPC channel was handed over")

// crashBase is where the numbers of a successor begin that does not know its predecessor's (count): no channel lives to send so many.
const crashBase = 1 << 40

// Remains is what a channel's successor, perhaps in another process, needs beside the socket itself.
type Remains struct {
	Unread  []byte   // Unread is what the worker wrote and nobody has understood yet: the begin of a message, or whole ones.
	Tail    bool     // Tail is set where the next line is the end of a message that is skipped.
	Held    []string // Held are the keys that the worker holds, sorted.
	Seq     int64    // Seq is the last number that was used, 0 if that is not known.
	Unacked int      // Unacked counts sockets whose receipt the worker has yet to confirm.
	Preload bool     // Preload is set where the worker answers pings.
	Load    bool     // Load is set where the worker reports its load.
	Bare    bool     // Bare is set where the channel is the preload's own, and not one of Node's.
}

// adopted is what a channel knows about its predecessor's doings. All but unread is guarded by the lock, or owned by Run: see each.
type adopted struct {
	unread  []byte // owned by Run
	tail    bool   // the first line may be the end of a message; owned by Run
	strange int    // confirmations to come of sockets that the predecessor sent; under the lock
	blind   bool   // their number is not known: none counts until an answer to an offer of ours has come; under the lock
}

// departure is a channel's way to its successor; guarded by the lock, but for rest and tail, which are Run's until it has ended.
type departure struct {
	quiet chan struct{} // not nil: no new offer; closed once none is open
	calm  bool          // quiet is closed
	now   bool          // Run stops reading
	rest  []byte        // what Run had read and not understood
	tail  bool          // of a message that is skipped
}

// Detach stops Run at the end of what it is reading, and returns what a successor needs, and a duplicate of the socket; the worker notices
// nothing. It waits for offers in flight until ctx ends; those that are still open then count as accepted, since the worker will read them.
// From its call on no offer is taken. Run must be running.
func (c *Channel) Detach(ctx context.Context) (*os.File, Remains, error) {
	c.mu.Lock()
	if c.closed || c.leave.quiet != nil {
		c.mu.Unlock()
		return nil, Remains{}, ErrClosed
	}
	quiet := make(chan struct{})
	c.leave.quiet = quiet
	c.checkQuiet()
	c.mu.Unlock()
	select {
	case <-quiet:
	case <-c.ended:
	case <-ctx.Done():
	}
	c.mu.Lock()
	c.leave.now = true
	c.mu.Unlock()
	if err := c.conn.SetReadDeadline(time.Unix(1, 0)); err != nil {
		return nil, Remains{}, fmt.Errorf("hand over the worker's IPC channel: %w", err)
	}
	<-c.ended
	return c.inherit()
}

// inherit takes the socket and what is to be known about it out of a channel whose Run has ended.
func (c *Channel) inherit() (*os.File, Remains, error) {
	f, err := c.duplicate()
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil, Remains{}, errors.Join(ErrClosed, err, closeFile(f))
	}
	c.closed = true
	rest := Remains{Unread: c.leave.rest, Tail: c.leave.tail, Seq: c.seq, Unacked: len(c.unacked) + c.adopted.strange, Preload: c.pulse.preload, Load: c.pulse.load, Bare: c.bare}
	open := c.offers
	c.offers, c.unacked = nil, nil
	c.mu.Unlock()
	for k := range c.held {
		rest.Held = append(rest.Held, k)
	}
	slices.Sort(rest.Held)
	for _, o := range open {
		o.outcome(Accepted)
	}
	return f, rest, errors.Join(err, c.conn.Close())
}

func closeFile(f *os.File) error {
	if f == nil {
		return nil
	}
	return f.Close()
}

// duplicate returns another descriptor of the socket. Unlike conn.File it leaves it non-blocking.
func (c *Channel) duplicate() (*os.File, error) {
	raw, err := c.conn.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("hand over the worker's IPC channel: %w", err)
	}
	dup, derr := -1, error(nil)
	if err := raw.Control(func(fd uintptr) { dup, derr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 3) }); err != nil || derr != nil {
		return nil, fmt.Errorf("hand over the worker's IPC channel: %w", errors.Join(err, derr))
	}
	return os.NewFile(uintptr(dup), "ipc"), nil
}

// Adopt continues a channel over f, which it takes, after a Detach. Where the predecessor died without a word, rest is the zero value with
// what is known otherwise (Held, Preload, Bare): the rest of a message that the predecessor had begun to read is skipped, and answers to what it
// sent count for nothing.
func Adopt(f *os.File, rest Remains, h Handler) (*Channel, error) {
	conn, err := unixConn(f)
	if err != nil {
		return nil, fmt.Errorf("adopt the worker's IPC channel: %w", err)
	}
	c := New(conn, h)
	c.bare, c.seq = rest.Bare, rest.Seq
	c.pulse.preload, c.pulse.load = rest.Preload, rest.Load
	c.adopted = adopted{unread: rest.Unread, tail: rest.Tail, strange: rest.Unacked}
	if rest.Seq == 0 {
		c.seq, c.adopted.tail, c.adopted.blind = crashBase, true, true
	}
	c.pulse.pings = c.seq // beyond the predecessor's
	for _, k := range rest.Held {
		c.held[k] = true
	}
	if rest.Load { // what it was offered by the predecessor is to be counted with what it accepted by itself
		if err := c.send(plain{Cmd: cmdPreload, Act: "adopt"}); err != nil && !errors.Is(err, ErrBusy) {
			return nil, fmt.Errorf("adopt the worker's IPC channel: %w", err)
		}
	}
	return c, nil
}

// detaching reports whether Run is to leave the channel to a successor.
func (c *Channel) detaching() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leave.now
}

// checkQuiet wakes Detach once no offer is open. The lock is held.
func (c *Channel) checkQuiet() {
	if c.leave.quiet != nil && !c.leave.calm && len(c.offers) == 0 && len(c.unacked) == 0 {
		c.leave.calm = true
		close(c.leave.quiet)
	}
}

// receivedUpTo notes that the worker has answered the offer with number seq: it confirmed that one, and those before it, earlier. The lock is held.
func (c *Channel) receivedUpTo(seq int64) {
	n := 0
	for n < len(c.unacked) && c.unacked[n].seq <= seq {
		n++
	}
	c.unacked = c.unacked[n:]
	c.adopted.blind, c.adopted.strange = false, 0
}
