package spec

import (
	"encoding/hex"
	"errors"
	"fmt"
	"time"
)

// Limits of what is kept about who may join.
const (
	// MaxTrusted is the largest number of servers whose admission is remembered.
	MaxTrusted = 1024
	// MaxTokens is the largest number of join tokens, those that are used up or expired included.
	MaxTokens = 64
	// MaxTokenUses is the largest number of servers that one token lets in.
	MaxTokenUses = 1000
	// MaxTokenTime is the longest time that a token holds.
	MaxTokenTime = 30 * 24 * time.Hour
)

// Ways in which a server was let in.
const (
	TrustedByKey   = "key"   // it had the cluster key from the beginning
	TrustedByCode  = "code"  // its code was typed on a server of the cluster
	TrustedByToken = "token" // it came with a join token
)

// Trusted says since when and how a server has the cluster key from the cluster.
type Trusted struct {
	Since int64  `json:"since"` // Unix time, by the clock of the server that gave it
	By    string `json:"by"`    // TrustedByCode or TrustedByToken
}

// Token is a join token, of whose secret only the hash is kept.
type Token struct {
	Made    int64 `json:"made"`    // Unix time, by the clock of the server that was asked
	Expires int64 `json:"expires"` // Unix time; from then on it lets nobody in
	Uses    int   `json:"uses"`    // servers that it still lets in; 0 = it is used up
}

// Validate reports every problem of a new token.
func (t Token) Validate() error {
	var problems []error
	if t.Uses < 1 || t.Uses > MaxTokenUses {
		problems = append(problems, fmt.Errorf("uses: %d is not between 1 and %d", t.Uses, MaxTokenUses))
	}
	if t.Made <= 0 || t.Expires <= t.Made || t.Expires-t.Made > int64(MaxTokenTime/time.Second) {
		problems = append(problems, fmt.Errorf("expires: the time is not between a second and %d days", MaxTokenTime/(24*time.Hour)))
	}
	return errors.Join(problems...)
}

// ValidateTokenHash checks the hash that a token is filed under: SHA-256 in hexadecimal.
func ValidateTokenHash(hash string) error {
	if b, err := hex.DecodeString(hash); err != nil || len(b) != 32 || hex.EncodeToString(b) != hash {
		return errors.New("hash: no SHA-256 in hexadecimal")
	}
	return nil
}
