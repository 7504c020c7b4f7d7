package output

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// RemoveOld deletes the stored logs of apps that nobody wants any more, once nothing was written to them for age: whoever deleted an app may
// still want to read why. It returns which.
func (b *Book) RemoveOld(age time.Duration, wanted func(app string) bool) ([]string, error) {
	entries, err := os.ReadDir(b.o.Dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var gone []string
	var errs []error
	for _, e := range entries {
		if !e.IsDir() || wanted(e.Name()) || time.Since(lastWrite(filepath.Join(b.o.Dir, e.Name()))) < age {
			continue
		}
		if err := b.Remove(e.Name()); err != nil {
			errs = append(errs, err)
			continue
		}
		gone = append(gone, e.Name())
	}
	return gone, errors.Join(errs...)
}

// lastWrite is when a file of the folder was written last.
func lastWrite(dir string) time.Time {
	var last time.Time
	paths, _ := filepath.Glob(filepath.Join(dir, "*"))
	for _, path := range append(paths, dir) {
		if fi, err := os.Stat(path); err == nil && fi.ModTime().After(last) {
			last = fi.ModTime()
		}
	}
	return last
}
