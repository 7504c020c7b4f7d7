package supervisor

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// maxWatched bounds the folders that are watched for one app (count); what is below further ones is not noticed, and counted.
const maxWatched = 4096

// ignoredFolders are never watched: they are full of files that change for other reasons.
func ignoredFolders() []string { return []string{"node_modules", ".git"} }

// fileWatch has the workers of an app replaced when files change, for apps that ask for it. The minder's goroutine owns it.
type fileWatch struct {
	m    *minder
	apps map[string]*appWatch
}

// appWatch follows the files of one app.
type appWatch struct {
	m      *minder
	app    string
	of     Restart
	w      *fsnotify.Watcher
	count  int
	ending sync.WaitGroup
}

func newFileWatch(m *minder) *fileWatch { return &fileWatch{m: m, apps: make(map[string]*appWatch)} }

// follow watches for the apps of these workers what they ask for, and nothing else.
func (f *fileWatch) follow(all []*process) {
	want := make(map[string]Restart)
	for _, p := range all {
		if len(p.spec.Restart.Watch) > 0 {
			want[p.App] = p.spec.Restart
		}
	}
	for app, a := range f.apps {
		// An app whose workers are all down for the moment is still watched: the next change may be what mends it.
		if r, ok := want[app]; ok && !sameWatch(r, a.of) || !ok && !f.m.sup.known(app) {
			a.close()
			delete(f.apps, app)
		}
	}
	for app, r := range want {
		if f.apps[app] == nil {
			if a, err := f.m.watch(app, r); err != nil {
				f.m.sup.log.Warn("files are not watched", "app", app, "err", err)
			} else {
				f.apps[app] = a
			}
		}
	}
}

func (f *fileWatch) close() {
	for a := range maps.Values(f.apps) {
		a.close()
	}
}

func sameWatch(a, b Restart) bool {
	return slices.Equal(a.Watch, b.Watch) && slices.Equal(a.IgnoreWatch, b.IgnoreWatch) && a.WatchDelay == b.WatchDelay
}

// known reports whether the app has a slot here.
func (s *Supervisor) known(app string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.slots[app]) > 0
}

func (m *minder) watch(app string, r Restart) (*appWatch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	a := &appWatch{m: m, app: app, of: r, w: w}
	for _, path := range r.Watch {
		a.add(path)
	}
	a.ending.Go(a.run)
	return a, nil
}

func (a *appWatch) close() {
	a.w.Close()
	a.ending.Wait()
}

// add watches a file, or a folder with all below it.
func (a *appWatch) add(root string) {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return nil //nolint:nilerr // what cannot be read is not watched
		case path != root && a.ignored(path), d.IsDir() && slices.Contains(ignoredFolders(), d.Name()):
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil
		case !d.IsDir() && path != root:
			return nil // its folder is watched
		case a.count >= maxWatched:
			a.m.sup.meter.count(metricUnwatched, 1)
			return filepath.SkipAll
		}
		if !d.IsDir() {
			path = filepath.Dir(path) // editors replace a file; its folder stays
		}
		if a.w.Add(path) == nil {
			a.count++
		}
		return nil
	})
}

// ignored reports whether changes of a path are of no interest: a pattern fits its name, the name of a folder it is in, or its path below what is
// watched; or is part of the path.
func (a *appWatch) ignored(path string) bool {
	for _, root := range a.of.Watch {
		rel, err := filepath.Rel(root, path)
		if err != nil || strings.HasPrefix(rel, "..") {
			continue
		}
		for _, pattern := range a.of.IgnoreWatch {
			plain := strings.Trim(strings.TrimPrefix(pattern, "**/"), "/")
			plain = strings.TrimSuffix(strings.TrimSuffix(plain, "/**"), "/*")
			if ok, _ := filepath.Match(plain, rel); ok || strings.HasPrefix(rel, plain+"/") || strings.HasPrefix(path, pattern+"/") || path == pattern {
				return true
			}
			for _, part := range strings.Split(rel, "/") {
				if ok, _ := filepath.Match(plain, part); ok {
					return true
				}
			}
		}
	}
	return false
}

// relevant reports whether a changed path is, or is below, what is watched, and not ignored.
func (a *appWatch) relevant(path string) bool {
	if a.ignored(path) || slices.Contains(ignoredFolders(), filepath.Base(filepath.Dir(path))) {
		return false
	}
	return slices.ContainsFunc(a.of.Watch, func(root string) bool { return path == root || strings.HasPrefix(path, root+"/") })
}

// run waits for changes, and for the quiet after them.
func (a *appWatch) run() {
	quiet := stoppedTimer()
	defer quiet.Stop()
	changed := ""
	for {
		select {
		case e, ok := <-a.w.Events:
			if !ok {
				return
			}
			if e.Op == fsnotify.Chmod || !a.relevant(e.Name) {
				continue
			}
			if fi, err := os.Stat(e.Name); err == nil && fi.IsDir() {
				a.add(e.Name)
			}
			changed = e.Name
			quiet.Reset(max(a.of.WatchDelay, 10*time.Millisecond))
		case _, ok := <-a.w.Errors:
			if !ok {
				return
			}
			changed = "too many files at once"
			quiet.Reset(max(a.of.WatchDelay, 10*time.Millisecond))
		case <-quiet.C:
			a.m.all(a.m.sup.serving(), a.app, "a file changed: "+changed)
		}
	}
}
