package mux

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// The plain preamble: each side sends one before anything else when there is no cluster key. All have the same length, so a reader knows at
// once how much to wait for:
//
//	magic (5) version (1) status (1), then protocol, role, name and id, each as one length byte and a field of fixed size padded with zeros
//
// The magic can never begin a TLS record, and its length is that of a TLS record header, so each mode recognises the other.
const (
	preambleMagic   = "mesh\n"
	preambleVersion = 1
	maxProtocol     = 16
	preambleSize    = len(preambleMagic) + 2 + (1 + maxProtocol) + (1 + maxRole) + (1 + maxName) + (1 + maxID)
)

// Status of a preamble; the dialing side always sends statusOK.
const (
	statusOK     = 0
	statusSecure = 1 // refused: this side wants TLS
	statusPlain  = 2 // refused: this side does not speak TLS
)

var (
	errNotPreamble = errors.New("the other side is not a meshnode peer port")
	errBadPreamble = errors.New("the other side's greeting is malformed")
)

// preamble is one greeting in insecure mode.
type preamble struct {
	status   byte
	protocol Protocol
	self     Identity
}

// encode returns the preamble in its fixed length. Fields longer than their limit must not be passed.
func (p preamble) encode() []byte {
	b := make([]byte, 0, preambleSize)
	b = append(b, preambleMagic...)
	b = append(b, preambleVersion, p.status)
	b = appendField(b, string(p.protocol), maxProtocol)
	b = appendField(b, p.self.Role, maxRole)
	b = appendField(b, p.self.Name, maxName)
	return appendField(b, p.self.ID, maxID)
}

func appendField(b []byte, s string, size int) []byte {
	b = append(b, byte(len(s)))
	b = append(b, s...)
	return append(b, make([]byte, size-len(s))...)
}

// decodePreamble reads a preamble of exactly preambleSize bytes. It accepts what encode makes and nothing else; the identity is checked only
// where the status is OK, because a refusal carries none.
func decodePreamble(b []byte) (preamble, error) {
	if len(b) != preambleSize || !isMagic(b) {
		return preamble{}, errNotPreamble
	}
	b = b[len(preambleMagic):]
	if b[0] != preambleVersion {
		return preamble{}, fmt.Errorf("the other side greets in version %d, this side in %d", b[0], preambleVersion)
	}
	p := preamble{status: b[1]}
	b = b[2:]
	var text string
	for _, f := range []struct {
		size int
		set  func(string)
	}{
		{maxProtocol, func(s string) { p.protocol = Protocol(s) }},
		{maxRole, func(s string) { p.self.Role = s }},
		{maxName, func(s string) { p.self.Name = s }},
		{maxID, func(s string) { p.self.ID = s }},
	} {
		var err error
		if text, b, err = cutField(b, f.size); err != nil {
			return preamble{}, err
		}
		f.set(text)
	}
	if p.status == statusOK {
		if err := p.self.validate(); err != nil {
			return preamble{}, fmt.Errorf("%w: %w", errBadPreamble, err)
		}
	}
	return p, nil
}

func cutField(b []byte, size int) (string, []byte, error) {
	n := int(b[0])
	if n > size || len(bytes.Trim(b[1+n:1+size], "\x00")) != 0 {
		return "", nil, errBadPreamble
	}
	return string(b[1 : 1+n]), b[1+size:], nil
}

// isMagic reports whether b begins like a preamble.
func isMagic(b []byte) bool { return bytes.HasPrefix(b, []byte(preambleMagic)) }

// plainConn is a stream of insecure mode. It has all methods of a TCP connection, CloseWrite and SyscallConn included.
type plainConn struct {
	*net.TCPConn
	peer Identity
}

// greetPlain is the dialing side: it sends its preamble and reads the answer.
func greetPlain(ctx context.Context, c *net.TCPConn, p Protocol, self Identity) (net.Conn, error) {
	defer bound(ctx, c)()
	if _, err := c.Write(preamble{protocol: p, self: self}.encode()); err != nil {
		return nil, fmt.Errorf("send the greeting: %w", err)
	}
	answer, err := readPreamble(c)
	if err != nil {
		return nil, err
	}
	switch answer.status {
	case statusOK:
		return settle(ctx, c, answer.self)
	case statusSecure:
		return nil, ErrPeerSecure
	default:
		return nil, fmt.Errorf("the other side refused with status %d", answer.status)
	}
}

// welcomePlain is the accepting side: it reads the preamble and answers.
func welcomePlain(ctx context.Context, c *net.TCPConn, self Identity) (net.Conn, Protocol, error) {
	defer bound(ctx, c)()
	said, err := readPreamble(c)
	if errors.Is(err, errNotPreamble) {
		sendRefusal(ctx, c, statusPlain)
	}
	if err != nil {
		return nil, "", err
	}
	if _, ok := protocolOf(alpn(said.protocol)); !ok || said.protocol == Operator || said.status != statusOK {
		return nil, "", errNoProtocol // without a key a role is what somebody says of himself
	}
	if err := mayOpen(said.protocol, said.self.Role); err != nil {
		return nil, "", err
	}
	if _, err := c.Write(preamble{protocol: said.protocol, self: self}.encode()); err != nil {
		return nil, "", fmt.Errorf("answer the greeting: %w", err)
	}
	conn, err := settle(ctx, c, said.self)
	return conn, said.protocol, err
}

// readPreamble reads the magic first: what is not a peer is found out after five bytes.
func readPreamble(r io.Reader) (preamble, error) {
	b := make([]byte, preambleSize)
	n := len(preambleMagic)
	if _, err := io.ReadFull(r, b[:n]); err != nil {
		return preamble{}, fmt.Errorf("read the greeting: %w", err)
	}
	if !isMagic(b) {
		return preamble{}, errNotPreamble
	}
	if _, err := io.ReadFull(r, b[n:]); err != nil {
		return preamble{}, fmt.Errorf("read the greeting: %w", err)
	}
	return decodePreamble(b)
}

// bound makes reads and writes of c end with ctx; the returned function ends that.
func bound(ctx context.Context, c net.Conn) func() {
	if deadline, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(deadline)
	}
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	return func() { stop() }
}

// settle clears the handshake's deadline, unless ctx has ended meanwhile.
func settle(ctx context.Context, c *net.TCPConn, peer Identity) (net.Conn, error) {
	if err := unbound(ctx, c); err != nil {
		return nil, err
	}
	return &plainConn{TCPConn: c, peer: peer}, nil
}

func unbound(ctx context.Context, c net.Conn) error {
	if err := c.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear the deadline: %w", err)
	}
	return ctx.Err()
}
