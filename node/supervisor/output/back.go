package output

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

// How far back is read at once: a compressed file must be read from its beginning for each step.
const (
	plainStep = 64 << 10
	gzipStep  = 4 << 20
	maxStored = 1 << 20 // a line in a file that others write may be of any length; it is cut here
)

// back reads the lines of one file from the last to the first.
type back struct {
	f   *os.File
	gz  bool
	off int64  // what is before it has not been read
	buf []byte // read and not given out
}

func openBack(path string, gz bool) (*back, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	b := &back{f: f, gz: gz}
	if b.off, err = f.Seek(0, io.SeekEnd); err != nil {
		f.Close()
		return nil, err
	}
	if gz { // its last four bytes are the size of what is in it
		var size [4]byte
		if _, err := f.ReadAt(size[:], b.off-4); err != nil {
			f.Close()
			return nil, fmt.Errorf("read %s: %w", path, err)
		}
		b.off = int64(binary.LittleEndian.Uint32(size[:]))
	}
	return b, nil
}

func (b *back) close() { b.f.Close() }

// prev returns the line before the one returned last.
func (b *back) prev() (string, bool, error) {
	for {
		body := bytes.TrimSuffix(b.buf, []byte("\n"))
		i := bytes.LastIndexByte(body, '\n')
		if i < 0 && b.off > 0 && len(body) < maxStored {
			if err := b.step(); err != nil {
				return "", false, err
			}
			continue
		}
		if len(b.buf) == 0 {
			return "", false, nil
		}
		b.buf = b.buf[:i+1]
		return string(body[i+1:]), true, nil
	}
}

// step reads the piece before what is there.
func (b *back) step() error {
	n := int64(plainStep)
	if b.gz {
		n = gzipStep
	}
	n = min(n, b.off)
	piece := make([]byte, n, n+int64(len(b.buf)))
	k, err := b.readAt(piece, b.off-n)
	if err != nil {
		return fmt.Errorf("read %s: %w", b.f.Name(), err)
	}
	if b.off -= n; int64(k) < n { // emptied meanwhile
		piece, b.buf, b.off = piece[:k], nil, 0
	}
	b.buf = append(piece, b.buf...)
	return nil
}

func (b *back) readAt(piece []byte, off int64) (int, error) {
	if !b.gz {
		k, err := b.f.ReadAt(piece, off)
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return k, err
	}
	if _, err := b.f.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	r, err := gzip.NewReader(b.f)
	if err != nil {
		return 0, err
	}
	if _, err := io.CopyN(io.Discard, r, off); err != nil {
		return 0, err
	}
	return io.ReadFull(r, piece)
}
