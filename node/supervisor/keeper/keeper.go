package keeper

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"
)

// Bounds of what is kept. A name's meta and descriptors leave room for what is around them when they are listed.
const (
	maxKept      = 16384 // names (count)
	maxMeta      = maxBody - 4<<10
	maxKeptFiles = maxFiles - 1
)

// kept is what lives on under a name.
type kept struct {
	name  string
	meta  json.RawMessage
	fds   []int
	pid   int // of a worker; 0 = descriptors alone
	order uint64
}

// link is the connection to one node process.
type link struct {
	conn *net.UnixConn
	pid  int // 0 = in this process, in tests
	// standby is the request of a successor that waits for its turn; it is answered when that has come.
	standby uint64
	gone    bool // nothing more comes from it
}

// request is a packet that came in; end, if not nil, is why none will any more.
type request struct {
	from *link
	p    packet
	fds  []int
	end  error
}

// Keeper forks processes and keeps descriptors. Use Main, or Local in tests.
type Keeper struct {
	log      hclog.Logger
	inbox    chan request
	readers  sync.WaitGroup
	kept     map[string]*kept
	order    uint64
	children children
	current  *link // the node that serves; nil = none
	guard    *guard
	tame     tame // forks workers of other users
}

func newKeeper(log hclog.Logger) *Keeper {
	return &Keeper{log: log, inbox: make(chan request), kept: make(map[string]*kept), children: newChildren()}
}

// attach makes a link of a connection and reads from it.
func (k *Keeper) attach(c *net.UnixConn, pid int) *link {
	l := &link{conn: c, pid: pid}
	k.readers.Go(func() {
		for {
			p, fds, err := receive(c)
			if err != nil {
				k.inbox <- request{from: l, end: err}
				return
			}
			k.inbox <- request{from: l, p: p, fds: fds}
		}
	})
	return l
}

// serve answers one request.
func (k *Keeper) serve(r request) {
	switch {
	case r.end != nil:
		k.lost(r.from, r.end)
		return
	case r.p.Kind == kindStandby && k.guard != nil:
		closeAll(r.fds)
		k.guard.standby(r)
		return
	case r.p.Kind == kindPong && k.guard != nil:
		closeAll(r.fds)
		k.guard.notify("WATCHDOG=1")
		return
	}
	answer := packet{ID: r.p.ID, Kind: kindAnswer}
	var err error
	if answer.PID, answer.Body, err = k.carryOut(r); err != nil {
		answer.Err = err.Error()
	}
	k.tell(r.from, answer)
}

// lost takes in that nothing more comes from a node. One that ends in good order closes its side; one that says what cannot be understood is
// ended, because it would go on without knowing what becomes of its workers.
func (k *Keeper) lost(l *link, why error) {
	l.gone = true
	l.conn.Close()
	if k.current == l {
		k.current = nil
	}
	if !errors.Is(why, io.EOF) && !errors.Is(why, net.ErrClosed) && !errors.Is(why, unix.ECONNRESET) {
		k.log.Error("the node cannot be understood, and is ended", "err", why)
		k.children.signal(l.pid, unix.SIGKILL)
	}
}

// settleLimit is how long the last words of a node that has ended are waited for. They are here already, unless somebody else has its
// end of the connection.
const settleLimit = time.Second

// settle serves what a node that has ended had still said.
func (k *Keeper) settle(l *link) {
	t := time.NewTimer(settleLimit)
	defer t.Stop()
	for !l.gone {
		select {
		case r := <-k.inbox:
			k.serve(r)
		case <-t.C:
			l.conn.Close()
			return
		}
	}
}

// carryOut does what a node asks for. What is kept is the business of the one that serves: one that has let go says nothing of it any more.
func (k *Keeper) carryOut(r request) (pid int, body json.RawMessage, err error) {
	keeps := r.p.Kind == kindStart || r.p.Kind == kindHold // these consume the descriptors
	if !keeps {
		closeAll(r.fds)
	}
	if r.from != k.current && aboutKept(r.p.Kind) {
		if keeps {
			closeAll(r.fds)
		}
		return 0, nil, errors.New("another node has the workers now")
	}
	switch r.p.Kind {
	case kindStart:
		pid, err = k.start(r)
	case kindReap:
		body, err = k.children.reap(r.p.PID)
	case kindGroup:
		body, err = json.Marshal(reapGroup(r.p.PID))
	case kindHas:
		body, err = json.Marshal(k.kept[r.p.Name] != nil)
	case kindHold:
		err = k.hold(r.p.Name, r.p.Body, r.fds, 0)
	case kindUpdate:
		err = k.update(r.p.Name, r.p.Body)
	case kindDrop:
		k.drop(r.p.Name)
	case kindList:
		err = k.list(r)
	default:
		body, err = k.guarded(r)
	}
	return pid, body, err
}

func aboutKept(what kind) bool {
	switch what {
	case kindStart, kindReap, kindGroup, kindHas, kindHold, kindUpdate, kindDrop, kindList:
		return true
	}
	return false
}

// guarded answers what concerns the life of the node.
func (k *Keeper) guarded(r request) (json.RawMessage, error) {
	if k.guard == nil {
		if r.p.Kind == kindReady {
			return nil, nil
		}
		return nil, fmt.Errorf("there is nobody who answers %q here", r.p.Kind)
	}
	return k.guard.answer(r)
}

// tell sends a packet to a node. One that does not read for so long is stuck, and would miss what it has to know: it is ended, and the next
// one asks for all of it.
func (k *Keeper) tell(l *link, p packet) {
	if l == nil || l.gone {
		return
	}
	err := send(l.conn, p, nil)
	switch {
	case err == nil, errors.Is(err, unix.EPIPE), errors.Is(err, unix.ECONNRESET), errors.Is(err, net.ErrClosed): // it is about to end
	default:
		k.log.Error("the node does not listen, and is ended", "what", string(p.Kind), "err", err)
		l.conn.Close()
		k.children.signal(l.pid, unix.SIGKILL)
	}
}

// hold keeps files under a name, in the place of those that were there.
func (k *Keeper) hold(name string, meta json.RawMessage, fds []int, pid int) error {
	if err := k.room(name, meta, len(fds)); err != nil {
		closeAll(fds)
		return err
	}
	k.drop(name)
	k.order++
	k.kept[name] = &kept{name: name, meta: meta, fds: fds, pid: pid, order: k.order}
	return nil
}

// room says why something cannot be kept.
func (k *Keeper) room(name string, meta json.RawMessage, files int) error {
	switch {
	case name == "":
		return errors.New("what is kept has a name")
	case k.kept[name] == nil && len(k.kept) >= maxKept:
		return fmt.Errorf("nothing more is kept: at most %d names", maxKept)
	case files > maxKeptFiles:
		return fmt.Errorf("%d descriptors under one name, at most %d are kept", files, maxKeptFiles)
	case len(meta) > maxMeta:
		return fmt.Errorf("%d bytes to be known of %s, at most %d are kept", len(meta), name, maxMeta)
	}
	return nil
}

func (k *Keeper) update(name string, meta json.RawMessage) error {
	e := k.kept[name]
	if e == nil {
		return fmt.Errorf("%q is not kept", name)
	}
	if err := k.room(name, meta, len(e.fds)); err != nil {
		return err
	}
	e.meta = meta
	return nil
}

func (k *Keeper) drop(name string) {
	if e := k.kept[name]; e != nil {
		closeAll(e.fds)
		delete(k.kept, name)
	}
}

// list hands all that is kept to whoever asks, oldest first, one packet for each name.
func (k *Keeper) list(r request) error {
	all := make([]*kept, 0, len(k.kept))
	for _, e := range k.kept {
		all = append(all, e)
	}
	slices.SortFunc(all, func(a, b *kept) int { return cmp.Compare(a.order, b.order) })
	for _, e := range all {
		body, err := json.Marshal(entry{Meta: e.meta, Ended: e.pid != 0 && k.children.ended(e.pid)})
		if err != nil {
			return err
		}
		if err := send(r.from.conn, packet{ID: r.p.ID, Kind: kindEntry, Name: e.name, PID: e.pid, Body: body}, e.fds); err != nil {
			return err
		}
	}
	return nil
}

// entry is what is told of a kept name.
type entry struct {
	Meta  json.RawMessage `json:"meta"`
	Ended bool            `json:"ended"` // its process has ended and waits to be reaped
}
