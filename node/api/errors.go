package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// Codes of Error. Scripts and callers branch on them; they never change.
const (
	CodeNotFound    = "not_found"   // no such app, node or route
	CodeConflict    = "conflict"    // it exists already, or changed in between
	CodeNoQuorum    = "no_quorum"   // too few voters are reachable to change the configuration
	CodeNotLeader   = "not_leader"  // another node must be asked
	CodeInvalid     = "invalid"     // the request itself is wrong
	CodeForbidden   = "forbidden"   // whoever asks may not
	CodeUnavailable = "unavailable" // not now: starting, leaving, overloaded, or too slow
	CodeExpelled    = "expelled"    // the server that asks must end: it is a copy of another one
	CodeFailed      = "failed"      // it was tried and went wrong
	CodeGivenUp     = "given_up"    // the server that asks was given up for good, and is no part of the cluster any more
)

// Error is a failure the operator can act on, the same on both ends of the wire.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`          // what is wrong, one plain sentence without full stop
	Remedy  string `json:"remedy,omitempty"` // what to do about it; empty when there is nothing
}

// Error returns the message and, behind a semicolon, the remedy.
func (e *Error) Error() string {
	if e.Remedy == "" {
		return e.Message
	}
	return e.Message + "; " + e.Remedy
}

// Errorf returns an Error with a formatted message. The remedy is taken as it is and may be empty.
func Errorf(code, remedy, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...), Remedy: remedy}
}

// CodeOf returns the code of the *Error in err's chain, or "" when there is none.
func CodeOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// toError makes an Error of anything a backend returns.
func toError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Errorf(CodeUnavailable, "try again", "the node did not answer in time")
	default:
		return Errorf(CodeFailed, "", "%s", err.Error())
	}
}

func httpStatus(code string) int {
	switch code {
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConflict, CodeGivenUp, CodeExpelled:
		return http.StatusConflict
	case CodeForbidden:
		return http.StatusForbidden
	case CodeInvalid:
		return http.StatusBadRequest
	case CodeNotLeader:
		return http.StatusMisdirectedRequest
	case CodeNoQuorum, CodeUnavailable:
		return http.StatusServiceUnavailable
	default:
		return http.StatusInternalServerError
	}
}
