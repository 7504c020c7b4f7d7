package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/DeRuina/timberjack"
)

// Bounds of what is kept of a worker's output.
const (
	maxLineBytes   = 16 << 10 // a longer line is cut into several
	tailLines      = 20       // kept in memory for messages about a failed start
	fileMegabytes  = 50       // size of one log file
	fileBackups    = 9        // older files kept beside it
	maxTailLine    = 1 << 10  // of which a longer line is cut
	followerBuffer = 1024     // lines waiting for one slow reader of a followed log
)

// outputGrace is how long the output of an ended worker is waited for: one that left a process behind which nothing can end, another
// user's say, must not wait for that.
const outputGrace = time.Second

// timeFormat begins every stored line: UTC, fixed width, so that text order is time order.
const timeFormat = "2006-01-02T15:04:05.000000Z"

// Line is one line of a worker's output.
type Line struct {
	Time   time.Time
	App    string
	Worker string // "app/slot"
	Stream string // "out" or "err"
	Text   string
}

// stream keeps one stream of one slot, over restarts: a rotated file, and those who follow it.
type stream struct {
	app, worker, name string
	hub               *hub

	mu   sync.Mutex
	file *timberjack.Logger
}

func newStream(h *hub, dir, app string, slot int, name string) *stream {
	path := filepath.Join(dir, app, fmt.Sprintf("%d-%s.log", slot, name))
	return &stream{app: app, worker: app + "/" + strconv.Itoa(slot), name: name, hub: h,
		file: &timberjack.Logger{Filename: path, MaxSize: fileMegabytes, MaxBackups: fileBackups, Compression: "gzip", FileMode: 0o640}}
}

// copy stores everything that r gives until its end, line by line.
func (s *stream) copy(r io.Reader, t *tail) {
	br := bufio.NewReaderSize(r, maxLineBytes)
	cut := false // the line before was cut: an empty rest is no line of its own
	for {
		b, err := br.ReadSlice('\n')
		if text := strings.TrimRight(string(b), "\r\n"); len(b) > 0 && (text != "" || !cut) {
			s.add(text, t)
		}
		cut = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !cut {
			return
		}
	}
}

func (s *stream) add(text string, t *tail) {
	now := time.Now().UTC()
	s.mu.Lock()
	// A full disk must not stop the worker: the line is lost from the file and counted.
	if _, err := s.file.Write([]byte(now.Format(timeFormat) + " " + text + "\n")); err != nil {
		s.hub.lost.Add(1)
	}
	s.mu.Unlock()
	t.add(text)
	s.hub.publish(Line{Time: now, App: s.app, Worker: s.worker, Stream: s.name, Text: text})
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Close()
}

// tail is the last lines of one stream of one process.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(text string) {
	text = strings.ToValidUTF8(text[:min(len(text), maxTailLine)], "")
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		t.lines = append(t.lines[:0], t.lines[1:]...)
	}
	t.lines = append(t.lines, text)
}

func (t *tail) all() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// output is what one process writes: our ends of its pipes, and its last lines.
type output struct {
	wg       sync.WaitGroup
	pipes    []*os.File
	out, err tail
}

// read stores what r gives, until the worker and all that it started have closed their ends.
func (o *output) read(s *stream, t *tail, r *os.File) {
	o.pipes = append(o.pipes, r)
	o.wg.Go(func() {
		defer r.Close()
		s.copy(r, t)
	})
}

// finish waits until everything is stored that the process wrote.
func (o *output) finish() {
	for _, r := range o.pipes {
		_ = r.SetReadDeadline(time.Now().Add(outputGrace)) // fails where the end is reached already
	}
	o.wg.Wait()
}

// letGo ends the reading at once; what was not read stays in the pipe.
func (o *output) letGo() {
	for _, r := range o.pipes {
		_ = r.SetReadDeadline(time.Unix(1, 0))
	}
	o.wg.Wait()
}

// tail is what the process wrote last, errors first.
func (p *process) tail() []string { return append(p.output.err.all(), p.output.out.all()...) }

// hub passes new lines to those who follow a log. A slow follower loses lines, which are counted; it never holds up a worker.
type hub struct {
	mu        sync.Mutex
	followers map[*Follower]struct{}
	lost      atomic.Uint64
}

// Follower receives the lines of one app from the moment it was made.
type Follower struct {
	app   string
	hub   *hub
	lines chan Line
	lost  atomic.Uint64
}

// Lines gives the lines as they are written.
func (f *Follower) Lines() <-chan Line { return f.lines }

// Lost is the number of lines that were dropped because the follower was too slow (count).
func (f *Follower) Lost() uint64 { return f.lost.Load() }

// Close ends the following.
func (f *Follower) Close() {
	f.hub.mu.Lock()
	defer f.hub.mu.Unlock()
	delete(f.hub.followers, f)
}

// follow returns a follower of one app's lines; "" follows all apps.
func (h *hub) follow(app string) *Follower {
	f := &Follower{app: app, hub: h, lines: make(chan Line, followerBuffer)}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.followers[f] = struct{}{}
	return f
}

func (h *hub) publish(l Line) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for f := range h.followers {
		if f.app != "" && f.app != l.App {
			continue
		}
		select {
		case f.lines <- l:
		default:
			f.lost.Add(1)
			h.lost.Add(1)
		}
	}
}
