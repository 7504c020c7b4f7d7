package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
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
	followerBuffer = 1024     // lines waiting for one slow reader of a followed log
)

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

// stream keeps one stream of one slot, over restarts: a rotated file, the last lines, and those who follow it.
type stream struct {
	app, worker, name string
	hub               *hub

	mu   sync.Mutex
	file *timberjack.Logger
	tail []string
}

func newStream(dir, app, worker string, slot int, name string, h *hub) *stream {
	path := filepath.Join(dir, app, fmt.Sprintf("%d-%s.log", slot, name))
	return &stream{app: app, worker: worker, name: name, hub: h,
		file: &timberjack.Logger{Filename: path, MaxSize: fileMegabytes, MaxBackups: fileBackups, Compression: "gzip", FileMode: 0o640}}
}

// copy stores everything that r gives until its end, line by line.
func (s *stream) copy(r io.Reader) {
	br := bufio.NewReaderSize(r, maxLineBytes)
	for {
		b, err := br.ReadSlice('\n')
		if len(b) > 0 {
			s.add(strings.TrimRight(string(b), "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (s *stream) add(text string) {
	now := time.Now().UTC()
	s.mu.Lock()
	// A full disk must not stop the worker: the line is lost from the file and counted.
	if _, err := s.file.Write([]byte(now.Format(timeFormat) + " " + text + "\n")); err != nil {
		s.hub.lost.Add(1)
	}
	if len(s.tail) == tailLines {
		s.tail = append(s.tail[:0], s.tail[1:]...)
	}
	s.tail = append(s.tail, text)
	s.mu.Unlock()
	s.hub.publish(Line{Time: now, App: s.app, Worker: s.worker, Stream: s.name, Text: text})
}

// mark returns the last lines and forgets them, so that the next process's tail is its own.
func (s *stream) take() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tail
	s.tail = nil
	return t
}

func (s *stream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.file.Close()
}

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

// pipe makes the worker's end and our end of one stream, and copies until the worker and all that it started have closed theirs.
func (s *stream) pipe(wg *sync.WaitGroup) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make a pipe for the worker's output: %w", err)
	}
	wg.Go(func() {
		defer r.Close()
		s.copy(r)
	})
	return w, nil
}
