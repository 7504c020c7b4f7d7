package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
)

// MaxApps is the largest number of apps in a cluster.
const MaxApps = 1024

// MaxLost is how many of the servers that were given up are remembered.
const MaxLost = 256

// Cluster is everything the cluster agrees on, at one Raft index. It is immutable once published: readers share it.
type Cluster struct {
	// ID is the cluster's identity; empty until the founder's first command is applied.
	ID string `json:"id"`
	// Index is the Raft index of the last command applied, whether it changed anything or was refused.
	Index uint64 `json:"index"`
	// Apps holds every app by its name. Never nil in a published value.
	Apps map[string]App `json:"apps"`
	// History holds the former releases of every app by its name, by number, at most MaxHistory of each.
	History map[string][]Past `json:"history,omitempty"`
	// Settings holds the settings that are not at their default, at most MaxSettings.
	Settings map[string]string `json:"settings,omitempty"`
	// Lost holds the Raft identities of servers that were given up for good, in the order in which they were, the last MaxLost: they are no
	// part of the cluster any more, whatever they say.
	Lost []string `json:"lost,omitempty"`
	// Trusted holds how servers that had no key were let in, by their identity, at most MaxTrusted.
	Trusted map[string]Trusted `json:"trusted,omitempty"`
	// Tokens holds the join tokens, by the SHA-256 of their secret in hexadecimal, at most MaxTokens.
	Tokens map[string]Token `json:"tokens,omitempty"`
	// Operators are those who may ask from elsewhere, by name, at most MaxOperators.
	Operators map[string]Operator `json:"operators,omitempty"`
}

// GaveUp reports whether the server with that identity was given up for good.
func (c *Cluster) GaveUp(id string) bool { return slices.Contains(c.Lost, id) }

// Hash returns the SHA-256 of the canonical JSON of the content (all but Index) in hexadecimal. Two nodes with
// the same Index must have the same Hash; that Index is left out makes the value stay put while nothing changes.
func (c *Cluster) Hash() string {
	content := struct {
		ID      string            `json:"id"`
		Apps    map[string]App    `json:"apps"`
		History map[string][]Past `json:"history,omitempty"`

		Settings  map[string]string   `json:"settings,omitempty"`
		Lost      []string            `json:"lost,omitempty"`
		Trusted   map[string]Trusted  `json:"trusted,omitempty"`
		Tokens    map[string]Token    `json:"tokens,omitempty"`
		Operators map[string]Operator `json:"operators,omitempty"`
	}{c.ID, c.Apps, c.History, c.Settings, c.Lost, c.Trusted, c.Tokens, c.Operators}
	if content.Apps == nil {
		content.Apps = map[string]App{}
	}
	// Strings, numbers and maps of them always marshal, and encoding/json sorts the keys; only a NaN could fail here,
	// and Validate and the decoder both refuse that.
	text, err := json.Marshal(content)
	if err != nil {
		return "unhashable: " + err.Error()
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}
