package admit

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// Kinds of messages. A message is kind u8, length of the body u16 (big endian), and the body.
const (
	kindAsk     = 1  // newcomer: version u8, commitment, who
	kindNonce   = 2  // desk: random value
	kindReveal  = 3  // newcomer: random value
	kindProof   = 4  // desk: own half of the code
	kindYes     = 5  // newcomer: it is
	kindNo      = 6  // newcomer: it is not
	kindKey     = 7  // desk: the key
	kindKept    = 8  // newcomer: the key is stored
	kindRefused = 9  // desk: code u8, text
	kindWaits   = 10 // desk: the request stands, its code may be typed
	kindToken   = 11 // newcomer: version u8, secret of a token, who
)

// version of this protocol.
const version = 1

// Limits in bytes.
const (
	maxBody    = 512
	maxWord    = 128 // of a name, an identity, a release
	maxText    = 200 // of a refusal
	randomSize = 32
	hashSize   = 32
)

var (
	errMalformed = errors.New("malformed message")
	errTurn      = errors.New("a message out of turn")
)

// Newcomer says who asks.
type Newcomer struct {
	Name    string // Name is the node name.
	ID      string // ID is the node's identity.
	Release string // Release of its binary.
}

// Refusal is why a desk does not let a newcomer in, in words for the newcomer's operator.
type Refusal struct {
	Code byte   // Code is one of the codes below.
	Text string // Text is one plain sentence without full stop, with the remedy.
}

func (r *Refusal) Error() string { return r.Text }

// Codes of Refusal.
const (
	RefusedBusy    byte = 1 // too many wait: try again
	RefusedExpired byte = 2 // it has waited for too long: ask anew
	RefusedOther   byte = 3 // this cannot succeed
)

// Final reports whether asking again cannot help.
func (r *Refusal) Final() bool { return r.Code == RefusedOther }

func writeMessage(w io.Writer, kind byte, body []byte) error {
	b := binary.BigEndian.AppendUint16([]byte{kind}, uint16(len(body)))
	if _, err := w.Write(append(b, body...)); err != nil {
		return fmt.Errorf("send: %w", err)
	}
	return nil
}

func readMessage(r io.Reader) (kind byte, body []byte, err error) {
	var head [3]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, fmt.Errorf("read: %w", err)
	}
	n := int(binary.BigEndian.Uint16(head[1:]))
	if n > maxBody {
		return 0, nil, fmt.Errorf("%w: %d bytes", errMalformed, n)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, fmt.Errorf("read: %w", err)
	}
	return head[0], body, nil
}

// expect reads a message that must be of that kind and of that length; a refusal in its place is the error.
func expect(r io.Reader, want byte, size int) ([]byte, error) {
	kind, body, err := readMessage(r)
	if err != nil {
		return nil, err
	}
	return check(kind, body, want, size)
}

// check is expect for a message that has been read; size -1 is any length.
func check(kind byte, body []byte, want byte, size int) ([]byte, error) {
	switch {
	case kind == kindRefused && want != kindRefused:
		refusal, err := decodeRefusal(body)
		if err != nil {
			return nil, err
		}
		return nil, refusal
	case kind != want:
		return nil, fmt.Errorf("%w: kind %d for %d", errTurn, kind, want)
	case size >= 0 && len(body) != size:
		return nil, fmt.Errorf("%w: %d bytes for %d", errMalformed, len(body), size)
	}
	return body, nil
}

// appendAsk appends the body of an ask.
func appendAsk(b, commitment []byte, who Newcomer) []byte {
	b = append(b, version)
	b = append(b, commitment...)
	return appendNewcomer(b, who)
}

func decodeAsk(b []byte) (commitment []byte, who Newcomer, err error) {
	if len(b) < 1+hashSize {
		return nil, Newcomer{}, errMalformed
	}
	if b[0] != version {
		return nil, Newcomer{}, fmt.Errorf("%w: version %d, this release speaks %d", errMalformed, b[0], version)
	}
	commitment = b[1 : 1+hashSize]
	who, err = decodeNewcomer(b[1+hashSize:])
	return commitment, who, err
}

// appendToken appends the body of a token's message.
func appendToken(b, secret []byte, who Newcomer) []byte {
	b = append(b, version)
	b = append(b, secret...)
	return appendNewcomer(b, who)
}

func decodeToken(b []byte) (secret []byte, who Newcomer, err error) {
	if len(b) < 1+secretSize || b[0] != version {
		return nil, Newcomer{}, errMalformed
	}
	secret = b[1 : 1+secretSize]
	who, err = decodeNewcomer(b[1+secretSize:])
	return secret, who, err
}

func appendNewcomer(b []byte, who Newcomer) []byte {
	for _, word := range []string{who.Name, who.ID, who.Release} {
		b = append(b, byte(len(word)))
		b = append(b, word...)
	}
	return b
}

// decodeNewcomer reads three words and nothing behind them.
func decodeNewcomer(b []byte) (Newcomer, error) {
	var words [3]string
	for i := range words {
		if len(b) == 0 || int(b[0]) > maxWord || len(b) < 1+int(b[0]) {
			return Newcomer{}, errMalformed
		}
		words[i], b = string(b[1:1+int(b[0])]), b[1+int(b[0]):]
		if !printable(words[i]) {
			return Newcomer{}, errMalformed
		}
	}
	who := Newcomer{Name: words[0], ID: words[1], Release: words[2]}
	if len(b) != 0 || who.Name == "" || who.ID == "" {
		return Newcomer{}, errMalformed
	}
	return who, nil
}

// validate reports what decodeNewcomer would refuse.
func (n Newcomer) validate() error {
	for _, word := range []string{n.Name, n.ID, n.Release} {
		if len(word) > maxWord || !printable(word) {
			return fmt.Errorf("%q is longer than %d bytes, or cannot be printed", word, maxWord)
		}
	}
	if n.Name == "" || n.ID == "" {
		return errors.New("a newcomer needs a name and an identity")
	}
	return nil
}

// printable keeps what a terminal would obey out of lists and logs.
func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 })
}

func (r *Refusal) encode() []byte {
	return append([]byte{r.Code}, r.Text[:min(len(r.Text), maxText)]...)
}

func decodeRefusal(b []byte) (*Refusal, error) {
	if len(b) < 2 || len(b) > 1+maxText || !printable(string(b[1:])) {
		return nil, fmt.Errorf("%w: a refusal of %d bytes", errMalformed, len(b))
	}
	return &Refusal{Code: b[0], Text: string(b[1:])}, nil
}
