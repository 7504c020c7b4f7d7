package supervisor

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Bounds of watching files.
const (
	maxWatched  = 4096                  // folders of one app (count); what is below further ones is not noticed, and counted
	leastQuiet  = 10 * time.Millisecond // after the last change of several
	returnEvery = time.Second           // how often it is looked whether what was to be watched, and is not there, has come (back)
)

// fileWatch has the workers of an app replaced when files change, for apps that ask for it. The minder's goroutine owns it.
type fileWatch struct {
	m      *minder
	apps   map[string]*appWatch
	failed map[string]*Spec // apps whose files cannot be watched
}

// appWatch follows the files of one app. Its run owns it.
type appWatch struct {
	m       *minder
	of      *Spec
	w       *fsnotify.Watcher
	ignored *patterns
	folders map[string]bool // that are watched
	missing []string        // of what is to be watched, what is not there
	ending  sync.WaitGroup
}

func newFileWatch(m *minder) *fileWatch {
	return &fileWatch{m: m, apps: make(map[string]*appWatch), failed: make(map[string]*Spec)}
}

// follow watches for these apps what they ask for, and nothing else. An app whose workers are all down is still watched: the next change may
// be what mends it.
func (f *fileWatch) follow(running map[string]*Spec) {
	for app, a := range f.apps {
		if spec := running[app]; spec == nil || !sameWatch(spec, a.of) {
			a.close()
			delete(f.apps, app)
		}
	}
	for app, spec := range f.failed {
		if running[app] != spec {
			delete(f.failed, app)
		}
	}
	for app, spec := range running {
		if len(spec.Restart.Watch) == 0 || f.apps[app] != nil || f.failed[app] != nil {
			continue
		}
		a, err := f.m.watch(spec)
		if err != nil {
			f.m.sup.log.Warn("files are not watched", "app", app, "err", err)
			f.failed[app] = spec
			continue
		}
		f.apps[app] = a
	}
}

func (f *fileWatch) close() {
	for a := range maps.Values(f.apps) {
		a.close()
	}
}

func sameWatch(a, b *Spec) bool {
	return slices.Equal(a.Restart.Watch, b.Restart.Watch) && slices.Equal(a.Restart.IgnoreWatch, b.Restart.IgnoreWatch) &&
		a.Restart.WatchDelay == b.Restart.WatchDelay && a.Dir == b.Dir
}

func (m *minder) watch(spec *Spec) (*appWatch, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	a := &appWatch{m: m, of: spec, w: w, ignored: newPatterns(spec.Dir, spec.Restart.Watch, spec.Restart.IgnoreWatch), folders: make(map[string]bool)}
	for _, root := range spec.Restart.Watch {
		a.addRoot(root)
	}
	a.ending.Go(a.run)
	return a, nil
}

func (a *appWatch) close() {
	a.w.Close()
	a.ending.Wait()
}

// addRoot watches what the app asks for: a file, or a folder with all below it. What is not there is looked for again.
func (a *appWatch) addRoot(root string) {
	fi, err := os.Stat(root)
	switch {
	case err != nil:
		if !slices.Contains(a.missing, root) {
			a.missing = append(a.missing, root)
		}
	case fi.IsDir():
		a.add(root)
	default:
		a.addFolder(filepath.Dir(root)) // editors replace a file; its folder stays
	}
}

// add watches a folder with all below it.
func (a *appWatch) add(folder string) {
	// The dot has a link to a folder followed, where that is what is to be watched.
	_ = filepath.WalkDir(folder+"/.", func(path string, d fs.DirEntry, err error) error {
		switch path = filepath.Clean(path); {
		case err != nil || !d.IsDir():
			return nil //nolint:nilerr // what cannot be read is not watched
		case a.ignored.fit(path):
			return filepath.SkipDir
		case !a.addFolder(path):
			return filepath.SkipAll
		}
		return nil
	})
}

// addFolder watches one folder, and reports whether there was room for it.
func (a *appWatch) addFolder(path string) bool {
	if len(a.folders) >= maxWatched {
		a.m.sup.meter.count(metricUnwatched, 1)
		return false
	}
	if a.w.Add(path) == nil {
		a.folders[path] = true
	}
	return true
}

// relevant reports whether a changed path is, or is below, what is watched, and not ignored.
func (a *appWatch) relevant(path string) bool {
	return !a.ignored.fit(path) && slices.ContainsFunc(a.of.Restart.Watch, func(root string) bool { return path == root || below(root, path) != "" })
}

// run waits for changes, and for the quiet after them.
func (a *appWatch) run() {
	quiet, back := stoppedTimer(), time.NewTicker(returnEvery)
	defer quiet.Stop()
	defer back.Stop()
	changed := ""
	note := func(what string) {
		changed = what
		quiet.Reset(max(a.of.Restart.WatchDelay, leastQuiet))
	}
	for {
		select {
		case e, ok := <-a.w.Events:
			if !ok {
				return
			}
			if a.take(e) {
				note(e.Name)
			}
		case err, ok := <-a.w.Errors:
			if !ok {
				return
			}
			if errors.Is(err, fsnotify.ErrEventOverflow) {
				note("too many at once")
			}
		case <-back.C:
			if root := a.comeBack(); root != "" {
				note(root)
			}
		case <-quiet.C:
			a.m.begin(a.of.App, "a file changed: "+changed)
		}
	}
}

// take follows a change, and reports whether it is one of interest.
func (a *appWatch) take(e fsnotify.Event) bool {
	if e.Op == fsnotify.Chmod {
		return false
	}
	if e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
		delete(a.folders, e.Name)
		if slices.Contains(a.of.Restart.Watch, e.Name) {
			a.addRoot(e.Name) // it may be there again already
		}
	}
	if !a.relevant(e.Name) {
		return false
	}
	if fi, err := os.Stat(e.Name); err == nil && fi.IsDir() && e.Has(fsnotify.Create) {
		a.add(e.Name)
	}
	return true
}

// comeBack watches what was missing and has come, and returns one such path.
func (a *appWatch) comeBack() (root string) {
	missing := a.missing
	a.missing = nil
	for _, path := range missing {
		if a.addRoot(path); !slices.Contains(a.missing, path) {
			root = path
		}
	}
	return root
}
