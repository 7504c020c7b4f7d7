package telemetry

import (
	"io"

	"github.com/hashicorp/go-hclog"
)

// NewLogger returns the root logger. level is one of hclog's level names; loggers named below it may be made quieter one by one.
func NewLogger(out io.Writer, level string, json bool) hclog.Logger {
	o := &hclog.LoggerOptions{Name: "meshnode", Level: hclog.LevelFromString(level), Output: out, JSONFormat: json,
		IndependentLevels: true, TimeFormat: "2006-01-02T15:04:05.000Z0700"}
	if o.Level > hclog.Debug {
		o.Exclude = closedStream
	}
	return hclog.New(o)
}

// closedStream drops what raft's transport reports as errors whenever a peer, or this node, closes a stream: every orderly stop.
func closedStream(_ hclog.Level, msg string, _ ...any) bool {
	return msg == "failed to decode incoming command" || msg == "failed to flush response"
}
