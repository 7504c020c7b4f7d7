package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"
	"golang.org/x/sys/unix"
)

// Bounds of a PROXY protocol header, in bytes: what the protocol allows in version 1, and what is read of version 2, which may carry certificates.
const (
	headerMax1   = 107
	headerMax2   = 4 << 10
	headerUsual  = 256
	headerFixed2 = 16
)

// HeaderVersion is a version of the PROXY protocol (haproxy.org, "The PROXY protocol", versions 1 & 2); 0 = none.
type HeaderVersion byte

var (
	// errHeader is why a connection is refused that does not begin as it should.
	errHeader = errors.New("the connection does not begin with a valid PROXY protocol header")
	// errIncomplete means that more of the header is to come.
	errIncomplete = errors.New("the header is not all there")
	errLonger     = errors.New("the header is longer than the buffer")
)

// header is what a PROXY protocol header says. The addresses are unset where the proxy speaks for itself, and of families other than TCP.
type header struct{ client, local netip.AddrPort }

// takeHeader reads the header off a socket that does not block, and no byte more: what follows is the worker's. Errors: errHeader, errIncomplete.
func takeHeader(fd int) (header, error) {
	h, err := takeHeaderInto(fd, make([]byte, headerUsual))
	if errors.Is(err, errLonger) {
		return takeHeaderInto(fd, make([]byte, headerMax2))
	}
	return h, err
}

// takeHeaderInto is takeHeader with a buffer; errLonger says that it is too small.
func takeHeaderInto(fd int, buf []byte) (header, error) {
	n, _, err := unix.Recvfrom(fd, buf, unix.MSG_PEEK)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return header{}, errIncomplete
	case err != nil:
		return header{}, fmt.Errorf("%w: %w", errHeader, err)
	case n == 0:
		return header{}, fmt.Errorf("%w: it was closed", errHeader)
	}
	size, err := headerSize(buf[:n])
	if errors.Is(err, errIncomplete) && n == len(buf) {
		return header{}, errLonger
	}
	if err != nil {
		return header{}, err
	}
	for taken := 0; taken < size; { // all of it is there
		m, err := unix.Read(fd, buf[taken:size])
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil || m == 0:
			return header{}, fmt.Errorf("%w: %w", errHeader, err)
		default:
			taken += m
		}
	}
	return parseHeader(buf[:size])
}

// headerSize is the size of the header that b begins with. Errors: errHeader, errIncomplete.
func headerSize(b []byte) (int, error) {
	switch {
	case begins(b, proxyproto.SIGV2):
		if len(b) < headerFixed2 {
			return 0, errIncomplete
		}
		size := headerFixed2 + int(binary.BigEndian.Uint16(b[14:]))
		if size > headerMax2 {
			return 0, fmt.Errorf("%w: %d bytes, at most %d are allowed", errHeader, size, headerMax2)
		}
		if len(b) < size {
			return 0, errIncomplete
		}
		return size, nil
	case begins(b, proxyproto.SIGV1):
		if i := bytes.Index(b[:min(len(b), headerMax1)], []byte("\r\n")); i >= 0 {
			return i + 2, nil
		}
		if len(b) < headerMax1 {
			return 0, errIncomplete
		}
		return 0, fmt.Errorf("%w: its line does not end", errHeader)
	}
	return 0, errHeader
}

// begins reports whether b begins with the signature, or may yet.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// parseHeader reads a whole header.
func parseHeader(b []byte) (header, error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return header{}, fmt.Errorf("%w: %w", errHeader, err)
	}
	client, local, ok := h.TCPAddrs()
	if !ok || h.Command.IsLocal() {
		return header{}, nil
	}
	out := header{client: unmapped(client), local: unmapped(local)}
	if !out.client.Addr().IsValid() {
		return header{}, errHeader
	}
	return out, nil
}

func unmapped(a *net.TCPAddr) netip.AddrPort {
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
}

// format is the header that tells a worker of a connection's addresses. One whose own address is not known is said to have come by any.
func (v HeaderVersion) format(o *origin) ([]byte, error) {
	local := o.local
	if !local.IsValid() {
		local = netip.AddrPortFrom(netip.IPv4Unspecified(), 0)
		if o.client.Addr().Is6() {
			local = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return proxyproto.HeaderProxyFromAddrs(byte(v), net.TCPAddrFromAddrPort(o.client), net.TCPAddrFromAddrPort(local)).Format()
}

// OwnHeader is the header of a connection that the node makes for itself, such as a health check; nil without a version.
func (v HeaderVersion) OwnHeader() []byte {
	if v == 0 {
		return nil
	}
	b, err := proxyproto.HeaderProxyFromAddrs(byte(v), nil, nil).Format()
	if err != nil {
		return nil
	}
	return b
}
