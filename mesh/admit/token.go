package admit

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// tokenPrefix names the text form.
const tokenPrefix = "mt1-"

// Sizes of a token's parts in bytes.
const (
	secretSize  = 16
	clusterSize = 16
	sumSize     = 4
)

// ErrToken says that a text is no token.
var ErrToken = errors.New("this is not a join token: it starts with \"mt1-\" and has 52 characters, check that it was copied whole")

// Token lets a server in that has no key: a secret, and the fingerprint of the cluster, so that the secret is told to a server of that cluster alone.
// Make one with NewToken or ParseToken. Formatting a Token with any verb of package fmt prints a placeholder; String is the only way to its text.
type Token struct {
	secret  [secretSize]byte
	cluster [clusterSize]byte
}

// NewToken returns a new token of the cluster with that fingerprint, of 16 bytes.
func NewToken(cluster []byte) (Token, error) {
	var t Token
	if copy(t.cluster[:], cluster) != clusterSize {
		return Token{}, fmt.Errorf("make a token: a fingerprint of %d bytes", len(cluster))
	}
	if _, err := rand.Read(t.secret[:]); err != nil {
		return Token{}, fmt.Errorf("make a token: %w", err)
	}
	return t, nil
}

// ParseToken reads the text form; space around it is ignored. Every error is ErrToken, and none repeats the text.
func ParseToken(text string) (Token, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), tokenPrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(secretSize+clusterSize+sumSize) {
		return Token{}, ErrToken
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(raw) != secretSize+clusterSize+sumSize || binary.BigEndian.Uint32(raw[secretSize+clusterSize:]) != sumOf(raw[:secretSize+clusterSize]) {
		return Token{}, ErrToken
	}
	var t Token
	copy(t.secret[:], raw)
	copy(t.cluster[:], raw[secretSize:])
	return t, nil
}

// String returns the text form, which is a secret.
func (t Token) String() string {
	raw := append(t.secret[:secretSize:secretSize], t.cluster[:]...)
	return tokenPrefix + base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(raw, sumOf(raw)))
}

// Format implements fmt.Formatter: a placeholder for every verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[join token]") }

// Cluster returns the fingerprint of the token's cluster.
func (t Token) Cluster() []byte { return t.cluster[:] }

// Hash returns what a cluster keeps of the token.
func (t Token) Hash() string { return HashSecret(t.secret[:]) }

// HashSecret is Token.Hash for a secret that came over the wire: SHA-256 in hexadecimal.
func HashSecret(secret []byte) string {
	sum := sha256.Sum256(secret)
	return hex.EncodeToString(sum[:])
}

func sumOf(b []byte) uint32 { return crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)) }
