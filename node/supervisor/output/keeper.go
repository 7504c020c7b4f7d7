package output

import (
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// How finished files are compressed: in small pieces, with four times the piece's time of rest after each. A compression holds a fifth
// of one processor at most, and less where workers want them all.
const (
	gzipPiece = 256 << 10
	gzipRest  = 4
)

var errStopped = errors.New("the node is ending")

// keeper compresses files that have turned over, one at a time, the oldest first. What it does not get to goes by the policy as it is.
type keeper struct {
	book *Book
	wake chan struct{}
	quit chan struct{}
}

func newKeeper(b *Book) *keeper {
	return &keeper{book: b, wake: make(chan struct{}, 1), quit: make(chan struct{})}
}

func (k *keeper) run() {
	for {
		select {
		case <-k.wake:
		case <-k.quit:
			return
		}
		for a, e := k.next(); e != nil; a, e = k.next() {
			err := k.compress(a, e)
			switch {
			case errors.Is(err, errStopped):
				return
			case err != nil && !errors.Is(err, os.ErrNotExist): // it may have been removed for the cap
				k.book.log.Warn("log file not compressed", "path", e.path, "err", err)
			}
		}
	}
}

// next is the oldest file that is to be compressed.
func (k *keeper) next() (of *app, oldest *entry) {
	k.book.mu.Lock()
	defer k.book.mu.Unlock()
	for _, a := range k.book.apps {
		a.mu.Lock()
		for _, e := range a.entries {
			if e.old && !e.gz && !e.bad && (oldest == nil || e.at < oldest.at) {
				of, oldest = a, e
			}
		}
		a.mu.Unlock()
	}
	return of, oldest
}

// compress puts a compressed file into the place of an old one.
func (k *keeper) compress(a *app, e *entry) error {
	a.mu.Lock()
	e.bad = true // whatever happens, it is not tried twice
	tmp := &entry{path: e.path + ".gz.tmp", stem: e.stem, ext: e.ext, open: true}
	a.add(tmp)
	a.mu.Unlock()
	size, err := k.squeeze(a, e.path, tmp.path)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop(tmp.path)
	if err == nil && a.entries[e.path] != e {
		err = os.ErrNotExist // removed meanwhile
	}
	if err == nil {
		err = os.Rename(tmp.path, e.path+".gz")
	}
	if err != nil {
		os.Remove(tmp.path)
		return fmt.Errorf("compress: %w", err)
	}
	k.book.meter.count(metricBytes, uint64(e.size))
	k.book.meter.count(metricGzip, uint64(size))
	if err := os.Remove(e.path); err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("remove what is compressed: %w", err)
	}
	a.drop(e.path)
	a.add(&entry{path: e.path + ".gz", stem: e.stem, ext: e.ext, size: size, at: e.at, old: true, gz: true})
	return nil
}

// squeeze writes src to dst, compressed, and returns its size.
func (k *keeper) squeeze(a *app, src, dst string) (int64, error) {
	r, err := os.Open(src)
	if err != nil {
		return 0, err
	}
	defer r.Close()
	w, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return 0, err
	}
	defer w.Close()
	counted := &reserving{w: w, app: a, path: dst}
	gz, err := gzip.NewWriterLevel(counted, gzip.BestSpeed)
	if err != nil {
		return 0, err
	}
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-k.quit:
			return 0, errStopped
		}
		begun := time.Now()
		_, err := io.CopyN(gz, r, gzipPiece)
		if err == io.EOF {
			break
		}
		if err != nil {
			return 0, err
		}
		t.Reset(max(time.Millisecond, gzipRest*time.Since(begun)))
	}
	err = gz.Close()
	return counted.size, err
}

// reserving is a file whose bytes are taken from the app's cap before they are written.
type reserving struct {
	w    io.Writer
	app  *app
	path string
	size int64
}

func (r *reserving) Write(b []byte) (int, error) {
	if !r.app.reserve(r.path, int64(len(b))) {
		return 0, errors.New("there is no room under the cap")
	}
	n, err := r.w.Write(b)
	r.size += int64(n)
	return n, err
}
