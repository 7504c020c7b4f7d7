package output

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/armon/go-metrics"
	"github.com/hashicorp/go-hclog"
)

// askTime is how long a disk may take to answer those who must wait for it.
const askTime = 2 * time.Second

// Options are what a Book needs.
type Options struct {
	Dir     string           // Dir is the folder of all logs.
	Metrics *metrics.Metrics // Metrics may be nil.
	Logger  hclog.Logger
}

// Book is the output of all workers on this node.
type Book struct {
	o      Options
	log    hclog.Logger
	meter  meter
	poll   *poller
	blocks *blocks
	gulps  sync.Pool // of *[]byte
	hub    hub
	last   atomic.Int64 // the last stamp
	lost   atomic.Uint64
	keeper *keeper
	turns  chan struct{} // taken by a query while it runs
	wg     sync.WaitGroup

	mu     sync.Mutex // guards the below
	apps   map[string]*app
	closed bool
}

// Open returns a Book. Close it.
func Open(o Options) *Book {
	b := &Book{o: o, log: o.Logger.Named("output"), meter: meter{o.Metrics}, blocks: newBlocks(), turns: make(chan struct{}, queriesAtOnce),
		apps: make(map[string]*app), gulps: sync.Pool{New: func() any { g := make([]byte, gulpBytes); return &g }}}
	var err error
	if b.poll, err = newPoller(); err != nil {
		b.log.Warn("workers' pipes are looked at by the clock", "err", err)
	} else {
		b.wg.Go(b.poll.run)
	}
	b.keeper = newKeeper(b)
	b.wg.Go(b.keeper.run)
	return b
}

// Close ends what the book does by itself. Every Run and Slot is over before.
func (b *Book) Close() {
	b.mu.Lock()
	was := b.closed
	b.closed = true
	b.mu.Unlock()
	if was {
		return
	}
	close(b.keeper.quit)
	b.poll.close()
	b.wg.Wait()
}

// Lost is the number of lines that were not stored or not passed to a follower (count).
func (b *Book) Lost() uint64 { return b.lost.Load() + b.hub.missed.Load() }

// LostOf is the number of an app's lines that were not stored (count).
func (b *Book) LostOf(app string) uint64 { return b.app(app).lost.Load() }

// Trouble is a file of an app that could not be written the last time.
type Trouble struct {
	App  string
	Path string
	Lost uint64 // lines of the app that were not stored since the start
	Err  error
}

// Troubles are the files that cannot be written, of each app the first.
func (b *Book) Troubles() []Trouble {
	b.mu.Lock()
	apps := slices.SortedFunc(maps.Values(b.apps), func(x, y *app) int { return strings.Compare(x.name, y.name) })
	b.mu.Unlock()
	var out []Trouble
	for _, a := range apps {
		writers := a.writers()
		slices.SortFunc(writers, func(x, y *file) int { return strings.Compare(x.path, y.path) })
		for _, f := range writers {
			if err := f.broken.Load(); err != nil {
				out = append(out, Trouble{App: a.name, Path: f.path, Lost: a.lost.Load(), Err: *err})
				break
			}
		}
	}
	return out
}

// Size is the bytes of all log files of an app, the custom ones too.
func (b *Book) Size(app string) int64 { return b.app(app).size() }

// Policy is what holds for an app now; the default for one that nobody has set any for.
func (b *Book) Policy(app string) Policy { return b.app(app).rules() }

// stamp is a time that was never given before, in microseconds, later than all before it.
func (b *Book) stamp() int64 {
	for {
		last := b.last.Load()
		now := max(time.Now().UnixMicro(), last+1)
		if b.last.CompareAndSwap(last, now) {
			return now
		}
	}
}

func (b *Book) app(name string) *app {
	b.mu.Lock()
	defer b.mu.Unlock()
	a := b.apps[name]
	if a == nil {
		a = newApp(b, name)
		b.apps[name] = a
	}
	return a
}

func (b *Book) folder(app string) string { return filepath.Join(b.o.Dir, app) }

// chosen are the apps of a name, all apps with logs for "".
func (b *Book) chosen(name string) []*app {
	if name != "" {
		return []*app{b.app(name)}
	}
	var out []*app
	for _, name := range names(b.o.Dir) {
		if fi, err := os.Stat(b.folder(name)); err == nil && fi.IsDir() {
			out = append(out, b.app(name))
		}
	}
	return out
}

// settle waits until everything is on disk that was taken from pipes before.
func (b *Book) settle(a *app) {
	for _, f := range a.writers() {
		if err := f.ask(func() error { return nil }); err != nil {
			b.log.Warn("output not written yet", "app", a.name, "err", err)
		}
	}
}

// Flush empties the logs of an app, "" = of all apps: what is being written begins anew, older files go.
func (b *Book) Flush(name string) error {
	var errs []error
	for _, a := range b.chosen(name) {
		for _, f := range a.writers() {
			errs = append(errs, f.ask(f.empty))
		}
		a.wipe()
	}
	return errors.Join(errs...)
}

// Reopen closes the files of an app, "" = of all apps, and opens them again by their names: another program has moved them away.
func (b *Book) Reopen(name string) error {
	var errs []error
	for _, a := range b.chosen(name) {
		for _, f := range a.writers() {
			errs = append(errs, f.ask(func() error {
				f.shut()
				return f.open()
			}))
		}
	}
	return errors.Join(errs...)
}

// Remove deletes the stored logs of an app that has no worker any more. Custom files stay.
func (b *Book) Remove(name string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if a := b.apps[name]; a != nil {
		if len(a.writers()) > 0 {
			return fmt.Errorf("remove the logs of %s: it has workers still", name)
		}
		delete(b.apps, name)
	}
	if err := os.RemoveAll(b.folder(name)); err != nil {
		return fmt.Errorf("remove the logs of %s: %w", name, err)
	}
	return nil
}
