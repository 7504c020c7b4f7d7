package load

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// Classes of failures. The first half of a name says whether the connection had carried an answer before.
const (
	ReusedEOF      = "reused_eof"
	ReusedReset    = "reused_reset"
	NewEOF         = "new_eof"
	NewReset       = "new_reset"
	ConnectRefused = "connect_refused"
	Timeout        = "timeout"
	WrongAnswer    = "wrong_answer"
	Other          = "other"
)

// errWrong is an answer that is complete, and not the one that was asked for.
var errWrong = errors.New("wrong answer")

// classify puts an error of an exchange into its class.
func classify(err error, reused bool) string {
	var timeout net.Error
	switch {
	case errors.Is(err, errWrong):
		return WrongAnswer
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return Timeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectRefused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return pick(reused, ReusedEOF, NewEOF)
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return pick(reused, ReusedReset, NewReset)
	default:
		return Other
	}
}

func pick(cond bool, yes, no string) string {
	if cond {
		return yes
	}
	return no
}
