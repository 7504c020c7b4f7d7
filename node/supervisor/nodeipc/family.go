package nodeipc

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxBranches bounds the processes and threads of one worker that have a channel of their own (count). Only those that listen have one.
const maxBranches = 64

// Family is all channels of one worker: the one that the started process inherited, if it is Node.js, and those that processes and
// threads below it opened because they listen. To the Handler they are one.
type Family struct {
	root    *Channel // nil where the started process is no Node.js
	l       *net.UnixListener
	path    string
	user    int // beside our own, who may open a channel
	handler Handler

	calls     sync.Mutex // the handler is called by one at a time
	accepting sync.WaitGroup
	branches  sync.WaitGroup

	mu      sync.Mutex
	members map[*Channel]bool
	holder  map[string]*Channel // by key
	closed  bool
	leaving bool // being handed over
	done    chan struct{}

	counts struct{ refused, skipped atomic.Uint64 }
}

// rendezvousPrefix begins the names of the sockets where descendants ask.
const rendezvousPrefix = "ipc-"

// NewFamily opens the socket <dir>/ipc-<id> where descendants of the worker ask for a channel; user is the worker's user. ours is our end of the
// channel that the started process inherits, nil for none; the Family owns it. With an error there is no such socket, but the Family
// works without: descendants bind their ports themselves.
func NewFamily(ours *net.UnixConn, dir, id string, user int, h Handler) (*Family, error) {
	f := emptyFamily(user, h)
	if ours != nil {
		f.root = New(ours, nil)
		f.join(f.root)
	}
	return f, f.open(Rendezvous(dir, id))
}

// Rendezvous is the path of the socket where descendants of a worker ask.
func Rendezvous(dir, id string) string { return filepath.Join(dir, rendezvousPrefix+id) }

func emptyFamily(user int, h Handler) *Family {
	return &Family{handler: h, user: user, members: make(map[*Channel]bool), holder: make(map[string]*Channel), done: make(chan struct{})}
}

// open makes the socket that descendants of the worker come to.
func (f *Family) open(path string) error {
	_ = os.Remove(path) // of a predecessor that was killed
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("open the worker's rendezvous: %w", err)
	}
	if err := os.Chmod(path, 0o666); err != nil { // the kernel says who comes
		l.Close()
		return fmt.Errorf("open the worker's rendezvous: %w", err)
	}
	f.l, f.path = l, path
	return nil
}

// Environ is what tells the preload of descendants where to ask. It is empty where there is no such socket.
func (f *Family) Environ() []string {
	if f.path == "" {
		return nil
	}
	return []string{rendezvousVariable + "=" + f.path}
}

// Run serves the channels until the started process's own one has ended, or, where it has none, until Close. Then it closes all others. It
// returns what the started process's channel ended with, and ErrDetached after Detach.
func (f *Family) Run() error {
	if f.l != nil {
		f.accepting.Go(f.accept)
	}
	for _, ch := range f.all() {
		if ch != f.root {
			f.serve(ch) // adopted
		}
	}
	var err error
	if f.root != nil {
		err = f.root.Run()
		f.leave(f.root)
	} else {
		<-f.done
	}
	if f.handedOver() {
		err = ErrDetached
	} else {
		f.Close()
	}
	f.accepting.Wait()
	f.branches.Wait()
	return err
}

// serve runs the channel of a process below the started one. Whatever it ends with, that process is the app's business.
func (f *Family) serve(ch *Channel) {
	f.branches.Go(func() {
		_ = ch.Run()
		f.leave(ch)
	})
}

// acceptPause is how long the rendezvous waits when no descriptor is left.
const acceptPause = 50 * time.Millisecond

func (f *Family) accept() {
	for {
		conn, err := f.l.AcceptUnix()
		switch {
		case err == nil:
		case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return
		default:
			select {
			case <-time.After(acceptPause):
			case <-f.done:
			}
			continue
		}
		ch := New(conn, nil)
		ch.bare = true
		if !f.trusted(conn) || !f.join(ch) {
			f.counts.refused.Add(1)
			conn.Close()
			continue
		}
		f.serve(ch)
	}
}

// trusted reports whether the other end belongs to our user, the worker's or root.
func (f *Family) trusted(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	uid := -1
	err = raw.Control(func(fd uintptr) {
		if cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			uid = int(cred.Uid)
		}
	})
	return err == nil && (uid == os.Getuid() || uid == f.user || uid == 0)
}

// join takes a channel in, unless there are too many.
func (f *Family) join(ch *Channel) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed || len(f.members) > maxBranches {
		return false
	}
	m := member{f, ch}
	ch.handler, ch.ending = m, m.ending
	f.members[ch] = true
	return true
}

func (f *Family) leave(ch *Channel) {
	f.counts.skipped.Add(ch.Skipped())
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.members, ch)
}

// Close ends all channels, and the rendezvous. Offers that are open are settled as lost.
func (f *Family) Close() error {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		close(f.done)
		if f.l != nil {
			f.l.Close()
		}
	}
	f.mu.Unlock()
	return f.each((*Channel).Close)
}

// each calls do for every channel.
func (f *Family) each(do func(*Channel) error) error {
	var errs []error
	for _, ch := range f.all() {
		errs = append(errs, do(ch))
	}
	return errors.Join(errs...)
}

func (f *Family) all() []*Channel {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make([]*Channel, 0, len(f.members))
	for ch := range f.members {
		out = append(out, ch)
	}
	return out
}

// Offer passes a connection to the process that listens on key; see Channel.Offer.
func (f *Family) Offer(key string, fd int, remote netip.AddrPort, outcome func(Outcome)) error {
	return f.OfferSaying(key, fd, remote, nil, outcome)
}

// OfferSaying passes a connection on which something is said first; see Channel.OfferSaying.
func (f *Family) OfferSaying(key string, fd int, remote netip.AddrPort, say []byte, outcome func(Outcome)) error {
	ch := f.listens(key)
	if ch == nil {
		return ErrClosed
	}
	return ch.OfferSaying(key, fd, remote, say, outcome)
}

// Speaks reports whether the process that listens on key can say something first; see Channel.OfferSaying.
func (f *Family) Speaks(key string) bool {
	ch := f.listens(key)
	return ch != nil && ch.Speaks()
}

// listens is the channel of the process that listens on key, nil if none does.
func (f *Family) listens(key string) *Channel {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.holder[key]
}

// Drain asks all to let their clients go; see Channel.Drain.
func (f *Family) Drain() error { return f.each((*Channel).Drain) }

// Part asks all to let clients go that came by another server; see Channel.Part.
func (f *Family) Part() error { return f.each((*Channel).Part) }

// Shut asks all to accept nothing by themselves any more; see Channel.Shut.
func (f *Family) Shut() error { return f.each((*Channel).Shut) }

// Disconnect asks all to close their servers and finish; see Channel.Disconnect.
func (f *Family) Disconnect() error { return f.each((*Channel).Disconnect) }

// Ping asks all for a sign of life; see Channel.Ping.
func (f *Family) Ping() error { return f.each((*Channel).Ping) }

// Send gives the app a message; see Channel.Send. Processes that do not listen and were not started by us do not get it; where that are all,
// the error is ErrClosed.
func (f *Family) Send(raw json.RawMessage) error {
	if len(f.all()) == 0 {
		return ErrClosed
	}
	return f.each(func(ch *Channel) error { return ch.Send(raw) })
}

// Silent is for how long one of those that listen has owed a sign of life; where none listens, any. See Channel.Silent.
func (f *Family) Silent() time.Duration { return f.longest((*Channel).Silent) }

// Quiet is for how long one of those that listen has not reported; where none listens, any. See Channel.Quiet.
func (f *Family) Quiet() time.Duration { return f.longest((*Channel).Quiet) }

func (f *Family) longest(of func(*Channel) time.Duration) (d time.Duration) {
	for _, ch := range f.judged() {
		d = max(d, of(ch))
	}
	return d
}

// Busy is how busy the event loop is of the busiest that listens; where none listens, of any. See Channel.Busy.
func (f *Family) Busy() (share float64, ok bool) {
	for _, ch := range f.judged() {
		if s, known := ch.Busy(); known {
			share, ok = max(share, s), true
		}
	}
	return share, ok
}

// judged are the channels that say how the worker is.
func (f *Family) judged() []*Channel {
	f.mu.Lock()
	var judged []*Channel
	for _, ch := range f.holder {
		judged = append(judged, ch)
	}
	f.mu.Unlock()
	if len(judged) == 0 {
		judged = f.all()
	}
	return judged
}

// Skipped is the number of messages of the app that were too large and dropped, on channels that have ended (count).
func (f *Family) Skipped() uint64 { return f.counts.skipped.Load() }

// Refused is the number of channels that strangers asked for, or that were too many (count).
func (f *Family) Refused() uint64 { return f.counts.refused.Load() }

// member is the Handler of one channel.
type member struct {
	f  *Family
	ch *Channel
}

// Listen lets no two processes of a worker have the same port, as the system would not.
func (m member) Listen(q Query) Reply {
	m.f.calls.Lock()
	defer m.f.calls.Unlock()
	m.f.mu.Lock()
	other := m.f.holder[q.Key]
	m.f.mu.Unlock()
	if other != nil {
		return Reply{Errno: -int(syscall.EADDRINUSE)}
	}
	r := m.f.handler.Listen(q)
	if r.Errno == 0 {
		m.f.mu.Lock()
		m.f.holder[q.Key] = m.ch
		m.f.mu.Unlock()
	}
	return r
}

func (m member) Listening() {
	m.f.calls.Lock()
	defer m.f.calls.Unlock()
	m.f.handler.Listening()
}

func (m member) Unlisten(key string) {
	m.f.calls.Lock()
	defer m.f.calls.Unlock()
	m.f.mu.Lock()
	held := m.f.holder[key] == m.ch
	if held {
		delete(m.f.holder, key)
	}
	m.f.mu.Unlock()
	if held {
		m.f.handler.Unlisten(key)
	}
}

func (m member) Message(raw json.RawMessage) {
	m.f.calls.Lock()
	defer m.f.calls.Unlock()
	m.f.handler.Message(raw)
}

func (m member) Load(l Load) {
	m.f.calls.Lock()
	defer m.f.calls.Unlock()
	m.f.handler.Load(l)
}

// ending gives back what a process held that is gone, before its open offers are settled: none comes back to it. For the started
// process that is its worker's end, which the Handler's owner sees by itself.
func (m member) ending() {
	if m.ch == m.f.root {
		return
	}
	m.f.mu.Lock()
	var keys []string
	for k, ch := range m.f.holder {
		if ch == m.ch {
			keys = append(keys, k)
		}
	}
	m.f.mu.Unlock()
	slices.Sort(keys)
	for _, k := range keys {
		m.Unlisten(k)
	}
}
