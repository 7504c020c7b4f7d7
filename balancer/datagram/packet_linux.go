package datagram

import (
	"net/netip"

	"golang.org/x/sys/unix"
)

// oobSize is enough for what the kernel says of one datagram (bytes).
const oobSize = 128

// wantLocal has the kernel say of each datagram which address it was sent to: a socket that is bound to all addresses has to answer from the right one.
func wantLocal(fd int) error {
	family, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	if family == unix.AF_INET6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// localIn is the address that the kernel says a datagram was sent to; invalid when it says none.
func localIn(oob []byte) netip.Addr {
	all, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return netip.Addr{}
	}
	for _, m := range all {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			return netip.AddrFrom4([4]byte(m.Data[4:8])) // behind the interface: what is ours, also where it was sent to many
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			a := netip.AddrFrom16([16]byte(m.Data[:16]))
			if a.IsLinkLocalUnicast() { // it means something on one interface only, which the client's address names
				return netip.Addr{}
			}
			return a
		}
	}
	return netip.Addr{}
}

// localOut tells the kernel which address a datagram is to be sent from.
func localOut(a netip.Addr) []byte {
	switch {
	case a.Is4():
		b := a.As4()
		return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: b})
	case a.Is6():
		return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: a.As16()})
	}
	return nil
}
