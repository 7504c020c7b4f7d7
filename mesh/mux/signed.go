package mux

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
)

// signedForward is what a preamble names to ask a secure port for a forward in plain text. It is not among the protocols of TLS. Ports that
// do not know it answer as to anybody who comes without TLS.
const signedForward Protocol = "signed-forward"

const (
	nonceSize = 16
	macSize   = sha256.Size
)

// The greeting of a signed stream, in front of which no TLS stands:
//
//	dialing side    preamble, nonce
//	accepting side  preamble, nonce, MAC of "welcome"
//	dialing side    MAC of "hello"
//
// All MACs are HMAC-SHA256 under a key of this one stream: the HMAC of both sides' preambles and nonces under a key derived from the cluster
// key. Both nonces are fresh, so nothing said on one stream means anything on another.

// signedConn is a stream in plain text whose two ends have proved that they hold the cluster key.
type signedConn struct {
	*net.TCPConn
	key []byte
}

// Sign returns the MAC of a message on this stream, under what it is for.
func (c *signedConn) Sign(purpose string, message []byte) []byte {
	h := hmac.New(sha256.New, c.key)
	h.Write([]byte(purpose))
	h.Write([]byte{0})
	h.Write(message)
	return h.Sum(nil)
}

// newSigned returns the stream after a greeting of which both sides' parts are given.
func (k Key) newSigned(c *net.TCPConn, greeting ...[]byte) *signedConn {
	h := hmac.New(sha256.New, k.derive("meshnode signed forward hmac-sha256 v1"))
	for _, b := range greeting { // each of a fixed length
		h.Write(b)
	}
	return &signedConn{TCPConn: c, key: h.Sum(nil)}
}

func newNonce() ([]byte, error) {
	b := make([]byte, nonceSize)
	if _, err := rand.Read(b); err != nil {
		return nil, fmt.Errorf("make a nonce: %w", err)
	}
	return b, nil
}

// DialSigned opens a stream for a forward to a peer in plain text, both sides having proved that they hold the cluster key. What is said on it
// before it is a client's can be signed (Sign); the client's bytes are neither secret nor protected. It blocks as Dial does. A peer that does not
// know this is an ErrPeerSecure; without a cluster key it is the same as Dial.
func (m *Mux) DialSigned(ctx context.Context, addr string) (net.Conn, error) {
	if m.secure.Load() == nil {
		return m.Dial(ctx, Forward, addr)
	}
	return m.dial(ctx, signedForward, addr, m.greetSigned)
}

func (m *Mux) greetSigned(ctx context.Context, c *net.TCPConn) (net.Conn, error) {
	defer bound(ctx, c)()
	nonce, err := newNonce()
	if err != nil {
		return nil, err
	}
	own := append(preamble{protocol: signedForward, self: m.self}.encode(), nonce...)
	if _, err := c.Write(own); err != nil {
		return nil, fmt.Errorf("send the greeting: %w", err)
	}
	theirs := make([]byte, preambleSize+nonceSize+macSize)
	if _, err := io.ReadFull(c, theirs[:preambleSize]); err != nil {
		return nil, fmt.Errorf("read the greeting: %w", err)
	}
	answer, err := decodePreamble(theirs[:preambleSize])
	switch {
	case err != nil:
		return nil, err
	case answer.status == statusSecure:
		return nil, ErrPeerSecure
	case answer.status != statusOK:
		return nil, fmt.Errorf("the other side refused with status %d", answer.status)
	}
	if _, err := io.ReadFull(c, theirs[preambleSize:]); err != nil {
		return nil, fmt.Errorf("read the greeting: %w", err)
	}
	said, mac := theirs[:preambleSize+nonceSize], theirs[preambleSize+nonceSize:]
	var conn *signedConn
	for _, key := range m.secure.Load().keys { // the other side says which, by signing with it
		if s := key.newSigned(c, own, said); hmac.Equal(mac, s.Sign("welcome", nil)) {
			conn = s
			break
		}
	}
	if conn == nil {
		return nil, ErrWrongKey
	}
	if _, err := c.Write(conn.Sign("hello", nil)); err != nil {
		return nil, fmt.Errorf("send the greeting: %w", err)
	}
	return conn, unbound(ctx, c)
}

// welcomeSigned is the accepting side, after the preamble's magic was read.
func (m *Mux) welcomeSigned(ctx context.Context, c *net.TCPConn, magic []byte) (net.Conn, Protocol, error) {
	defer bound(ctx, c)()
	theirs := make([]byte, preambleSize+nonceSize)
	copy(theirs, magic)
	if _, err := io.ReadFull(c, theirs[len(magic):preambleSize]); err != nil {
		return nil, "", fmt.Errorf("read the greeting: %w", err)
	}
	asked, err := decodePreamble(theirs[:preambleSize])
	if err != nil || asked.protocol != signedForward || asked.status != statusOK {
		sendRefusal(ctx, c, statusSecure)
		return nil, "", ErrPeerInsecure
	}
	if err := mayOpen(Forward, asked.self.Role); err != nil {
		return nil, "", err
	}
	if _, err := io.ReadFull(c, theirs[preambleSize:]); err != nil {
		return nil, "", fmt.Errorf("read the greeting: %w", err)
	}
	nonce, err := newNonce()
	if err != nil {
		return nil, "", err
	}
	own := append(preamble{protocol: signedForward, self: m.self}.encode(), nonce...)
	conn := m.secure.Load().keys[0].newSigned(c, theirs, own)
	if _, err := c.Write(append(bytes.Clone(own), conn.Sign("welcome", nil)...)); err != nil {
		return nil, "", fmt.Errorf("answer the greeting: %w", err)
	}
	mac := make([]byte, macSize)
	if _, err := io.ReadFull(c, mac); err != nil {
		return nil, "", fmt.Errorf("read the greeting: %w", err)
	}
	if !hmac.Equal(mac, conn.Sign("hello", nil)) {
		return nil, "", ErrWrongKey
	}
	return conn, Forward, unbound(ctx, c)
}
