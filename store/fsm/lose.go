package fsm

import (
	"fmt"
	"slices"

	"meshnode/store/spec"
)

// Lose gives servers up for good: they were lost together with the majority that they made, and what they say counts no more.
type Lose struct {
	// Servers are Raft identities. One that is given up already is no error.
	Servers []string `json:"servers"`
}

func (l *Lose) validate() error {
	if len(l.Servers) == 0 || len(l.Servers) > spec.MaxLost || slices.Contains(l.Servers, "") {
		return fmt.Errorf("servers: %d identities, want 1 to %d", len(l.Servers), spec.MaxLost)
	}
	return nil
}

// lose remembers the servers, those that were lost last when they are too many.
func lose(next *spec.Cluster, l *Lose) error {
	lost := slices.Clone(next.Lost)
	for _, id := range l.Servers {
		if !slices.Contains(lost, id) {
			lost = append(lost, id)
		}
	}
	next.Lost = lost[max(0, len(lost)-spec.MaxLost):]
	return nil
}
