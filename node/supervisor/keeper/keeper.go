package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"

	"github.com/hashicorp/go-hclog"
)

// maxKept bounds the names that are kept (count).
const maxKept = 16384

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
}

// request is a packet that came in; gone says that none will any more.
type request struct {
	from *link
	p    packet
	fds  []int
	gone bool
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
				if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
					k.log.Warn("the node's connection broke", "err", err)
				}
				k.inbox <- request{from: l, gone: true}
				return
			}
			k.inbox <- request{from: l, p: p, fds: fds}
		}
	})
	return l
}

// serve answers one request.
func (k *Keeper) serve(r request) {
	if r.gone {
		r.from.conn.Close()
		if k.current == r.from {
			k.current = nil
		}
		return
	}
	if r.p.Kind == kindStandby && k.guard != nil {
		k.guard.standby(r)
		return
	}
	answer := packet{ID: r.p.ID, Kind: kindAnswer}
	var err error
	switch r.p.Kind {
	case kindStart:
		answer.PID, err = k.start(r)
	case kindReap:
		answer.Body, err = k.children.reap(r.p.PID)
	case kindGroup:
		answer.Body, err = json.Marshal(reapGroup(r.p.PID))
	case kindHold:
		err = k.hold(r.p.Name, r.p.Body, r.fds, 0)
	case kindUpdate:
		err = k.update(r.p.Name, r.p.Body)
	case kindDrop:
		k.drop(r.p.Name)
	case kindList:
		err = k.list(r)
	default:
		answer.Body, err = k.guarded(r)
	}
	if err != nil {
		answer.Err = err.Error()
	}
	k.tell(r.from, answer, nil)
}

// guarded answers what concerns the life of the node.
func (k *Keeper) guarded(r request) (json.RawMessage, error) {
	closeAll(r.fds)
	if k.guard == nil {
		if r.p.Kind == kindReady {
			return nil, nil
		}
		return nil, fmt.Errorf("there is nobody who answers %q here", r.p.Kind)
	}
	return k.guard.answer(r)
}

// tell sends a packet to a node. One that does not read is stuck; it is left to those who watch over it.
func (k *Keeper) tell(l *link, p packet, fds []int) {
	if l == nil {
		return
	}
	if err := send(l.conn, p, fds); err != nil {
		k.log.Warn("cannot tell the node", "what", string(p.Kind), "err", err)
	}
}

// hold keeps files under a name, in the place of those that were there.
func (k *Keeper) hold(name string, meta json.RawMessage, fds []int, pid int) error {
	if name == "" || k.kept[name] == nil && len(k.kept) >= maxKept {
		closeAll(fds)
		return fmt.Errorf("nothing more is kept: at most %d names", maxKept)
	}
	k.drop(name)
	k.order++
	k.kept[name] = &kept{name: name, meta: meta, fds: fds, pid: pid, order: k.order}
	return nil
}

func (k *Keeper) update(name string, meta json.RawMessage) error {
	e := k.kept[name]
	if e == nil {
		return fmt.Errorf("%q is not kept", name)
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
	slices.SortFunc(all, func(a, b *kept) int { return int(int64(a.order) - int64(b.order)) })
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
