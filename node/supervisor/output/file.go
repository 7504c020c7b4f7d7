package output

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// reopenAfter is how long a file that could not be opened is left alone.
const reopenAfter = time.Second

// file is one file that is being written. One goroutine, run, writes it; readers of pipes put lines into its blocks.
type file struct {
	app    *app
	path   string
	stem   string // path without its ending
	ext    string
	custom bool

	users int // guarded by the app's mutex

	queue
	store
}

// queue is what waits to be written.
type queue struct {
	mu   sync.Mutex
	full []block
	cur  block
	gone uint64    // lines dropped that no note in the file tells of yet
	from time.Time // when the first of them was

	wake chan struct{}
	jobs chan job
	quit chan struct{}
	done chan struct{} // closed when the file is closed
}

// store is the file on disk, owned by run; anybody may look whether it is broken.
type store struct {
	f      *os.File
	size   int64
	plain  bool                  // a regular file, which turns over and counts
	broken atomic.Pointer[error] // why writing failed, which was said; nil = it did not
	after  time.Time
}

// job is something that run does between two blocks.
type job struct {
	do   func() error
	done chan error
}

func newFile(a *app, path string, custom bool) *file {
	f := &file{app: a, path: path, ext: filepath.Ext(path), custom: custom,
		queue: queue{wake: make(chan struct{}, 1), jobs: make(chan job), quit: make(chan struct{}), done: make(chan struct{})}}
	f.stem = strings.TrimSuffix(path, f.ext)
	return f
}

// begin is called with the mutex held before lines are put in.
func (f *file) begin(prefix []byte) {
	if f.gone == 0 {
		return
	}
	n, from := f.gone, f.from
	note := fmt.Appendf(nil, "%smeshnode: %d lines dropped since %s: the disk was too slow or full\n", prefix, n, from.UTC().Format(time.RFC3339))
	if !f.room(len(note)) {
		return
	}
	f.gone = 0
	if f.cur.noted == 0 {
		f.cur.from = from
	}
	f.cur.noted += n
	f.cur.b = append(f.cur.b, note...)
}

// room makes sure that the current block can take n more bytes. It is called with the mutex held.
func (f *file) room(n int) bool {
	if f.cur.b != nil && cap(f.cur.b)-len(f.cur.b) >= n {
		return true
	}
	if len(f.full) >= fileBlocks {
		return false
	}
	b := f.app.book.blocks.get()
	if b == nil {
		return false
	}
	if f.cur.b != nil {
		f.full = append(f.full, f.cur)
	}
	f.cur = block{b: b}
	return true
}

// lose counts lines that cannot be stored. It is called with the mutex held.
func (f *file) lose(n uint64, at time.Time) {
	if n == 0 {
		return
	}
	if f.gone == 0 {
		f.from = at
	}
	f.gone += n
	f.app.lost.Add(n)
	f.app.book.lost.Add(n)
}

// take removes the next block from the queue.
func (f *file) take() (b block, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.full) > 0 {
		b = f.full[0]
		f.full = f.full[:copy(f.full, f.full[1:])]
		return b, true
	}
	b, f.cur = f.cur, block{}
	return b, b.b != nil
}

// run writes what comes until the file is given up, and then closes it.
func (f *file) run() {
	defer close(f.done)
	for {
		select {
		case <-f.wake:
			f.drain()
		case j := <-f.jobs:
			f.drain()
			j.done <- j.do()
		case <-f.quit:
			f.drain()
			f.last()
			f.shut()
			f.app.closed(f.path, f.app.book.stamp())
			return
		}
	}
}

// last tells of lines that were dropped, if nobody else can any more.
func (f *file) last() {
	at := time.UnixMicro(f.app.book.stamp()).UTC()
	f.mu.Lock()
	f.begin([]byte(at.Format(timeFormat) + " "))
	f.mu.Unlock()
	f.drain()
}

func (f *file) drain() {
	for {
		b, ok := f.take()
		if !ok {
			return
		}
		err := f.write(b.b)
		if err != nil {
			f.mu.Lock()
			f.lose(b.lines, time.Now())
			if b.noted > 0 { // the note is gone with them
				f.gone, f.from = f.gone+b.noted, b.from
			}
			f.mu.Unlock()
		}
		if err == nil {
			f.broken.Store(nil)
		} else if f.broken.Swap(&err) == nil {
			f.app.book.log.Warn("workers' output is not stored", "app", f.app.name, "path", f.path, "err", err)
		}
		f.app.book.blocks.put(b.b)
	}
}

// write stores whole lines, or nothing.
func (f *file) write(b []byte) error {
	if err := f.open(); err != nil {
		return err
	}
	if !f.plain {
		_, err := f.f.Write(b)
		return err
	}
	if f.size > 0 && f.size+int64(len(b)) > f.app.limit() {
		if err := f.turn(); err != nil {
			return err
		}
	}
	if !f.app.reserve(f.path, int64(len(b))) {
		if err := f.empty(); err != nil {
			return err
		}
		f.app.book.meter.count(metricCapped, 1)
		if !f.app.reserve(f.path, int64(len(b))) {
			return fmt.Errorf("the app's logs are at their cap of %d bytes", f.app.capped())
		}
	}
	_, err := f.f.Write(b)
	if err != nil { // no half line
		_ = f.f.Truncate(f.size)
		f.app.resize(f.path, f.size)
		return fmt.Errorf("write the log file: %w", err)
	}
	f.size += int64(len(b))
	return nil
}

func (f *file) open() error {
	if f.f != nil {
		return nil
	}
	if time.Now().Before(f.after) {
		return fmt.Errorf("open the log file: tried a moment ago")
	}
	f.after = time.Now().Add(reopenAfter)
	if err := os.MkdirAll(filepath.Dir(f.path), 0o750); err != nil {
		return fmt.Errorf("make the log folder: %w", err)
	}
	// Non-blocking for the sake of a named pipe that nobody reads.
	w, err := os.OpenFile(f.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o640)
	if err != nil {
		return fmt.Errorf("open the log file: %w", err)
	}
	fi, err := w.Stat()
	if err != nil {
		w.Close()
		return fmt.Errorf("look at the log file: %w", err)
	}
	f.f, f.size, f.plain, f.after = w, fi.Size(), fi.Mode().IsRegular(), time.Time{}
	if f.plain {
		f.app.measure()
		f.app.opened(f, f.size)
		f.mend()
	}
	return nil
}

// mend ends a line that a crash has cut off.
func (f *file) mend() {
	r, err := os.Open(f.path)
	if err != nil {
		return
	}
	defer r.Close()
	var last [1]byte
	if _, err := r.ReadAt(last[:], f.size-1); err != nil || bytes.Equal(last[:], []byte("\n")) {
		return
	}
	if _, err := f.f.WriteString("\n"); err == nil {
		f.size++
		f.app.resize(f.path, f.size)
	}
}

// turn makes an old file of the present one and begins a new one.
func (f *file) turn() error {
	f.shut()
	if err := f.app.turnOver(f, f.app.book.stamp()); err != nil && !os.IsNotExist(err) {
		f.app.book.log.Warn("log file not turned over", "path", f.path, "err", err) // it grows on, within the cap
	}
	return f.open()
}

func (f *file) shut() {
	if f.f != nil {
		f.f.Close()
		f.f = nil
	}
}

// empty throws away what is in the file.
func (f *file) empty() error {
	if f.f == nil || !f.plain {
		return nil
	}
	if err := f.f.Truncate(0); err != nil {
		return fmt.Errorf("empty the log file: %w", err)
	}
	f.size = 0
	f.app.resize(f.path, 0)
	return nil
}

// ask has run do something once all is written that was put in before. It gives up after a time: a disk may hang.
func (f *file) ask(do func() error) error {
	t := time.NewTimer(askTime)
	defer t.Stop()
	j := job{do: do, done: make(chan error, 1)}
	select {
	case f.jobs <- j:
	case <-f.done:
		return nil
	case <-t.C:
		return fmt.Errorf("the disk does not answer: %s", f.path)
	}
	select {
	case err := <-j.done:
		return err
	case <-t.C:
		return fmt.Errorf("the disk does not answer: %s", f.path)
	}
}
