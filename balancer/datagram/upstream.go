package datagram

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// lead opens the session's way to the target that was claimed.
func (s *Server) lead(x *session, id socketID, client netip.AddrPort) error {
	if x.claim.Target.Kind == balancer.KindPeer {
		l, err := s.linkTo(x.claim.Target.ID)
		if err != nil {
			return err
		}
		return l.open(x, id, client)
	}
	addr, ok := s.o.Worker(x.claim.Target.ID, id.key)
	if !ok {
		return fmt.Errorf("worker %s takes no datagrams", x.claim.Target.ID)
	}
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		c.Close()
		return err
	}
	u := &upstream{s: s, x: x, conn: c, raw: raw}
	x.way = u
	if !s.start(u.read) {
		c.Close()
		return ErrClosed
	}
	return nil
}

// start runs f in a goroutine that Close waits for; false means that the server is closed.
func (s *Server) start(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Go(f)
	return true
}

// upstream is the way to a local worker: a socket of the session's own, by which the worker tells it from others.
type upstream struct {
	s    *Server
	x    *session
	conn *net.UDPConn
	raw  syscall.RawConn
}

func (u *upstream) send(payload []byte) {
	var err error
	cerr := u.raw.Control(func(fd uintptr) { _, err = unix.SendmsgN(int(fd), payload, nil, nil, unix.MSG_DONTWAIT) })
	switch {
	case cerr != nil: // it was closed meanwhile
		u.s.stats.noRoom.Add(1)
		u.x.table.drop(u.x)
	case errors.Is(err, unix.ECONNREFUSED): // said of one before it: nobody listens there any more
		u.s.stats.noRoom.Add(1)
		u.x.fail(balancer.DoneInfo{Now: time.Now(), Refused: true})
	case err != nil:
		u.s.stats.noRoom.Add(1)
	}
}

func (u *upstream) end() { u.conn.Close() }

// read passes the worker's answers on until the way is closed. A session that is idle holds no buffer.
func (u *upstream) read() {
	for {
		var n int
		var rerr error
		var buf *[maxPayload]byte
		err := u.raw.Read(func(fd uintptr) bool {
			buf = u.s.buffers.Get().(*[maxPayload]byte)
			n, rerr = unix.Read(int(fd), buf[:])
			if rerr == unix.EAGAIN || rerr == unix.EINTR {
				u.s.buffers.Put(buf)
				buf = nil
				return false
			}
			return true
		})
		if buf == nil || err != nil {
			if buf != nil {
				u.s.buffers.Put(buf)
			}
			return
		}
		if rerr == nil {
			u.x.use()
			u.x.answer(buf[:n])
		}
		u.s.buffers.Put(buf)
		if rerr != nil {
			u.x.fail(balancer.DoneInfo{Now: time.Now(), Refused: true})
			return
		}
	}
}
