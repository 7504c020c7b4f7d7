package store

import (
	"errors"
	"fmt"

	"meshnode/store/fsm"
	"meshnode/store/raftlog"
)

var (
	// ErrNoLeader reports that no leader is known: the change was not made. Traffic is not affected.
	ErrNoLeader = errors.New("the cluster has no leader")
	// ErrTimeout reports that the outcome of a change is unknown: it may still be made.
	ErrTimeout = errors.New("outcome unknown: the change may or may not have been made")
	// ErrBusy reports that too many changes are under way: the change was not made.
	ErrBusy = errors.New("too many changes are under way")
	// ErrSnapshotLost reports a server whose log goes on from a snapshot that is damaged or gone. Its vote must not be given on less than it had.
	ErrSnapshotLost = errors.New("a snapshot that the raft log needs is lost")
	// ErrClosed reports that the store is closed.
	ErrClosed = errors.New("the store is closed")
)

// NotLeaderError reports that the change was not made because another server leads. It names that server.
type NotLeaderError struct {
	// ID is the leader's Raft identity.
	ID string
	// Addr is its peer address, "host:port".
	Addr string
}

// Error implements error.
func (e *NotLeaderError) Error() string {
	return fmt.Sprintf("this node does not lead: %s at %s does", e.ID, e.Addr)
}

// readableCommand tells a command that is damaged from one that this release does not know.
func readableCommand(b []byte) error {
	_, err := fsm.Decode(b)
	if errors.Is(err, fsm.ErrUnsupported) {
		return fmt.Errorf("%w: %w", raftlog.ErrNewer, err)
	}
	return err
}

// Newer reports whether err, of Open, means that a newer release wrote what is in the folder. All of it is there.
func Newer(err error) bool { return errors.Is(err, raftlog.ErrNewer) }

// Unusable reports whether err, of Open, means that the folder has lost part of what this server had confirmed: no start will mend that.
func Unusable(err error) bool {
	return errors.Is(err, raftlog.ErrDamaged) || errors.Is(err, raftlog.ErrLogLost) || errors.Is(err, ErrSnapshotLost)
}
