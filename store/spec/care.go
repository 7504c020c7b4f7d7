package spec

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// Care is how a node takes care of an app's workers: when it starts them again, how it tells that they are well, and what it keeps
// of their output; how it spreads connections over them, and how it lets clients in.
type Care struct {
	Restart Restart `json:"restart,omitzero"`
	Health  Health  `json:"health,omitzero"`
	Logs    Logs    `json:"logs,omitzero"`
	Balance Balance `json:"balance,omitzero"`
	Clients Clients `json:"clients,omitzero"`
}

// Defaults of Care. Times in seconds, sizes in bytes.
const (
	DefaultMinUptimeSeconds  = 1
	DefaultMaxRestarts       = 16
	DefaultBackoffSeconds    = 0.1
	DefaultIntervalSeconds   = 2
	DefaultTimeoutSeconds    = 1
	DefaultFall              = 3
	DefaultRise              = 2
	DefaultHangSeconds       = 10
	DefaultLogFileBytes      = 50 << 20
	DefaultLogKeep           = 9
	DefaultLogCapBytes       = 1 << 30
	MinLogFileBytes          = 64 << 10
	DefaultWatchDelaySeconds = 1
)

// Restart says when a worker is started again.
type Restart struct {
	// Off leaves a worker that ended by itself ended.
	Off bool `json:"off,omitempty"`
	// StopExitCodes are exit codes after which a worker is not started again.
	StopExitCodes []int `json:"stop_exit_codes,omitempty"`
	// MinUptime is how long a worker must live, ready, for its start not to count as failed, in seconds.
	MinUptime float64 `json:"min_uptime_seconds,omitempty"`
	// Max is after how many failed starts in a row a slot is given up.
	Max int `json:"max,omitempty"`
	// Delay is a fixed wait before each start, in seconds; 0 for the growing one.
	Delay float64 `json:"delay_seconds,omitempty"`
	// Backoff is the first wait of the growing ones, in seconds; each is 1.5 times the one before, up to 15 s.
	Backoff float64 `json:"backoff_seconds,omitempty"`
	// MaxMemory is the resident memory of a worker with all it started, in bytes, beyond which it is replaced; 0 for none.
	MaxMemory uint64 `json:"max_memory_bytes,omitempty"`
	// Cron is when all workers are replaced, one after the other: five fields, or six with seconds first, or @daily and the like.
	Cron string `json:"cron,omitempty"`
	// Watch holds the files and folders whose change replaces the workers, absolute; IgnoreWatch the patterns that do not.
	Watch       []string `json:"watch,omitempty"`
	IgnoreWatch []string `json:"ignore_watch,omitempty"`
	// WatchDelay is how long after the last change, in seconds.
	WatchDelay float64 `json:"watch_delay_seconds,omitempty"`
}

// Health says how a node tells that a worker is well. A worker that is not gets no new connection, and is replaced.
type Health struct {
	// Path is asked for by HTTP, and must be answered with 200 to 399; empty for no check. In mode cluster the worker is asked over
	// a connection of its own.
	Path string `json:"path,omitempty"`
	// TCP checks by connecting alone, in modes port and socket. In mode cluster a worker's event loop is watched anyway.
	TCP bool `json:"tcp,omitempty"`
	// Interval is between two checks, Timeout the longest wait for an answer, in seconds.
	Interval float64 `json:"interval_seconds,omitempty"`
	Timeout  float64 `json:"timeout_seconds,omitempty"`
	// Fall failed checks in a row make a worker ill, Rise good ones well again.
	Fall int `json:"fall,omitempty"`
	Rise int `json:"rise,omitempty"`
	// Hang is how long the event loop of a Node worker may be blocked before it is replaced, in seconds; negative means for ever.
	Hang float64 `json:"hang_seconds,omitempty"`
}

// Logs is what is kept of the workers' output.
type Logs struct {
	// Off keeps nothing.
	Off bool `json:"off,omitempty"`
	// Merge keeps one file for all workers of a node.
	Merge bool `json:"merge,omitempty"`
	// FileBytes is the size at which a file is turned over, Keep how many older ones stay, Cap the size of all files of the app on
	// one node, in bytes.
	FileBytes uint64 `json:"file_bytes,omitempty"`
	Keep      int    `json:"keep,omitempty"`
	Cap       uint64 `json:"cap_bytes,omitempty"`
	// Out, Err and Both are absolute paths of further files for the streams, in the form of PM2.
	Out  string `json:"out,omitempty"`
	Err  string `json:"err,omitempty"`
	Both string `json:"both,omitempty"`
	// DateFormat begins each line of these files, in the form of PM2's log_date_format.
	DateFormat string `json:"date_format,omitempty"`
	// JSON writes one object per line to these files.
	JSON bool `json:"json,omitempty"`
}

func (r Restart) withDefaults() Restart {
	r.MinUptime = orDefault(r.MinUptime, DefaultMinUptimeSeconds)
	r.Backoff = orDefault(r.Backoff, DefaultBackoffSeconds)
	r.WatchDelay = orDefault(r.WatchDelay, DefaultWatchDelaySeconds)
	r.Max = orDefault(r.Max, DefaultMaxRestarts)
	return r
}

func (h Health) withDefaults() Health {
	h.Interval = orDefault(h.Interval, DefaultIntervalSeconds)
	h.Timeout = orDefault(h.Timeout, DefaultTimeoutSeconds)
	h.Fall = orDefault(h.Fall, DefaultFall)
	h.Rise = orDefault(h.Rise, DefaultRise)
	h.Hang = orDefault(h.Hang, DefaultHangSeconds)
	return h
}

func (l Logs) withDefaults() Logs {
	l.FileBytes = orDefault(l.FileBytes, DefaultLogFileBytes)
	l.Keep = orDefault(l.Keep, DefaultLogKeep)
	l.Cap = orDefault(l.Cap, DefaultLogCapBytes)
	return l
}

func (c Care) validate() error {
	r, h, l := c.Restart, c.Health, c.Logs
	problems := []error{
		validateRange("restart.min_uptime_seconds", r.MinUptime, MaxTimeout),
		validateRange("restart.delay_seconds", r.Delay, MaxTimeout),
		validateRange("restart.backoff_seconds", r.Backoff, MaxTimeout),
		validateRange("restart.watch_delay_seconds", r.WatchDelay, MaxTimeout),
		validateRange("restart.max", float64(r.Max), 1<<30),
		validateList("restart.watch", r.Watch),
		validateList("restart.ignore_watch", r.IgnoreWatch),
		validateRange("health.interval_seconds", h.Interval, MaxTimeout),
		validateRange("health.timeout_seconds", h.Timeout, MaxTimeout),
		validateRange("health.fall", float64(h.Fall), 1000),
		validateRange("health.rise", float64(h.Rise), 1000),
		c.Balance.validate(),
		matches("health.path", h.Path, isPath, "must begin with / and hold no space"),
		validateRange("logs.keep", float64(l.Keep), 1000),
		matches("logs.out", l.Out, filepath.IsAbs, "is not an absolute path"),
		matches("logs.err", l.Err, filepath.IsAbs, "is not an absolute path"),
		matches("logs.both", l.Both, filepath.IsAbs, "is not an absolute path"),
	}
	if h.Hang > MaxTimeout {
		problems = append(problems, validateRange("health.hang_seconds", h.Hang, MaxTimeout))
	}
	if h.TCP && h.Path != "" {
		problems = append(problems, fmt.Errorf("health.path: %q is asked for over HTTP, and health.tcp only connects", clip(h.Path)))
	}
	if l.FileBytes < MinLogFileBytes || l.FileBytes > l.Cap {
		problems = append(problems, fmt.Errorf("logs.file_bytes: %d is not between %d and logs.cap_bytes, which is %d", l.FileBytes, MinLogFileBytes, l.Cap))
	}
	if len(r.StopExitCodes) > maxList {
		problems = append(problems, fmt.Errorf("restart.stop_exit_codes: %d codes, at most %d are allowed", len(r.StopExitCodes), maxList))
	}
	for _, w := range r.Watch {
		if !filepath.IsAbs(w) {
			problems = append(problems, fmt.Errorf("restart.watch: %q is not an absolute path", clip(w)))
		}
	}
	return errors.Join(problems...)
}

func isPath(p string) bool { return strings.HasPrefix(p, "/") && !strings.ContainsAny(p, " \r\n\t") }
