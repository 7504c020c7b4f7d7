package datagram

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
)

// socket is where clients of an app send to.
type socket struct {
	s      *Server
	id     socketID
	conn   *net.UDPConn
	raw    syscall.RawConn
	shared bool
	group  *group
	table  *table
	ready  chan struct{} // for a shared one: holds a token while it is to be read
	look   chan struct{} // has watch look who is to read
	closed chan struct{}
}

func newSocket(s *Server, id socketID, f *os.File, shared bool) (*socket, error) {
	pc, err := net.FilePacketConn(f) // duplicates
	if err != nil {
		return nil, err
	}
	c, ok := pc.(*net.UDPConn)
	if !ok {
		pc.Close()
		return nil, errors.New("it is no UDP socket")
	}
	raw, err := c.SyscallConn()
	if err == nil {
		var serr error
		err = errors.Join(raw.Control(func(fd uintptr) { serr = wantLocal(int(fd)) }), serr)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	k := &socket{s: s, id: id, conn: c, raw: raw, shared: shared, table: newTable(), ready: make(chan struct{}, 1), look: make(chan struct{}, 1), closed: make(chan struct{})}
	k.group = &group{k: k, members: make(map[string]*member)}
	return k, nil
}

// read takes the clients' datagrams until the socket is closed.
func (k *socket) read() {
	buf, oob := make([]byte, maxPayload), make([]byte, oobSize)
	for k.mayRead() {
		n, m, _, client, err := k.conn.ReadMsgUDPAddrPort(buf, oob)
		switch {
		case err == nil:
			k.s.stats.in.Add(1)
			k.take(client, localIn(oob[:m]), buf[:n])
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded): // workers read it again
		default:
			if k.s.mayWarn() {
				k.s.log.Warn("datagrams cannot be read", "app", k.id.app, "addr", k.conn.LocalAddr(), "err", err)
			}
			if !k.pause() {
				return
			}
		}
	}
}

func (k *socket) pause() bool {
	t := time.NewTimer(errorPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-k.closed:
		return false
	}
}

// mayRead waits until the socket is to be read here; false means that it is closed.
func (k *socket) mayRead() bool {
	if !k.shared {
		return true
	}
	select {
	case <-k.ready:
		k.ready <- struct{}{} // until watch takes it away
		return true
	case <-k.closed:
		return false
	}
}

// wanted reports whether the node is to read a shared socket: while no worker here is ready for it and a peer has one; and once workers have sockets of their
// own, for what came while they had none.
func (k *socket) wanted(p *balancer.Picker) bool {
	return k.group.lives() || p.Local(time.Now()).Ready == 0 && p.Elsewhere()
}

// poke has watch look again.
func (k *socket) poke() {
	select {
	case k.look <- struct{}{}:
	default:
	}
}

// watch has a shared socket read while that is wanted.
func (k *socket) watch() {
	p := k.s.o.Picker(k.id.app)
	reading := false
	_ = k.conn.SetReadDeadline(time.Unix(1, 0))
	for {
		changed := p.Changed()
		if want := k.wanted(p); want != reading {
			if reading = want; want {
				_ = k.conn.SetReadDeadline(time.Time{})
				k.ready <- struct{}{}
			} else {
				<-k.ready
				_ = k.conn.SetReadDeadline(time.Unix(1, 0))
			}
		}
		if !k.await(changed, k.look) {
			return
		}
	}
}

// await waits for a change, and no longer than lookAgain: a link that goes down, and a record that grows old, make none. False means that the socket is closed.
func (k *socket) await(changed, look <-chan struct{}) bool {
	t := time.NewTimer(lookAgain)
	defer t.Stop()
	select {
	case <-changed:
	case <-look:
	case <-t.C:
	case <-k.closed:
		return false
	}
	return true
}

// number is the socket's descriptor.
func (k *socket) number() (out int, err error) {
	err = k.raw.Control(func(fd uintptr) { out = int(fd) })
	return out, err
}

// lookAgain is how often it is looked who is to read a shared socket.
const lookAgain = 200 * time.Millisecond

// take passes a client's datagram on.
func (k *socket) take(client netip.AddrPort, local netip.Addr, payload []byte) {
	f := flow{client: client, local: local}
	x := k.table.get(f)
	if x == nil {
		x = k.session(client, local)
		if !k.s.begin(x, k.id, netip.AddrPortFrom(client.Addr().Unmap(), client.Port()), true) {
			return
		}
	}
	x.use()
	x.way.send(payload)
}

// session is a new one of a client, which leads nowhere yet.
func (k *socket) session(client netip.AddrPort, local netip.Addr) *session {
	oob := localOut(local)
	return &session{id: k.id, table: k.table, flow: flow{client: client, local: local}, answer: func(payload []byte) { k.answer(client, oob, payload) }}
}

// answer sends to a client, from the address that it spoke to.
func (k *socket) answer(client netip.AddrPort, oob, payload []byte) {
	to := unix.Sockaddr(nil)
	if client.Addr().Is4() {
		to = &unix.SockaddrInet4{Addr: client.Addr().As4(), Port: int(client.Port())}
	} else {
		to = &unix.SockaddrInet6{Addr: client.Addr().As16(), Port: int(client.Port()), ZoneId: zone(client.Addr().Zone())}
	}
	var err error
	cerr := k.raw.Control(func(fd uintptr) { _, err = unix.SendmsgN(int(fd), payload, oob, to, unix.MSG_DONTWAIT) })
	if cerr != nil || err != nil {
		k.s.stats.noRoom.Add(1)
		return
	}
	k.s.stats.answered.Add(1)
}

// zone is the number of the interface that an address is scoped to.
func zone(name string) uint32 {
	if name == "" {
		return 0
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0
	}
	return uint32(i.Index)
}

func (k *socket) close() {
	close(k.closed)
	k.conn.Close()
	k.group.end()
	k.table.close()
}
