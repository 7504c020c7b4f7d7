package mux

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// sealedPrefix names the text form of a sealed value, so that a later one can be told apart.
const sealedPrefix = "sealed:v1:"

// ErrSealed says that a sealed value cannot be opened: it was sealed with another key or for another purpose, or is damaged.
var ErrSealed = errors.New("the sealed value was not made with this cluster key, or is damaged")

// Seal returns a text from which only the same key gets the value back, and only for the same purpose: AES-256-GCM, with the purpose as
// additional data. The nonce is an HMAC of purpose and value under a key of its own (as in a synthetic IV, RFC 5297), so that the same value
// gives the same text and a repeated change is none. What the text gives away: that two values of one purpose are equal, and the value's length.
func (k Key) Seal(purpose, value string) string {
	nonce := k.nonceOf(purpose, value)
	out := k.sealer().Seal(nonce, nonce, []byte(value), []byte(purpose))
	return sealedPrefix + base64.RawStdEncoding.EncodeToString(out)
}

// Open returns what Seal has sealed. Every error is an ErrSealed, and none repeats the text.
func (k Key) Open(purpose, sealed string) (string, error) {
	text, ok := strings.CutPrefix(sealed, sealedPrefix)
	if !ok {
		return "", ErrSealed
	}
	raw, err := base64.RawStdEncoding.Strict().DecodeString(text)
	aead := k.sealer()
	if err != nil || len(raw) < aead.NonceSize() {
		return "", ErrSealed
	}
	nonce, rest := raw[:aead.NonceSize()], raw[aead.NonceSize():]
	value, err := aead.Open(nil, nonce, rest, []byte(purpose))
	if err != nil || !hmac.Equal(nonce, k.nonceOf(purpose, string(value))) {
		return "", ErrSealed
	}
	return string(value), nil
}

func (k Key) sealer() cipher.AEAD {
	block, err := aes.NewCipher(k.derive("meshnode sealed values aes-256-gcm v1"))
	if err == nil {
		var aead cipher.AEAD
		if aead, err = cipher.NewGCM(block); err == nil {
			return aead
		}
	}
	panic(fmt.Sprintf("mux: seal: %v", err)) // only another length of key could fail
}

func (k Key) nonceOf(purpose, value string) []byte {
	h := hmac.New(sha256.New, k.derive("meshnode sealed values nonce hmac-sha256 v1"))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(purpose))))
	h.Write([]byte(purpose))
	h.Write([]byte(value))
	return h.Sum(nil)[:12]
}
