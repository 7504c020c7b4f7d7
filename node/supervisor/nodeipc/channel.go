package nodeipc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxLine bounds one message from a worker, in bytes. An app may send large messages of its own; a larger one is skipped and counted.
const maxLine = 8 << 20

// maxMessage bounds one message to a worker, in bytes: below it the kernel takes all of a message or nothing.
const maxMessage = 64 << 10

// What calls on a channel return besides the system's errors.
var (
	ErrClosed = errors.New("the worker's IPC channel is closed")   // ErrClosed: the worker is gone.
	ErrBusy   = errors.New("the worker does not read its channel") // ErrBusy: what was sent before fills the channel.
)

// Handler receives what the worker says. Calls come one at a time, from the goroutine of Run, and must not call back into Close.
type Handler interface {
	// Listen answers a listen call of the app. It may bind a socket; it must not wait for anything else.
	Listen(q Query) Reply
	// Listening is called when a server of the app listens.
	Listening()
	// Unlisten is called when the app has closed its server on key.
	Unlisten(key string)
	// Message receives the app's own messages (process.send), one JSON value.
	Message(raw json.RawMessage)
	// Load receives what the preload of the process that inherited Node's channel reports.
	Load(l Load)
}

// Channel is the primary's end of one worker's IPC channel.
type Channel struct {
	conn    *net.UnixConn
	handler Handler
	bare    bool            // the other end is the preload's, in a process that has no channel of Node's
	held    map[string]bool // keys this worker holds; owned by Run

	mu      sync.Mutex // guards all below, and the order of writes
	seq     int64
	offers  map[int64]*offer
	unacked []*offer // handles whose receipt Node has not confirmed, oldest first
	closed  bool
	leave   departure
	pulse   pulse
	adopted adopted

	ended   chan struct{} // closed when Run has returned
	ending  func()        // called once, when the worker's end is gone and before open offers are settled; may be nil
	skipped atomic.Uint64
}

// New returns a Channel over conn, which it owns from now on.
func New(conn *net.UnixConn, h Handler) *Channel {
	return &Channel{conn: conn, handler: h, held: make(map[string]bool), offers: make(map[int64]*offer), ended: make(chan struct{})}
}

// Run reads the worker's messages until the channel ends, then settles every open offer as lost. It returns nil when the worker closed
// the channel or Close was called, and ErrDetached after Detach.
func (c *Channel) Run() error {
	defer close(c.ended)
	err := c.read()
	if errors.Is(err, ErrDetached) {
		return err
	}
	if c.ending != nil {
		c.ending()
	}
	c.Close()
	return err
}

func (c *Channel) read() error {
	r := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(c.adopted.unread), c.conn), 16<<10)
	for {
		line, err := c.readLine(r)
		if errors.Is(err, os.ErrDeadlineExceeded) && c.detaching() {
			return ErrDetached
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || errors.Is(err, syscall.ECONNRESET) {
				return nil
			}
			return fmt.Errorf("read the worker's IPC channel: %w", err)
		}
		if err := c.dispatch(line); err != nil {
			return err
		}
	}
}

// readLine returns the next message. A message beyond maxLine is skipped: it comes back as nil. What was read of a message when the channel
// is handed over is kept in rest.
func (c *Channel) readLine(r *bufio.Reader) (line []byte, err error) {
	var long []byte
	skip := false
	defer func() {
		if err != nil {
			c.leave.rest, c.leave.tail = long, skip
		}
	}()
	for {
		part, err := r.ReadSlice('\n')
		if err == nil && long == nil && !skip {
			return part, nil
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			long = append(long, part...)
			return nil, err
		}
		if len(long)+len(part) > maxLine {
			long, skip = nil, true
		}
		if !skip {
			long = append(long, part...)
		}
		if err == nil {
			if skip {
				c.skipped.Add(1)
				return nil, nil
			}
			return long, nil
		}
	}
}

func (c *Channel) dispatch(line []byte) error {
	line = bytes.TrimSpace(line)
	if len(line) == 0 {
		return nil
	}
	first := c.adopted.tail
	c.adopted.tail = false
	if c.acked(line) {
		return nil
	}
	var m inbound
	// An app's own message may be any JSON value; only objects with a cmd of Node's are the protocol's.
	if line[0] != '{' || json.Unmarshal(line, &m) != nil || !isInternal(m.Cmd) {
		if !json.Valid(line) {
			if first {
				return nil
			}
			return fmt.Errorf("the worker wrote something that is not a message: %.60q", line)
		}
		c.handler.Message(json.RawMessage(bytes.Clone(line)))
		return nil
	}
	switch m.Cmd {
	case cmdHandleAck:
		c.handleAcked(true)
	case cmdHandleNack:
		c.handleAcked(false)
	case cmdHandle:
		// The app sent us a descriptor; the kernel has dropped it. Unacknowledged, the worker would queue all its later messages.
		return c.send(plain{Cmd: cmdHandleAck})
	case cmdCluster:
		return c.cluster(m)
	case cmdPreload:
		if c.heard(m); m.Load != nil && !c.bare {
			c.handler.Load(*m.Load)
		}
	}
	return nil
}

func isInternal(cmd string) bool { return len(cmd) > 5 && cmd[:5] == "NODE_" }

func (c *Channel) cluster(m inbound) error {
	if m.Ack != nil {
		c.settle(*m.Ack, m.Accepted != nil && *m.Accepted)
		return nil
	}
	switch m.Act {
	case "queryServer":
		return c.query(m)
	case "listening":
		c.handler.Listening()
	case "close":
		delete(c.held, m.Key)
		c.handler.Unlisten(m.Key)
	case "exitedAfterDisconnect":
		return c.send(plain{Cmd: cmdCluster, Ack: &m.Seq})
	}
	return nil
}

func (c *Channel) query(m inbound) error {
	q := m.query()
	q.Own = c.reports()
	var r Reply
	if c.held[q.Key] {
		r = Reply{Errno: -int(syscall.EADDRINUSE)}
	} else {
		r = c.handler.Listen(q)
	}
	if r.Share != nil {
		defer r.Share.Close()
	}
	out := queryReply{Cmd: cmdCluster, Ack: m.Seq, Key: q.Key, Data: r.Data}
	if r.Data == nil || string(r.Data) == "null" {
		out.Data = q.Data // also beside an error, or after a plain server: a TLS server reads its ticket keys first, and dies of null
	}
	switch {
	case r.Errno != 0:
		out.Errno = &r.Errno
	default:
		c.held[q.Key] = true
		if q.Port >= 0 {
			out.Sockname = &sockname{Address: r.Address, Family: family(r.IPv6), Port: r.Port}
		}
		if q.Port > 0 { // Node takes any other for EADDRINUSE
			out.Sockname.Port = q.Port
		}
	}
	if r.Errno == 0 && r.Share != nil {
		out.Errno = &r.Errno
		return c.share(out, q, r.Share)
	}
	return c.send(out)
}

// share answers with the socket itself: every worker that asks has it, and the kernel chooses who is woken.
func (c *Channel) share(out queryReply, q Query, socket *os.File) error {
	m := shared{Cmd: cmdHandle, Type: "net.Native", Msg: out}
	if q.UDP() {
		m.Type = "dgram.Native"
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return fmt.Errorf("pass a socket to the worker: %w", err)
	}
	var sent error
	err = raw.Control(func(fd uintptr) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if sent = c.write(m, int(fd)); sent == nil {
			c.unacked = append(c.unacked, &offer{seq: c.seq})
		}
	})
	return errors.Join(err, sent)
}

func family(v6 bool) string {
	if v6 {
		return "IPv6"
	}
	return "IPv4"
}

// send writes one message. Messages are small: plain bytes in bulk ahead of a descriptor would make Node take it for another's.
func (c *Channel) send(v any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.write(v, -1)
}

// write sends one message, with descriptor fd if it is not negative. It never blocks: a worker that stopped reading must not hold up
// the data path, nor Close. The lock is held.
func (c *Channel) write(v any, fd int) error {
	if c.closed {
		return ErrClosed
	}
	c.seq++
	b, err := json.Marshal(number(v, c.seq))
	if err != nil {
		return fmt.Errorf("encode a message to the worker: %w", err)
	}
	return c.put(append(b, '\n'), fd)
}

// put sends the bytes of one message. The lock is held.
func (c *Channel) put(b []byte, fd int) error {
	if c.closed {
		return ErrClosed
	}
	var oob []byte
	if fd >= 0 {
		oob = unix.UnixRights(fd)
	}
	if len(b) > maxMessage {
		return fmt.Errorf("write to the worker's IPC channel: a message of %d bytes is too large", len(b))
	}
	n, err := sendNow(c.conn, b, oob)
	switch {
	case errors.Is(err, syscall.EAGAIN):
		return ErrBusy
	case err != nil:
		return fmt.Errorf("write to the worker's IPC channel: %w", err)
	case n < len(b): // the rest would be taken for another message
		c.conn.Close()
		return fmt.Errorf("write to the worker's IPC channel: %w", io.ErrShortWrite)
	}
	return nil
}

// sendNow sends b and the control data oob without waiting for room.
func sendNow(conn *net.UnixConn, b, oob []byte) (n int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	gone := raw.Control(func(fd uintptr) {
		for {
			n, err = unix.SendmsgN(int(fd), b, oob, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
			if !errors.Is(err, syscall.EINTR) {
				return
			}
		}
	})
	return n, errors.Join(gone, err)
}

// number puts the sender's running number into a message.
func number(v any, seq int64) any {
	switch m := v.(type) {
	case plain:
		m.Seq = seq
		return m
	case queryReply:
		m.Seq = seq
		return m
	case handleEnvelope:
		m.Msg.Seq = seq
		return m
	case shared:
		m.Msg.Seq = seq
		return m
	}
	return v
}

// Drain asks the worker's preload to accept nothing by itself any more, and to answer every further request with "Connection: close", so that
// clients leave by themselves. Without the preload the worker ignores it.
func (c *Channel) Drain() error { return c.send(plain{Cmd: cmdPreload, Act: "drain"}) }

// Part asks the worker's preload to let clients go whose connections came by another server, as Drain does with all.
func (c *Channel) Part() error { return c.send(plain{Cmd: cmdPreload, Act: "part"}) }

// Shut asks the worker's preload to accept nothing by itself any more; its servers go on with what they are offered.
func (c *Channel) Shut() error { return c.send(plain{Cmd: cmdPreload, Act: "shut"}) }

// Disconnect asks the worker to close its servers, finish what is in flight and let go of the channel, after which it exits.
func (c *Channel) Disconnect() error { return c.send(plain{Cmd: cmdCluster, Act: "disconnect"}) }

// Skipped is the number of messages of the app that were too large and dropped (count).
func (c *Channel) Skipped() uint64 { return c.skipped.Load() }

// Close ends the channel: a worker that is still alive exits at once. Every open offer is settled as lost.
func (c *Channel) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	lost := c.offers
	c.offers, c.unacked = nil, nil
	c.mu.Unlock()
	err := c.conn.Close()
	for _, o := range lost {
		o.outcome(Lost)
	}
	return err
}
