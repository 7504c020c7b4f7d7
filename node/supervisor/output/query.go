package output

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"time"
)

// Bounds of reading back.
const (
	queriesAtOnce = 4
	queryBytes    = 32 << 20 // text of one query's past
)

// Query says which lines are wanted.
type Query struct {
	Apps   []string // Apps are the wanted apps; none = all.
	Worker string   // Worker is a slot's number; "" = all.
	Stream string   // Stream is StreamOut or StreamErr; "" = both.
	Lines  int      // Lines is how many of the past are wanted at most, the newest.
	Since  time.Time
	Grep   *regexp.Regexp // Grep picks lines by their text; nil = all.
	Follow bool           // Follow goes on with new lines until the context ends.
}

func (q Query) wants(app, worker, stream string) bool {
	return (len(q.Apps) == 0 || slices.Contains(q.Apps, app)) && (q.Worker == "" || q.Worker == worker) && (q.Stream == "" || q.Stream == stream)
}

func (q Query) picks(text string) bool { return q.Grep == nil || q.Grep.MatchString(text) }

// Read calls emit for each line of the past in time order and, if they are wanted, for new ones as they come; between the two
// stands a line with Now, and nothing is missing or comes twice. It returns emit's error as it is, and no error when the context ends.
func (b *Book) Read(ctx context.Context, q Query, emit func(Line) error) error {
	var f *Follower
	until := int64(1<<63 - 1)
	if q.Follow {
		f, until = b.hub.follow(q, b.stamp)
		defer f.Close()
	}
	past, err := b.past(ctx, q, until)
	if err != nil {
		return err
	}
	for _, l := range past {
		if err := emit(l); err != nil {
			return err
		}
	}
	if f == nil {
		return nil
	}
	if err := emit(Line{Time: time.UnixMicro(until).UTC(), Now: true}); err != nil {
		return err
	}
	for {
		lines, err := f.Next(ctx)
		if err != nil {
			return nil
		}
		for _, l := range lines {
			if l.Dropped == 0 && !q.picks(l.Text) {
				continue
			}
			if err := emit(l); err != nil {
				return err
			}
		}
	}
}

// Follow returns a follower of the lines from now on. The caller closes it.
func (b *Book) Follow(q Query) *Follower {
	f, _ := b.hub.follow(q, b.stamp)
	return f
}

// past reads the wanted lines that are stored, the newest first, and returns them in time order.
func (b *Book) past(ctx context.Context, q Query, until int64) ([]Line, error) {
	if q.Lines <= 0 {
		return nil, nil
	}
	select {
	case b.turns <- struct{}{}:
		defer func() { <-b.turns }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	sources, err := b.sources(q)
	defer func() {
		for _, s := range sources {
			s.close()
		}
	}()
	if err != nil {
		return nil, err
	}
	var out []Line
	bytes := 0
	for len(out) < q.Lines && bytes < queryBytes {
		s, err := newest(sources)
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		if s == nil || !q.Since.IsZero() && s.head.Time.Before(q.Since) {
			break
		}
		if l := s.head; l.Time.UnixMicro() <= until && q.picks(l.Text) {
			out = append(out, l)
			bytes += len(l.Text) + 64
		}
		s.read = false
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	slices.Reverse(out)
	return out, nil
}

// newest is the source with the newest line not looked at yet; nil = there is none.
func newest(sources []*source) (*source, error) {
	var best *source
	for _, s := range sources {
		if err := s.fill(); err != nil {
			return nil, err
		}
		if !s.over && (best == nil || !s.head.Time.Before(best.head.Time)) {
			best = s
		}
	}
	return best, nil
}

// sources are the streams of the wanted apps.
func (b *Book) sources(q Query) ([]*source, error) {
	wanted := q.Apps
	if len(wanted) == 0 {
		wanted = names(b.o.Dir)
	}
	var out []*source
	for _, name := range wanted {
		if fi, err := os.Stat(b.folder(name)); err != nil || !fi.IsDir() {
			continue // it never wrote
		}
		a := b.app(name)
		b.settle(a)
		found, err := a.sources(q)
		out = append(out, found...)
		if err != nil {
			return out, fmt.Errorf("read the log: %w", err)
		}
	}
	return out, nil
}
