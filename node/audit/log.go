package audit

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"sync"
)

// Bounds of what is kept: so many files of so many bytes, the one that is written to among them.
const (
	fileBytes = 10 << 20
	files     = 4
)

// maxLine is the longest line in bytes.
const maxLine = 64 << 10

// Log is a file of lines and those before it, which end in .1, .2 and .3, the highest being the oldest.
type Log struct {
	path string

	mu     sync.Mutex
	file   *os.File // nil = not open
	size   int64
	failed uint64
	reason error
}

// New returns a log that is at path. Nothing is opened before the first Append. It needs Close.
func New(path string) *Log { return &Log{path: path} }

// Append writes one line, which must not hold a line end.
func (l *Log) Append(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	err := l.append(line)
	if err != nil {
		l.failed++
	}
	l.reason = err
	return err
}

// Failed returns how many lines were not written (count), and why the last one was not; nil when that one was.
func (l *Log) Failed() (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed, l.reason
}

func (l *Log) append(line []byte) error {
	if len(line) > maxLine || bytes.IndexByte(line, '\n') >= 0 {
		return fmt.Errorf("%d bytes are no line of at most %d", len(line), maxLine)
	}
	if err := l.open(); err != nil {
		return err
	}
	if l.size+int64(len(line)) >= fileBytes {
		if err := l.turn(); err != nil {
			return err
		}
	}
	n, err := l.file.Write(append(bytes.Clone(line), '\n'))
	if err != nil && n > 0 { // half a line would spoil the next one
		err = errors.Join(err, l.file.Truncate(l.size))
	}
	if err != nil {
		l.shut() // the next one looks anew at what is there
		return fmt.Errorf("write %s: %w", l.path, bare(err))
	}
	l.size += int64(n)
	return nil
}

// open opens the file if it is not open. A line that a crash has cut short is ended.
func (l *Log) open() error {
	if l.file != nil {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open %s: %w", l.path, bare(err))
	}
	l.file = f
	if l.size, err = endOf(f); err != nil {
		l.shut()
		return fmt.Errorf("open %s: %w", l.path, bare(err))
	}
	return nil
}

func endOf(f *os.File) (int64, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return 0, err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return 0, err
	}
	if last[0] == '\n' {
		return info.Size(), nil
	}
	_, err = f.Write([]byte{'\n'})
	return info.Size() + 1, err
}

// turn begins a new file.
func (l *Log) turn() error {
	l.shut()
	for i := files - 1; i > 0; i-- {
		if err := os.Rename(l.older(i-1), l.older(i)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("turn %s over: %w", l.path, bare(err))
		}
	}
	return l.open()
}

// older is the path of the file before the present one, of the one before that, ...; 0 is the present one.
func (l *Log) older(i int) string {
	if i == 0 {
		return l.path
	}
	return l.path + "." + strconv.Itoa(i)
}

func (l *Log) shut() {
	if l.file != nil {
		_ = l.file.Close()
		l.file, l.size = nil, 0
	}
}

// Newest calls each for the lines that there are, the newest first, until it returns false.
func (l *Log) Newest(each func(line []byte) bool) error {
	l.mu.Lock()
	defer l.mu.Unlock() // no line is added, and no file turned over, while one is read
	for i := range files {
		text, err := read(l.older(i))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return fmt.Errorf("read %s: %w", l.older(i), bare(err))
		}
		for len(text) > 0 {
			text = bytes.TrimSuffix(text, []byte{'\n'})
			at := bytes.LastIndexByte(text, '\n') + 1
			if line := text[at:]; len(line) > 0 && !each(line) {
				return nil
			}
			text = text[:at]
		}
	}
	return nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fileBytes+1))
}

// Close closes the file.
func (l *Log) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shut()
	return nil
}

// bare takes the path off an error whose message names it already.
func bare(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
