package output

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// entry is one file of an app on disk.
type entry struct {
	path string
	stem string // of the file it was, without the ending
	ext  string
	size int64
	at   int64 // microseconds: nothing in it is newer
	open bool  // it is being written
	old  bool  // it has turned over
	gz   bool
	bad  bool // it could not be compressed
}

// app is all files of one app, and the one place where their sizes are added up.
type app struct {
	book *Book
	name string
	dir  string

	mu      sync.Mutex
	policy  Policy
	files   map[string]*file // being written, by path
	entries map[string]*entry
	total   int64 // bytes of all entries
	share   int64 // of the disk, in bytes; 0 = not known
	lost    atomic.Uint64
}

const archiveTime = "20060102T150405.000000Z"

func newApp(b *Book, name string) *app {
	a := &app{book: b, name: name, dir: b.folder(name), policy: Policy{}.filled(), files: make(map[string]*file), entries: make(map[string]*entry)}
	for _, file := range names(a.dir) {
		a.find(filepath.Join(a.dir, file))
	}
	return a
}

// find takes in a file of the app's own folder that lay there before.
func (a *app) find(path string) {
	if strings.HasSuffix(path, ".gz.tmp") {
		os.Remove(path)
		return
	}
	fi, err := os.Lstat(path)
	base, gz := strings.CutSuffix(filepath.Base(path), ".gz")
	base, ok := strings.CutSuffix(base, ".log")
	slot, stream, ok2 := cutName(base)
	if err != nil || !ok || !ok2 || !fi.Mode().IsRegular() {
		return
	}
	e := &entry{path: path, stem: filepath.Join(a.dir, slot+"-"+stream), ext: ".log", size: fi.Size(), at: fi.ModTime().UnixMicro(), gz: gz}
	if rest, old := strings.CutPrefix(base, slot+"-"+stream+"-"); old {
		e.old = true
		if t, err := time.Parse(archiveTime, rest); err == nil {
			e.at = t.UnixMicro()
		}
	}
	a.add(e)
}

// findCustom takes in what has turned over of a custom file.
func (a *app) findCustom(path string) {
	ext := filepath.Ext(path)
	stem := strings.TrimSuffix(path, ext)
	for _, file := range names(filepath.Dir(path)) {
		full := filepath.Join(filepath.Dir(path), file)
		rest, ok := strings.CutPrefix(full, stem+"-")
		rest, gz := strings.CutSuffix(rest, ".gz")
		rest, ok2 := strings.CutSuffix(rest, ext)
		t, err := time.Parse(archiveTime, rest)
		if fi, e := os.Lstat(full); ok && ok2 && err == nil && e == nil && a.entries[full] == nil {
			a.add(&entry{path: full, stem: stem, ext: ext, size: fi.Size(), at: t.UnixMicro(), old: true, gz: gz})
		}
	}
}

func (a *app) add(e *entry) {
	a.drop(e.path)
	a.entries[e.path] = e
	a.total += e.size
}

func (a *app) drop(path string) {
	if e := a.entries[path]; e != nil {
		a.total -= e.size
		delete(a.entries, path)
	}
}

// opened says that a file is being written, and how large it is.
func (a *app) opened(f *file, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.add(&entry{path: f.path, stem: f.stem, ext: f.ext, size: size, open: true})
}

// resize says how large a file has become by other means than reserve.
func (a *app) resize(path string, size int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.entries[path]; e != nil {
		a.total += size - e.size
		e.size = size
	}
}

// limit is the size at which a file turns over: all that are being written together leave half of the cap to older ones.
func (a *app) limit() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return min(a.policy.FileBytes, max(a.capBytes()/int64(2*max(1, len(a.files))), minFileBytes))
}

// diskShare is the part of a disk that the logs of all apps may fill together: 1 / diskShare.
const diskShare = 2

// measure takes note of how large the disk is that the app's own files are on. All apps with logs have the same share.
func (a *app) measure() {
	var s unix.Statfs_t
	if unix.Statfs(a.dir, &s) != nil {
		return
	}
	apps := max(1, len(names(a.book.o.Dir)))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.share = int64(s.Blocks) * s.Bsize / diskShare / int64(apps)
}

// capBytes bounds all files of the app. The mutex is held.
func (a *app) capBytes() int64 {
	if a.share == 0 {
		return a.policy.CapBytes
	}
	return min(a.policy.CapBytes, max(a.share, minCapBytes))
}

// capped is the same for those who do not hold it.
func (a *app) capped() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.capBytes()
}

// reserve makes room under the cap for n more bytes of a file; the app's oldest files go first. It fails when only files are left that
// are being written.
func (a *app) reserve(path string, n int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.total+n > a.capBytes() {
		if !a.removeOldest("") {
			return false
		}
	}
	e := a.entries[path]
	if e == nil {
		return false // removed meanwhile
	}
	e.size += n
	a.total += n
	return true
}

// removeOldest removes the oldest file that nobody writes, of one stem or of all.
func (a *app) removeOldest(stem string) bool {
	var oldest *entry
	for _, e := range a.entries {
		if !e.open && (stem == "" || e.old && e.stem == stem) && (oldest == nil || e.at < oldest.at) {
			oldest = e
		}
	}
	if oldest == nil {
		return false
	}
	if err := os.Remove(oldest.path); err != nil && !os.IsNotExist(err) {
		a.book.log.Warn("old log file not removed", "path", oldest.path, "err", err) // it is not counted any more: the rest must go on
	}
	a.book.meter.count(metricRemoved, 1)
	a.drop(oldest.path)
	return true
}

// turnOver makes an old file of one that is being written; its writer has closed it.
func (a *app) turnOver(f *file, at int64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	e := &entry{path: f.stem + "-" + time.UnixMicro(at).UTC().Format(archiveTime) + f.ext, stem: f.stem, ext: f.ext, at: at, old: true}
	if err := os.Rename(f.path, e.path); err != nil {
		return fmt.Errorf("turn the log file over: %w", err)
	}
	if was := a.entries[f.path]; was != nil {
		e.size = was.size
	}
	a.drop(f.path)
	a.add(e)
	a.prune(f.stem)
	a.book.meter.count(metricRotated, 1)
	poke(a.book.keeper.wake)
	return nil
}

// prune removes old files of a stem above the count.
func (a *app) prune(stem string) {
	n := 0
	for _, e := range a.entries {
		if e.old && e.stem == stem {
			n++
		}
	}
	for ; n > a.policy.Keep && a.removeOldest(stem); n-- {
	}
}

// closed says that a file is not written any more: it can go now.
func (a *app) closed(path string, at int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e := a.entries[path]; e != nil && a.files[path] == nil {
		e.open, e.at = false, at
	}
}

// wipe removes every file that nobody writes.
func (a *app) wipe() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.removeOldest("") {
	}
}

// writers are the files that are being written.
func (a *app) writers() []*file {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []*file
	for _, f := range a.files {
		out = append(out, f)
	}
	return out
}

func (a *app) rules() Policy {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.policy
}

// size is the bytes of all files of the app.
func (a *app) size() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.total
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

// mergedSlot stands for the slot in the names of merged files.
const mergedSlot = "all"

// cutName splits the name of a stored file, without its ending.
func cutName(base string) (slot, stream string, ok bool) {
	parts := strings.SplitN(base, "-", 3)
	if len(parts) < 2 || !slices.Contains([]string{StreamOut, StreamErr}, parts[1]) {
		return "", "", false
	}
	return parts[0], parts[1], parts[0] == mergedSlot || parts[0] != "" && strings.Trim(parts[0], "0123456789") == ""
}
