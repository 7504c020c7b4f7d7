package datagram

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Passed is a client's session with a worker of this node that goes on in another process.
type Passed struct {
	App    string         `json:"app"`
	Key    string         `json:"key"`
	Worker string         `json:"worker"`
	Client netip.AddrPort `json:"client"`
	Local  netip.Addr     `json:"local"` // the address that the client speaks to
	FD     int            `json:"-"`     // the session's socket to the worker
}

// Pass shows all sessions that can go on in another process to keep, so many at a time. Their descriptors are valid during the call only. It ends at the first
// error, which it returns. Sessions with peers are not among them: their stream is this process's.
func (s *Server) Pass(many int, keep func([]Passed) error) error {
	var all []*session
	for _, k := range s.all("") {
		k.table.each(func(x *session) { all = append(all, x) })
	}
	for some := range slices.Chunk(all, many) {
		if err := pass(some, keep); err != nil {
			return err
		}
	}
	return nil
}

func pass(some []*session, keep func([]Passed) error) error {
	var out []Passed
	defer func() {
		for _, p := range out {
			unix.Close(p.FD)
		}
	}()
	for _, x := range some {
		u, ok := x.way.(*upstream)
		if !ok {
			continue
		}
		p := Passed{App: x.id.app, Key: x.id.key, Worker: x.claim.Target.ID, Client: x.flow.client, Local: x.flow.local}
		var err error
		if u.raw.Control(func(fd uintptr) { p.FD, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }) != nil {
			continue // it has ended meanwhile
		}
		if err != nil {
			return err
		}
		out = append(out, p)
	}
	if len(out) == 0 {
		return nil
	}
	return keep(out)
}

// resume goes on with the sessions of a socket that another process has passed. The server's lock is held.
func (s *Server) resume(k *socket) {
	for _, p := range s.passed[k.id] {
		if s.stats.open.Load() >= int64(s.o.Sessions) {
			s.stats.noSession.Add(1)
			unix.Close(p.FD)
			continue
		}
		u, err := inherit(p.FD)
		if err != nil {
			s.log.Debug("a session cannot go on", "app", p.App, "worker", p.Worker, "err", err)
			continue
		}
		x := k.session(p.Client, p.Local)
		x.s, x.claim, x.way = s, s.o.Picker(p.App).Claim(p.Worker, time.Now()), u
		u.s, u.x = s, x
		s.stats.open.Add(1)
		x.use()
		k.table.put(x) // it is new, and not closed
		s.wg.Go(u.read)
	}
	delete(s.passed, k.id)
}

// inherit makes a way of a session's socket, which it consumes.
func inherit(fd int) (*upstream, error) {
	f := os.NewFile(uintptr(fd), "session")
	defer f.Close()
	c, err := net.FileConn(f) // duplicates
	if err != nil {
		return nil, err
	}
	u, ok := c.(*net.UDPConn)
	if !ok {
		c.Close()
		return nil, errors.New("it is no UDP socket")
	}
	raw, err := u.SyscallConn()
	if err != nil {
		c.Close()
		return nil, err
	}
	return &upstream{conn: u, raw: raw}, nil
}

// Forgo ends the sessions that were passed and that nobody goes on with: their sockets are not served here any more.
func (s *Server) Forgo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, all := range s.passed {
		for _, p := range all {
			unix.Close(p.FD)
		}
		delete(s.passed, id)
	}
}
