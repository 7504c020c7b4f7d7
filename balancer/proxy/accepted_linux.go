package proxy

import (
	"encoding/binary"
	"net/netip"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// fate is what has become of a connection that was dialed.
type fate uint8

const (
	fateGone     fate = iota // nothing is known of it any more
	fateWaits                // the kernel has made it, and nobody has accepted it
	fateAccepted             // somebody has it, or had
)

// States of a TCP socket, beside tcpListen.
const (
	tcpEstablished = 1
	tcpSynRecv     = 3
	tcpCloseWait   = 8
	tcpNewSynRecv  = 12
)

// path is a connection by its addresses: the worker's end and ours.
type path struct{ worker, ours netip.AddrPort }

// fates asks the kernel about single connections, which costs some 5 us each, whatever the number of sockets.
type fates struct{ conn *netlink.Conn }

func openFates() (*fates, error) {
	c, err := netlink.Dial(unix.NETLINK_SOCK_DIAG, nil)
	if err != nil {
		return nil, err
	}
	return &fates{c}, nil
}

// of tells what has become of the worker's end. A connection that nobody has accepted is a socket without an inode. So is one that its program has
// closed, but that one is in another state.
func (f *fates) of(p path) fate {
	req := make([]byte, 56) // struct inet_diag_req_v2
	req[0], req[1] = unix.AF_INET, unix.IPPROTO_TCP
	if p.worker.Addr().Is6() {
		req[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(req[4:], ^uint32(0))
	binary.BigEndian.PutUint16(req[8:], p.worker.Port())
	binary.BigEndian.PutUint16(req[10:], p.ours.Port())
	copy(req[12:28], p.worker.Addr().AsSlice())
	copy(req[28:44], p.ours.Addr().AsSlice())
	for i := range 8 { // any cookie
		req[48+i] = 0xff
	}
	msgs, err := f.conn.Execute(netlink.Message{Header: netlink.Header{Type: sockDiagByFamily, Flags: netlink.Request}, Data: req})
	if err != nil || len(msgs) == 0 || len(msgs[0].Data) < diagMessageSize {
		return fateGone
	}
	m := msgs[0].Data
	switch m[diagStateOffset] {
	case tcpListen: // the kernel's answer where there is no such connection
		return fateGone
	case tcpSynRecv, tcpNewSynRecv: // there is no room in the accept queue
		return fateWaits
	case tcpEstablished, tcpCloseWait:
		if binary.NativeEndian.Uint32(m[diagInodeOffset:]) == 0 {
			return fateWaits
		}
	}
	return fateAccepted
}

func (f *fates) close() { f.conn.Close() }
