package mux

import (
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
)

// keyPrefix names the text form, so that a key is recognised wherever it is pasted and a later form can be told apart.
const keyPrefix = "mk1-"

// keySize is the length of the secret in bytes.
const keySize = 32

// ErrKeyMistyped says that a text is not a cluster key: cut short, or with a wrong character in it. A well-formed key of another cluster
// is not an error here; it is found out by the first peer (ErrWrongKey).
var ErrKeyMistyped = errors.New("this is not a cluster key: it starts with \"mk1-\" and has 52 characters, check that it was copied whole")

// Key is the cluster key: the one secret that all nodes of a cluster share. Gossip encryption and the certificate authority are derived
// from it and are never stored. The zero Key is not a valid key; make one with NewKey or ParseKey.
//
// String is the only way to its text: formatting a Key with any verb of package fmt prints a placeholder, so that it cannot reach a log by
// accident.
type Key struct {
	secret [keySize]byte
}

// NewKey returns a new random key.
func NewKey() (Key, error) {
	var k Key
	if _, err := rand.Read(k.secret[:]); err != nil {
		return Key{}, fmt.Errorf("make a cluster key: %w", err)
	}
	return k, nil
}

// ParseKey reads the text form of a key; space around it is ignored. Every error is ErrKeyMistyped, and no error repeats the text.
func ParseKey(text string) (Key, error) {
	body, ok := strings.CutPrefix(strings.TrimSpace(text), keyPrefix)
	if !ok || len(body) != base64.RawURLEncoding.EncodedLen(keySize+4) { // line ends within it are nothing to the decoder
		return Key{}, ErrKeyMistyped
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(body)
	if err != nil || len(raw) != keySize+4 {
		return Key{}, ErrKeyMistyped
	}
	if crc32.Checksum(raw[:keySize], castagnoli()) != binary.BigEndian.Uint32(raw[keySize:]) {
		return Key{}, ErrKeyMistyped
	}
	var k Key
	copy(k.secret[:], raw)
	return k, nil
}

// String returns the text form: "mk1-" and 48 characters of base64url that hold the secret and its CRC32C. It is the secret: print it only
// to the operator.
func (k Key) String() string {
	raw := binary.BigEndian.AppendUint32(k.secret[:keySize:keySize], crc32.Checksum(k.secret[:], castagnoli()))
	return keyPrefix + base64.RawURLEncoding.EncodeToString(raw)
}

// Format implements fmt.Formatter: a placeholder for every verb.
func (k Key) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "[cluster key]")
}

// Gossip returns the 32-byte AES-256 key of the gossip packets.
func (k Key) Gossip() []byte {
	return k.derive("meshnode gossip aes-256 v1")
}

// authority returns the private key of the cluster's certificate authority, the same on every node.
func (k Key) authority() ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(k.derive("meshnode certificate authority ed25519 v1"))
}

// derive returns 32 bytes that depend on the secret and the purpose (HKDF-SHA256, RFC 5869).
func (k Key) derive(purpose string) []byte {
	out, err := hkdf.Key(sha256.New, k.secret[:], nil, purpose, keySize)
	if err != nil {
		// Only a length above 255 hashes or a secret too short for FIPS mode can fail, and both are constants here.
		panic(fmt.Sprintf("mux: derive %s: %v", purpose, err))
	}
	return out
}

func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }
