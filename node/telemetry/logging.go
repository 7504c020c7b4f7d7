package telemetry

import (
	"io"

	"github.com/hashicorp/go-hclog"
)

// NewLogger returns the root logger. level is one of hclog's level names.
func NewLogger(out io.Writer, level string, json bool) hclog.Logger {
	return hclog.New(&hclog.LoggerOptions{Name: "meshnode", Level: hclog.LevelFromString(level), Output: out, JSONFormat: json,
		TimeFormat: "2006-01-02T15:04:05.000Z0700"})
}
