package supervisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxTailBytes bounds how far back into one file LastLines reads, in bytes.
const maxTailBytes = 4 << 20

// firstTailBytes is how far back into a file is read at first, in bytes; four times as far until there are lines enough.
const firstTailBytes = 64 << 10

// LastLines returns the last n stored lines of an app ("" = of all apps) on this node in time order; stream is "out", "err" or "" for
// both. Lines in files that were rotated away are not read. An app that never wrote has none.
func (s *Supervisor) LastLines(app, stream string, n int) ([]Line, error) {
	apps := []string{app}
	if app == "" {
		apps = names(s.logDir())
	}
	var all []Line
	for _, app := range apps {
		dir := filepath.Join(s.logDir(), app)
		for _, file := range names(dir) {
			slot, name, ok := logFile(file)
			if !ok || stream != "" && name != stream {
				continue
			}
			lines, err := lastOf(filepath.Join(dir, file), n)
			if err != nil {
				return nil, fmt.Errorf("read the log: %w", err)
			}
			for _, raw := range lines {
				l := parseLine(raw)
				l.App, l.Worker, l.Stream = app, app+"/"+slot, name
				all = append(all, l)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b Line) int { return a.Time.Compare(b.Time) })
	return all[max(0, len(all)-n):], nil
}

// names lists a folder; one that is not there is empty.
func names(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	out := make([]string, len(entries))
	for i, e := range entries {
		out[i] = e.Name()
	}
	return out
}

// logFile splits the name of the file that a stream is written to; it is not ok for a rotated file.
func logFile(file string) (slot, stream string, ok bool) {
	slot, rest, _ := strings.Cut(file, "-")
	stream, ok = strings.CutSuffix(rest, ".log")
	_, err := strconv.Atoi(slot)
	return slot, stream, ok && err == nil && (stream == "out" || stream == "err")
}

// lastOf returns the last n lines of one file, which may be rotated away at any moment.
func lastOf(path string, n int) ([]string, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, err
	}
	for back := int64(firstTailBytes); ; back *= 4 {
		start := max(0, end-min(back, maxTailBytes))
		b := make([]byte, end-start)
		k, err := f.ReadAt(b, start)
		if err != nil && err != io.EOF {
			return nil, err
		}
		b = b[:k]
		if start > 0 {
			_, b, _ = bytes.Cut(b, []byte("\n")) // the first line may be cut in two
		}
		if start > 0 && back < maxTailBytes && bytes.Count(b, []byte("\n")) < n {
			continue
		}
		return split(b, n), nil
	}
}

// split returns the last n lines of b.
func split(b []byte, n int) []string {
	text := strings.TrimSuffix(string(b), "\n")
	if text == "" {
		return nil
	}
	lines := strings.Split(text, "\n")
	lines = lines[max(0, len(lines)-n):]
	for i, l := range lines {
		lines[i] = strings.Clone(l) // else each keeps all of the text
	}
	return lines
}

func parseLine(raw string) Line {
	if len(raw) > len(timeFormat) {
		if t, err := time.Parse(timeFormat, raw[:len(timeFormat)]); err == nil {
			return Line{Time: t, Text: raw[len(timeFormat)+1:]}
		}
	}
	return Line{Text: raw}
}

// errorLine is how Node.js, Python, Ruby and Java begin the line that names an uncaught error.
var errorLine = regexp.MustCompile(`^(Uncaught )?[\w.$]*(Error|Exception)\b`)

// Headline picks the line of a failed process's output that says most: the first that begins with an error's name, else the first that
// names one, else the last that says anything. It is cut to 200 bytes.
func Headline(tail []string) string {
	best, rank := "", 0
	for _, l := range tail {
		t := strings.TrimSpace(l)
		if t == "" || strings.HasPrefix(t, "at ") || strings.HasPrefix(t, "Node.js v") || strings.HasPrefix(t, "(Use `node") || strings.Trim(t, "^~ ") == "" {
			continue
		}
		r := 1
		switch {
		case errorLine.MatchString(t):
			r = 3
		case strings.Contains(t, "Error"), strings.Contains(strings.ToLower(t), "error:"):
			r = 2
		}
		if r > rank || r == 1 && rank == 1 {
			best, rank = t, r
		}
	}
	return strings.ToValidUTF8(best[:min(len(best), 200)], "")
}
