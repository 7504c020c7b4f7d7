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
		o.Exclude = peerGone
	}
	return hclog.New(o)
}

// peerGone drops what raft reports as errors, several times a second, while a peer is down or a stream closes, as in every orderly stop.
// That a member failed is said once, by package node.
func peerGone(_ hclog.Level, msg string, _ ...any) bool {
	switch msg {
	case "failed to decode incoming command", "failed to flush response", "failed to heartbeat to", "failed to appendEntries to",
		"failed to make requestVote RPC", "failed to pipeline appendEntries", "failed to send snapshot to":
		return true
	}
	return false
}
