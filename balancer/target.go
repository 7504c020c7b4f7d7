package balancer

import (
	"errors"
	"net/netip"
	"time"
)

// Kind says what a Target is.
type Kind uint8

// The kinds of targets.
const (
	KindWorker Kind = iota + 1 // KindWorker is a process on this node.
	KindPeer                   // KindPeer is another node, which serves the connection with a worker of its own.
)

// Target is what a connection may be sent to. ID is a worker's ID, or a peer's node name.
type Target struct {
	Kind Kind
	ID   string
}

// PickInfo describes the connection to be placed.
type PickInfo struct {
	Now       time.Time  // Now is the moment of the decision, on the caller's monotonic clock.
	Rand      uint64     // Rand is entropy for this one decision.
	Client    netip.Addr // Client is the client's address, for PolicyHash; it may be unknown.
	LocalOnly bool       // LocalOnly is set for a forwarded connection: it is never forwarded again.
	Tried     []string   // Tried holds IDs of targets that have refused this connection; they are not chosen.
	Waiter    *Waiter    // Waiter is the connection's place in the queue, if it has one.
}

// PickResult is a claimed target. The holder calls Taken when the target took the connection over, and Done exactly once when
// the connection is over or the target did not take it; further calls of either do nothing.
type PickResult struct {
	Target Target
	picker *Picker
	claim  *claim
}

// Taken notes that the target took the connection over.
func (r PickResult) Taken() {
	if r.claim != nil {
		r.picker.taken(r.claim)
	}
}

// Ended notes that the target has sent all it will: it serves the connection no more, and the claim counts neither as load nor against a limit from
// here on. It is still to be given back with Done.
func (r PickResult) Ended(now time.Time) {
	if r.claim != nil {
		r.picker.ended(r.claim, now)
	}
}

// Done gives the claim back.
func (r PickResult) Done(d DoneInfo) {
	if r.claim != nil {
		r.picker.release(r.claim, d)
	}
}

// DoneInfo says how a claim ended.
type DoneInfo struct {
	Now     time.Time // Now is the moment of the end, on the same clock as PickInfo.Now.
	Refused bool      // Refused means that the target never took the connection; its time says nothing about service.
	Failed  bool      // Failed means that the target could not be reached at all: a peer is ejected at once.
}

// Worker is a local worker that may be chosen. Window is the number of connections that may be offered to it and not yet
// taken (count, 0 = no bound); an offer to a Node worker cannot be revoked, so the window bounds what waits behind a blocked event loop.
type Worker struct {
	ID     string
	Name   string // Name is the same for the process that takes its place; empty = ID.
	Window int
}

// Report is what a peer says about one app.
type Report struct {
	Ready       int           // Ready is the number of workers that serve the app; those that accept nothing do not, unless that are all (count).
	Hung        bool          // Hung: all of them accept nothing at this moment.
	Outstanding int           // Outstanding is the number of short connections claimed there (count).
	Long        int           // Long is the number of long-lived connections there (count).
	Service     time.Duration // Service is the smoothed time a short connection takes there; 0 = not known.
}

// ErrNoTarget is returned when no worker and no peer can serve the app at this moment.
var ErrNoTarget = errors.New("no worker is ready for this app, here or on any reachable peer")

// ErrBusy is returned when workers are ready but none has room for another connection; wait on Picker.Changed.
var ErrBusy = errors.New("every worker of this app has its window full")

// ErrFull is returned when every worker has as many connections as the app's settings allow, or when waiting for a faster one is expected
// to take less time than the slow one that has room; wait in the queue (Picker.Wait).
var ErrFull = errors.New("every worker of this app has all the connections it may have")

// ErrQueueFull is returned when no more connections may wait.
var ErrQueueFull = errors.New("every worker of this app has all the connections it may have, and no more may wait")
