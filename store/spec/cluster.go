package spec

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// MaxApps is the largest number of apps in a cluster.
const MaxApps = 1024

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
}

// Hash returns the SHA-256 of the canonical JSON of the content (all but Index) in hexadecimal. Two nodes with
// the same Index must have the same Hash; that Index is left out makes the value stay put while nothing changes.
func (c *Cluster) Hash() string {
	content := struct {
		ID      string            `json:"id"`
		Apps    map[string]App    `json:"apps"`
		History map[string][]Past `json:"history,omitempty"`

		Settings map[string]string `json:"settings,omitempty"`
	}{c.ID, c.Apps, c.History, c.Settings}
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
