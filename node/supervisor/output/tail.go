package output

import (
	"regexp"
	"strings"
	"sync"
)

// Bounds of what is kept in memory for messages about a failed start.
const (
	tailLines   = 20
	maxTailLine = 1 << 10 // of which a longer line is cut
)

// tail is the last lines of one stream of one process. Its memory is used again, line for line.
type tail struct {
	mu    sync.Mutex
	lines [tailLines][]byte
	next  int // where the next line goes
	full  bool
}

func (t *tail) add(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines[t.next] = append(t.lines[t.next][:0], line[:min(len(line), maxTailLine)]...)
	if t.next++; t.next == tailLines {
		t.next, t.full = 0, true
	}
}

func (t *tail) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []string
	for i := range tailLines {
		if at := (t.next + i) % tailLines; t.full || at < t.next {
			out = append(out, strings.ToValidUTF8(string(t.lines[at]), ""))
		}
	}
	return out
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
