package supervisor

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTailBytes bounds how far back into one file LastLines reads, in bytes.
const maxTailBytes = 4 << 20

// LastLines returns the last n stored lines of an app ("" = of all apps) on this node in time order; stream is "out", "err" or "" for
// both. Lines in files that were rotated away are not read. An app that never wrote has none.
func (s *Supervisor) LastLines(app, stream string, n int) ([]Line, error) {
	dir := app
	if app == "" {
		dir = "*"
	}
	files, err := filepath.Glob(filepath.Join(s.logDir(), dir, "*-*.log"))
	if err != nil {
		return nil, fmt.Errorf("list the logs of %s: %w", app, err)
	}
	var all []Line
	for _, path := range files {
		slot, name, ok := strings.Cut(strings.TrimSuffix(filepath.Base(path), ".log"), "-")
		if _, err := strconv.Atoi(slot); err != nil || !ok || name != "out" && name != "err" || stream != "" && name != stream {
			continue // a rotated file, or not ours
		}
		lines, err := lastOf(path, n)
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		for _, raw := range lines {
			l := parseLine(raw)
			l.App = filepath.Base(filepath.Dir(path))
			l.Worker, l.Stream = l.App+"/"+slot, name
			all = append(all, l)
		}
	}
	slices.SortStableFunc(all, func(a, b Line) int { return a.Time.Compare(b.Time) })
	return all[max(0, len(all)-n):], nil
}

// lastOf returns the last n lines of one file.
func lastOf(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	start := max(0, end-maxTailBytes)
	b := make([]byte, end-start)
	if _, err := f.ReadAt(b, start); err != nil && err != io.EOF {
		return nil, err
	}
	if start > 0 {
		_, b, _ = bytes.Cut(b, []byte("\n")) // the first line may be cut in two
	}
	text := strings.TrimSuffix(string(b), "\n")
	if text == "" {
		return nil, nil
	}
	lines := strings.Split(text, "\n")
	return lines[max(0, len(lines)-n):], nil
}

func parseLine(raw string) Line {
	if len(raw) > len(timeFormat) {
		if t, err := time.Parse(timeFormat, raw[:len(timeFormat)]); err == nil {
			return Line{Time: t, Text: raw[len(timeFormat)+1:]}
		}
	}
	return Line{Text: raw}
}

// Headline picks the line of a failed process's output that says most: the first that names an error, else the last that says
// anything. It is cut to 200 bytes.
func Headline(tail []string) string {
	best := ""
	for _, l := range tail {
		t := strings.TrimSpace(l)
		if t == "" || strings.HasPrefix(t, "at ") || strings.HasPrefix(t, "Node.js v") || strings.Trim(t, "^~ ") == "" {
			continue
		}
		best = t
		if strings.Contains(t, "Error") || strings.Contains(strings.ToLower(t), "error:") {
			break
		}
	}
	return best[:min(len(best), 200)]
}
