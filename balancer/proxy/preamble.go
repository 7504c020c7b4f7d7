package proxy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// Answers to a forward. Queued comes before one of the others: somebody is there, and a busy worker will say.
const (
	answerAccepted byte = 1
	answerRefused  byte = 2
	answerQueued   byte = 3
)

// errPeerRefused means that the peer is well and has no worker free for this connection.
var errPeerRefused = errors.New("the peer refused the connection")

// ErrPreamble is returned for a stream that does not begin with a forward's preamble.
var ErrPreamble = errors.New("not a forward's preamble")

// The preamble of a forward, before any byte of the client: magic, version, the client's address (16 bytes, 4 in 6 for IPv4, :: if unknown) and port,
// in version 2 the same of the address that the client connected to, then the app's name and the listener's key, each behind its length in one byte. All
// numbers are big-endian. Version 2 is written only where that address is known: older nodes read version 1.
const (
	preambleMagic   = "MF"
	preamblePlain   = 1
	preambleLocal   = 2
	preambleAddress = 16 + 2
	preambleFixed   = len(preambleMagic) + 1 + preambleAddress
	maxName         = 255
)

// preamble says which connection a forward carries.
type preamble struct {
	App    string
	Key    string
	Client netip.AddrPort
	Local  netip.AddrPort // Local is the address that the client connected to; unset where nobody asks for it.
}

// append encodes p. Names beyond maxName bytes are cut; configuration allows none.
func (p preamble) append(b []byte) []byte {
	b = append(b, preambleMagic...)
	if p.Local.IsValid() {
		b = appendAddress(append(b, preambleLocal), p.Client)
		b = appendAddress(b, p.Local)
	} else {
		b = appendAddress(append(b, preamblePlain), p.Client)
	}
	for _, s := range []string{p.App, p.Key} {
		s = s[:min(len(s), maxName)]
		b = append(b, byte(len(s)))
		b = append(b, s...)
	}
	return b
}

func appendAddress(b []byte, p netip.AddrPort) []byte {
	addr := p.Addr()
	if !addr.IsValid() {
		addr = netip.IPv6Unspecified()
	}
	a := addr.As16()
	return binary.BigEndian.AppendUint16(append(b, a[:]...), p.Port())
}

// readAddress reads what appendAddress wrote; unset for an unspecified one.
func readAddress(b []byte) netip.AddrPort {
	addr := netip.AddrFrom16([16]byte(b[:16])).Unmap()
	if addr.IsUnspecified() {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(addr, binary.BigEndian.Uint16(b[16:]))
}

// readPreamble reads exactly the preamble, no byte more: what follows is the client's.
func readPreamble(r io.Reader) (preamble, error) {
	var fixed [preambleFixed]byte
	if _, err := io.ReadFull(r, fixed[:]); err != nil {
		return preamble{}, fmt.Errorf("read a forward's preamble: %w", err)
	}
	if string(fixed[:2]) != preambleMagic || fixed[2] != preamblePlain && fixed[2] != preambleLocal {
		return preamble{}, ErrPreamble
	}
	p := preamble{Client: readAddress(fixed[3:])}
	if fixed[2] == preambleLocal {
		var local [preambleAddress]byte
		if _, err := io.ReadFull(r, local[:]); err != nil {
			return preamble{}, fmt.Errorf("read a forward's preamble: %w", err)
		}
		p.Local = readAddress(local[:])
	}
	for _, to := range []*string{&p.App, &p.Key} {
		var n [1]byte
		if _, err := io.ReadFull(r, n[:]); err != nil {
			return preamble{}, fmt.Errorf("read a forward's preamble: %w", err)
		}
		b := make([]byte, n[0])
		if _, err := io.ReadFull(r, b); err != nil {
			return preamble{}, fmt.Errorf("read a forward's preamble: %w", err)
		}
		*to = string(b)
	}
	if p.App == "" {
		return preamble{}, ErrPreamble
	}
	return p, nil
}
