package output

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"go.uber.org/goleak"
)

// limit bounds every wait of these tests.
const limit = 15 * time.Second

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// openBook returns a book in a folder of its own.
func openBook(t *testing.T) (*Book, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "logs")
	b := Open(Options{Dir: dir, Logger: hclog.NewNullLogger()})
	t.Cleanup(b.Close)
	return b, dir
}

// process is the writing side of a run.
type process struct {
	t        *testing.T
	out, err *os.File
	r        [2]*os.File
	run      *Run
}

func attach(t *testing.T, s *Slot) *process {
	t.Helper()
	p := &process{t: t}
	var err error
	if p.r[0], p.out, err = Pipe(); err != nil {
		t.Fatal(err)
	}
	if p.r[1], p.err, err = Pipe(); err != nil {
		t.Fatal(err)
	}
	p.run = s.Attach(p.r[0], p.r[1], [2][]byte{})
	return p
}

func (p *process) print(text string) {
	p.t.Helper()
	if _, err := p.out.WriteString(text); err != nil {
		p.t.Error(err)
	}
}

// end closes the pipes and waits until all is stored.
func (p *process) end() {
	p.out.Close()
	p.err.Close()
	p.run.Wait(limit)
}

// printed stores text as the output of one process of slot 0.
func printed(t *testing.T, b *Book, app string, p Policy, text string) {
	t.Helper()
	s := b.Slot(app, 0, p)
	defer s.Close()
	w := attach(t, s)
	w.print(text)
	w.end()
}

// stored returns the lines of a query, each as "worker stream text".
func stored(t *testing.T, b *Book, q Query) (out []string) {
	t.Helper()
	var last time.Time
	err := b.Read(t.Context(), q, func(l Line) error {
		if l.Time.Before(last) {
			t.Errorf("%s comes after %s", l.Time, last)
		}
		last = l.Time
		out = append(out, fmt.Sprintf("%s %s %s", l.Worker, l.Stream, l.Text))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// eventually polls until cond holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// onDisk are the files of a folder and their bytes.
func onDisk(t *testing.T, dir string) (files []string, bytes int64) {
	t.Helper()
	for _, name := range names(dir) {
		if fi, err := os.Stat(filepath.Join(dir, name)); err == nil {
			files = append(files, name)
			bytes += fi.Size()
		}
	}
	return files, bytes
}

// numbered are lines of 100 bytes.
func numbered(from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%09d %s\n", from+i, strings.Repeat("x", 89))
	}
	return b.String()
}
