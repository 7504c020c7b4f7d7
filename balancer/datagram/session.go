package datagram

import (
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"meshnode/balancer"
)

// way is where a session's datagrams go.
type way interface {
	// send takes a datagram, or drops it and counts that. It does not block.
	send(payload []byte)
	// end closes the way. No answer comes after that, but for those on their way.
	end()
}

// flow is what makes two datagrams of one session: at a socket the client and the address it spoke to, on a peer's stream a number.
type flow struct {
	client netip.AddrPort
	local  netip.Addr
	number uint32
}

// session is one client's datagrams.
type session struct {
	s      *Server
	id     socketID // of the socket it came to
	table  *table
	flow   flow
	claim  balancer.PickResult
	answer func(payload []byte) // to the client; does not block
	way    way
	used   atomic.Int64 // when it was last
	over   sync.Once
	back   sync.Once
}

func (x *session) use() { x.used.Store(x.s.elapsed()) }

func (x *session) unused() time.Duration { return time.Duration(x.s.elapsed() - x.used.Load()) }

// done gives the claim back.
func (x *session) done(d balancer.DoneInfo) {
	x.back.Do(func() {
		if d.Failed || d.Refused {
			x.s.stats.failed.Add(1)
		}
		x.s.stats.open.Add(-1)
		x.claim.Done(d)
	})
}

// end closes the session's way.
func (x *session) end() {
	x.over.Do(x.way.end)
}

// fail ends a session whose worker or peer is not there; the next datagram begins another.
func (x *session) fail(d balancer.DoneInfo) {
	x.table.drop(x)
	x.done(d)
	x.end()
}

// table holds the sessions of one socket or stream.
type table struct {
	mu     sync.Mutex // guards all below
	all    map[flow]*session
	closed bool
}

func newTable() *table { return &table{all: make(map[flow]*session)} }

func (t *table) get(f flow) *session {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all[f]
}

// put takes a session in; false means that the table is closed.
func (t *table) put(x *session) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.all[x.flow] = x
	return true
}

// each shows all sessions. f must not use the table.
func (t *table) each(f func(*session)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, x := range t.all {
		f(x)
	}
}

func (t *table) drop(x *session) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all[x.flow] == x {
		delete(t.all, x.flow)
	}
}

// take removes the sessions that match.
func (t *table) take(match func(*session) bool) []*session {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*session
	for f, x := range t.all {
		if match(x) {
			out = append(out, x)
			delete(t.all, f)
		}
	}
	return out
}

// close ends all sessions, and takes none any more.
func (t *table) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	for _, x := range t.take(func(*session) bool { return true }) {
		x.done(balancer.DoneInfo{Now: time.Now()})
		x.end()
	}
}

// begin makes a session for the first datagram of a flow, if somebody can serve it. hop says that it may go to a peer.
func (s *Server) begin(x *session, id socketID, client netip.AddrPort, hop bool) bool {
	if s.stats.open.Load() >= int64(s.o.Sessions) {
		s.stats.noSession.Add(1)
		if s.mayWarn() {
			s.log.Warn("no more sessions of datagrams", "app", id.app, "count", s.o.Sessions)
		}
		return false
	}
	info := balancer.PickInfo{Now: time.Now(), Rand: rand.Uint64(), Client: client.Addr(), LocalOnly: true}
	p := s.o.Picker(id.app)
	claim, err := p.Pick(info)
	if err != nil && hop {
		info.LocalOnly, info.Tried = false, s.silent(info.Now)
		if claim, err = p.Pick(info); err != nil && len(info.Tried) > 0 {
			info.Tried = nil
			claim, err = p.Pick(info)
		}
	}
	if err != nil {
		s.stats.noTarget.Add(1)
		return false
	}
	if claim.Target.Kind == balancer.KindWorker { // a peer has it when it is heard: see link.take
		claim.Taken()
	}
	s.stats.open.Add(1)
	x.s, x.claim = s, claim
	x.use()
	if err := s.lead(x, id, client); err != nil {
		s.stats.noTarget.Add(1)
		x.done(balancer.DoneInfo{Now: time.Now(), Refused: true})
		s.log.Debug("no way for datagrams", "app", id.app, "worker", claim.Target.ID, "err", err)
		return false
	}
	if !x.table.put(x) {
		x.done(balancer.DoneInfo{Now: time.Now()})
		x.end()
		return false
	}
	return true
}
