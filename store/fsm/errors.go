package fsm

import "errors"

var (
	// ErrConflict is the answer to a command based on an app or a cluster that has changed since.
	ErrConflict = errors.New("changed by somebody else in the meantime")
	// ErrNotFound is the answer to a command about an app that does not exist.
	ErrNotFound = errors.New("no such app")
	// ErrExists is the answer to a Put that demands that the app does not exist yet.
	ErrExists = errors.New("the app exists already")
	// ErrRollout is the answer to a Put of a new release while another is still being rolled out.
	ErrRollout = errors.New("a rollout is under way")
	// ErrTooMany is the answer to a command that would pass a limit: of apps, of learned addresses, or of turns in a rollout.
	ErrTooMany = errors.New("too many")
	// ErrHalted is the answer of a machine that met a command it cannot read; see Machine.Fault.
	ErrHalted = errors.New("the configuration on this node is halted")

	// ErrInvalid reports a command that must not be proposed.
	ErrInvalid = errors.New("invalid command")
	// ErrCorrupt reports bytes that are damaged or were never a command or a state.
	ErrCorrupt = errors.New("damaged bytes")
	// ErrUnsupported reports a kind or version of command that this release does not know.
	ErrUnsupported = errors.New("written by a newer release")
	// ErrTooLarge reports a command or state over its size limit.
	ErrTooLarge = errors.New("too large")
)
