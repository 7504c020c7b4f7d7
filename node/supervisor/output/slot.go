package output

import (
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// Slot is the output of one place for a worker, over restarts.
type Slot struct {
	book  *Book
	app   string
	index int

	mu     sync.Mutex
	policy Policy
	notes  *sink // its files are held from the first note on
}

// Slot returns a slot of an app. The policy holds for the whole app. Close the slot when all its runs are over.
func (b *Book) Slot(app string, index int, p Policy) *Slot {
	s := &Slot{book: b, app: app, index: index}
	s.SetPolicy(p)
	return s
}

// SetPolicy has the runs that are attached from now on keep their output so. Sizes hold at once, for the whole app.
func (s *Slot) SetPolicy(p Policy) {
	p = p.filled()
	a := s.book.app(s.app)
	a.mu.Lock()
	a.policy = p
	a.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.policy != p {
		s.policy = p
		s.letGo()
	}
}

// Attach reads a process's pipes from now on; leftover are the beginnings of lines that Detach has given. The run owns both files, until
// Detach.
func (s *Slot) Attach(out, err *os.File, leftover [2][]byte) *Run {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Run{slot: s, quit: make(chan struct{}), expire: make(chan struct{})}
	var readers sync.WaitGroup
	var held []*file
	for i, f := range []*os.File{out, err} {
		to := s.sink([]string{StreamOut, StreamErr}[i])
		held = append(held, to.files...)
		r.tails[i] = &tail{}
		r.readers[i] = newReader(s.book.poll, f, tailed{to, r.tails[i]}, leftover[i])
		readers.Go(func() { r.readers[i].run(r.quit, r.expire) })
	}
	r.wg.Go(func() {
		readers.Wait()
		for _, f := range held { // what was read is written before the run is over
			if err := f.ask(func() error { return nil }); err != nil {
				s.book.log.Warn("output not written yet", "app", s.app, "err", err)
			}
		}
		for _, f := range held {
			s.book.release(f)
		}
	})
	return r
}

// sink opens the files of one stream.
func (s *Slot) sink(stream string) *sink {
	a := s.book.app(s.app)
	to := &sink{book: s.book, app: s.app, worker: strconv.Itoa(s.index), stream: stream,
		form: form{app: s.app, slot: s.index, stream: stream, dates: s.policy.Custom.Dates, json: s.policy.Custom.JSON}}
	if s.policy.Disabled {
		return to
	}
	name := to.worker
	if s.policy.Merge {
		name = mergedSlot
	}
	to.files = append(to.files, s.book.acquire(a, filepath.Join(a.dir, name+"-"+stream+".log"), false))
	for _, path := range s.policy.paths(s.index, stream) {
		to.files = append(to.files, s.book.acquire(a, path, true))
	}
	return to
}

// Note stores a line of meshnode's own among the errors.
func (s *Slot) Note(text string) {
	s.mu.Lock()
	if s.notes == nil {
		s.notes = s.sink(StreamErr)
	}
	to := s.notes
	s.mu.Unlock()
	to.one([]byte(text))
}

// letGo gives up the files held for notes.
func (s *Slot) letGo() {
	if s.notes != nil {
		for _, f := range s.notes.files {
			s.book.release(f)
		}
		s.notes = nil
	}
}

// Close closes the slot's files, once they are written. Its runs are over.
func (s *Slot) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.letGo()
}

// acquire returns the file of a path, opened once for all who write it.
func (b *Book) acquire(a *app, path string, custom bool) *file {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.files[path]
	if f == nil {
		f = newFile(a, path, custom)
		a.files[path] = f
		if custom {
			a.findCustom(path)
		}
		b.wg.Go(f.run)
	}
	f.users++
	return f
}

// release gives a file up; the last who does has it written and closed.
func (b *Book) release(f *file) {
	f.app.mu.Lock()
	defer f.app.mu.Unlock()
	if f.users--; f.users == 0 {
		delete(f.app.files, f.path)
		close(f.quit)
	}
}
