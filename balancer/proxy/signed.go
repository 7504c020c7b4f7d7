package proxy

import (
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
)

// signer is a stream in plain text whose two ends share a secret. What the nodes say to each other on it, before it is a client's, is followed
// by a MAC, which no other stream can have.
type signer interface {
	// Sign returns the MAC of a message: HMAC-SHA256.
	Sign(purpose string, message []byte) []byte
}

// What a MAC is for.
const (
	signPreamble = "preamble"
	signAnswer   = "answer"
)

// turned is what a MAC is for in the given question on its stream, of which the first is 0: what was said to one means nothing in the next.
func turned(purpose string, turn int) string {
	if turn == 0 {
		return purpose
	}
	return fmt.Sprintf("%s %d", purpose, turn)
}

// errForged means that a signed stream says what was not signed.
var errForged = errors.New("the signature does not match")

// signed appends a message's MAC to it, on a stream that has them.
func signed(stream net.Conn, purpose string, message []byte) []byte {
	if s, ok := stream.(signer); ok {
		return append(message, s.Sign(purpose, message)...)
	}
	return message
}

// macSize is the length of the MAC behind each message on a stream (bytes), 0 where there is none.
func macSize(stream net.Conn) int {
	if _, ok := stream.(signer); ok {
		return sha256.Size
	}
	return 0
}

// validMAC reports whether a MAC is the message's, or none is wanted.
func validMAC(stream net.Conn, purpose string, message, mac []byte) bool {
	s, ok := stream.(signer)
	return !ok || hmac.Equal(mac, s.Sign(purpose, message))
}

// checkSigned reads the MAC behind a message, on a stream that has them.
func checkSigned(stream net.Conn, purpose string, message []byte) error {
	got := make([]byte, macSize(stream))
	if _, err := io.ReadFull(stream, got); err != nil {
		return fmt.Errorf("read the signature: %w", err)
	}
	if !validMAC(stream, purpose, message, got) {
		return errForged
	}
	return nil
}
