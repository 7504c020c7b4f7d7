package output

import (
	"cmp"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// source is one stream of one slot, read from its end back over all its files.
type source struct {
	line  Line     // what its lines have in common
	files []*entry // not looked at yet, the oldest first
	cur   *back
	head  Line
	read  bool // head holds a line
	over  bool
}

// sources are the streams of the app that a query wants. The files that are being written are opened here, so that one that turns over
// meanwhile is neither missed nor read twice.
func (a *app) sources(q Query) (out []*source, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	byStem := make(map[string]*source)
	for _, e := range a.entries {
		slot, stream, ok := cutName(filepath.Base(e.stem))
		if !ok || filepath.Dir(e.path) != a.dir || strings.HasSuffix(e.path, ".tmp") {
			continue
		}
		if slot == mergedSlot {
			slot = ""
		}
		if q.Stream != "" && q.Stream != stream || q.Worker != "" && q.Worker != slot {
			continue
		}
		s := byStem[e.stem]
		if s == nil {
			s = &source{line: Line{App: a.name, Worker: slot, Stream: stream}}
			byStem[e.stem] = s
			out = append(out, s)
		}
		if e.old {
			s.files = append(s.files, &entry{path: e.path, at: e.at, gz: e.gz})
			continue
		}
		if s.cur, err = openBack(e.path, false); err != nil && !errors.Is(err, os.ErrNotExist) {
			return out, err
		}
	}
	for _, s := range out {
		slices.SortFunc(s.files, func(a, b *entry) int { return cmp.Compare(a.at, b.at) })
	}
	slices.SortFunc(out, func(a, b *source) int {
		return cmp.Or(cmp.Compare(a.line.Worker, b.line.Worker), cmp.Compare(b.line.Stream, a.line.Stream))
	})
	return out, nil
}

// fill has the next older line in head, or over set.
func (s *source) fill() error {
	for !s.read && !s.over {
		if s.cur == nil {
			if err := s.older(); err != nil {
				return err
			}
			continue
		}
		text, ok, err := s.cur.prev()
		if err != nil {
			return err
		}
		if !ok {
			s.cur.close()
			s.cur = nil
			continue
		}
		at := s.head.Time // of the line after it, where it has none
		s.head = s.line
		s.head.Time = at
		s.head.Text = text
		if len(text) > len(timeFormat) {
			if t, err := time.Parse(timeFormat, text[:len(timeFormat)]); err == nil {
				s.head.Time, s.head.Text = t, text[len(timeFormat)+1:]
			}
		}
		s.read = true
	}
	return nil
}

// older opens the next older file. One that is gone was removed for the cap, or compressed.
func (s *source) older() error {
	if len(s.files) == 0 {
		s.over = true
		return nil
	}
	e := s.files[len(s.files)-1]
	s.files = s.files[:len(s.files)-1]
	f, err := openBack(e.path, e.gz)
	if errors.Is(err, os.ErrNotExist) && !e.gz {
		f, err = openBack(e.path+".gz", true)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	s.cur = f
	return nil
}

func (s *source) close() {
	if s.cur != nil {
		s.cur.close()
	}
}
