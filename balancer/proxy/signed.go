package proxy

import (
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"net"
)

// signer is a stream in plain text whose two ends share a secret. What the nodes say to each other on it, before it is a client's, is followed
// by a MAC, which no other stream can have.
type signer interface {
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

// checkSigned reads the MAC behind a message, on a stream that has them.
func checkSigned(stream net.Conn, purpose string, message []byte) error {
	s, ok := stream.(signer)
	if !ok {
		return nil
	}
	want := s.Sign(purpose, message)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(stream, got); err != nil {
		return fmt.Errorf("read the signature: %w", err)
	}
	if !hmac.Equal(got, want) {
		return errForged
	}
	return nil
}
