package mesh

import (
	"bytes"
	"io"
	"log"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
)

// memberlistLines is how many lines memberlist may log a second. It writes one for every packet it cannot read, and anybody can send those.
const memberlistLines = 20

// memberLog passes memberlist's lines on to hclog, with their levels, and leaves out what is too much.
type memberLog struct {
	log hclog.Logger
	out io.Writer

	mu     sync.Mutex
	window time.Time // beginning of the current second
	lines  int
	left   int // out, in this window
}

// newMemberLog returns the logger for memberlist.
func newMemberLog(logger hclog.Logger) *log.Logger {
	named := logger.Named("memberlist")
	return log.New(&memberLog{log: named, out: named.StandardWriter(&hclog.StandardLoggerOptions{InferLevels: true})}, "", 0)
}

// Write implements io.Writer: b is one line. It never fails.
func (m *memberLog) Write(b []byte) (int, error) {
	// Its warnings tell of single packets; what became of a member is said by whoever watches the members.
	if !bytes.HasPrefix(b, []byte("[ERR")) && !m.log.IsDebug() {
		return len(b), nil
	}
	m.mu.Lock()
	now := time.Now()
	left := 0
	if now.Sub(m.window) >= time.Second {
		left, m.window, m.lines, m.left = m.left, now, 0, 0
	}
	m.lines++
	pass := m.lines <= memberlistLines
	if !pass {
		m.left++
	}
	m.mu.Unlock()
	if left > 0 {
		m.log.Warn("left out messages of memberlist, there were too many", "count", left)
	}
	if pass {
		_, _ = m.out.Write(b)
	}
	return len(b), nil
}
