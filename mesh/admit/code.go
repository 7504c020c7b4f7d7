package admit

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// alphabet has 32 letters and digits, none of which looks like another.
const alphabet = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"

// Letters of the halves of a code.
const (
	boundLetters = 6 // 30 bits
	ownLetters   = 6 // as many
)

// Code is what a newcomer shows and a person types on a server of the cluster. Make one with ParseCode.
type Code struct {
	bound string // both ends of the stream have worked it out
	own   string // the newcomer's alone until the code is typed
}

var errCode = errors.New("a code has twelve letters and digits, like ABCD-EFGH-JKLM")

// ParseCode reads a code as it was typed: capitals or not, with dashes and spaces anywhere.
func ParseCode(text string) (Code, error) {
	text = strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(text))
	if len(text) != boundLetters+ownLetters {
		return Code{}, errCode
	}
	for _, c := range []byte(text) {
		if strings.IndexByte(alphabet, c) < 0 {
			return Code{}, errCode
		}
	}
	return Code{bound: text[:boundLetters], own: text[boundLetters:]}, nil
}

// String returns the code as it is shown: ABCD-EFGH-JKLM.
func (c Code) String() string {
	all := c.bound + c.own
	return all[:4] + "-" + all[4:8] + "-" + all[8:]
}

// boundHalf is the half of the code that hangs on the stream, on who asks, and on a random value of each side.
func boundHalf(binding, ask, fromDesk, fromNewcomer []byte) string {
	h := hmac.New(sha256.New, binding)
	h.Write([]byte("meshnode admit v1\x00"))
	h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(ask)))) // the others are of a fixed length
	h.Write(ask)
	h.Write(fromDesk)
	h.Write(fromNewcomer)
	return letters(h.Sum(nil), boundLetters)
}

// ownHalf makes the half that only the newcomer knows.
func ownHalf() (string, error) {
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("make a code: %w", err)
	}
	return letters(b[:], ownLetters), nil
}

// letters spells the first bits of b, five each; n is at most 12.
func letters(b []byte, n int) string {
	v := binary.BigEndian.Uint64(b)
	out := make([]byte, n)
	for i := range out {
		out[i] = alphabet[v>>59]
		v <<= 5
	}
	return string(out)
}
