package node

import (
	"encoding/json"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"meshnode/balancer/datagram"
	"meshnode/node/supervisor/keeper"
)

const (
	keptSessions = "session/" // the beginning of the names under which the keeper has sessions of datagrams from one binary to the next
	sessionsMany = 24         // of them under one name (count)
)

// passSessions leaves the sessions of datagrams with the keeper, for the successor.
func (n *Node) passSessions() {
	names := 0
	err := n.datagrams.Pass(sessionsMany, func(some []datagram.Passed) error {
		meta, err := json.Marshal(some)
		if err != nil {
			return err
		}
		fds := make([]int, len(some))
		for i, p := range some {
			fds[i] = p.FD
		}
		names++
		return n.o.Keeper.Hold(fmt.Sprint(keptSessions, names), meta, fds...)
	})
	if err != nil {
		n.log.Warn("some clients of datagrams may get another worker", "err", err)
	}
}

// takeSessions takes what a predecessor has left. Their descriptors are the caller's.
func takeSessions(from *keeper.Client, kept []keeper.Kept) []datagram.Passed {
	var out []datagram.Passed
	for _, e := range kept {
		if !strings.HasPrefix(e.Name, keptSessions) {
			continue
		}
		var some []datagram.Passed
		if err := json.Unmarshal(e.Meta, &some); err != nil || len(some) != len(e.FDs) {
			for _, fd := range e.FDs {
				unix.Close(fd) // of a binary that writes it otherwise
			}
			some = nil
		}
		for i, p := range some {
			p.FD = e.FDs[i]
			out = append(out, p)
		}
		_ = from.Drop(e.Name) // a keeper that is gone keeps nothing
	}
	return out
}
