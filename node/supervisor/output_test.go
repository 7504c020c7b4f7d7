package supervisor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
)

// openStream returns a stream that writes below dir.
func openStream(t *testing.T, dir, app, name string, h *hub) *stream {
	t.Helper()
	s := newStream(h, filepath.Join(dir, "logs"), app, 0, name)
	t.Cleanup(s.close)
	return s
}

func newHub() *hub { return &hub{followers: make(map[*Follower]struct{})} }

func reader(dir string) *Supervisor { return New(Options{Dir: dir, Logger: hclog.NewNullLogger()}) }

func texts(ls []Line) (out []string) {
	for _, l := range ls {
		out = append(out, l.Text)
	}
	return out
}

func TestLinesAreStoredAndCut(t *testing.T) {
	dir := t.TempDir()
	s := openStream(t, dir, "app", "out", newHub())
	var tl tail
	full := strings.Repeat("x", maxLineBytes)
	s.copy(strings.NewReader("one\r\n\ntwo\n"+full+"\n"+full+"rest\nlast, without an end"), &tl)
	got, err := reader(dir).LastLines("app", "", 100)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"one", "", "two", full, full, "rest", "last, without an end"}
	if !slices.Equal(texts(got), want) {
		t.Errorf("%d lines, want %d: %.80q", len(got), len(want), texts(got))
	}
	for i, l := range got {
		if l.App != "app" || l.Worker != "app/0" || l.Stream != "out" || time.Since(l.Time) > time.Minute || i > 0 && l.Time.Before(got[i-1].Time) {
			t.Errorf("line %+v", l)
		}
	}
	if ls := tl.all(); len(ls) != len(want) || len(ls[3]) != maxTailLine {
		t.Errorf("tail of %d lines", len(ls))
	}
	for i := range 2 * tailLines {
		tl.add(fmt.Sprint(i))
	}
	if ls := tl.all(); len(ls) != tailLines || ls[tailLines-1] != fmt.Sprint(2*tailLines-1) {
		t.Errorf("tail %q", ls)
	}
}

func TestLastLines(t *testing.T) {
	dir := t.TempDir()
	h := newHub()
	var tl tail
	out, errs, other := openStream(t, dir, "app", "out", h), openStream(t, dir, "app", "err", h), openStream(t, dir, "my-app.2", "out", h)
	for i := range 5000 { // further back than one step
		out.add(fmt.Sprintf("out %d %s", i, strings.Repeat(".", 40)), &tl)
	}
	errs.add("err", &tl)
	other.add("other", &tl)
	if err := os.WriteFile(filepath.Join(dir, "logs", "app", "notes.txt"), []byte("x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := reader(dir)
	for _, c := range []struct {
		app, stream string
		n, want     int
		last        string
	}{
		{"app", "", 10, 10, "err"}, {"app", "out", 10, 10, "out 4999"}, {"app", "err", 10, 1, "err"}, {"app", "out", 4000, 4000, "out 4999"},
		{"app", "out", 9000, 5000, "out 4999"}, {"", "", 3, 3, "other"}, {"my-app.2", "", 3, 1, "other"}, {"none", "", 3, 0, ""}, {"app", "", 0, 0, ""},
	} {
		got, err := r.LastLines(c.app, c.stream, c.n)
		if err != nil || len(got) != c.want || len(got) > 0 && !strings.HasPrefix(got[len(got)-1].Text, c.last) {
			t.Errorf("last %d of %q %q: %d lines, %v; last %+v", c.n, c.app, c.stream, len(got), err, got[max(0, len(got)-1):])
		}
	}
}

func TestFilesAreRotated(t *testing.T) {
	dir := t.TempDir()
	s := openStream(t, dir, "app", "out", newHub())
	s.file.MaxSize = 1 // MB
	var tl tail
	long := strings.Repeat("x", 10<<10)
	for range 150 {
		s.add(long, &tl)
	}
	s.add("end", &tl)
	s.close() // waits for the compression
	files, err := os.ReadDir(filepath.Join(dir, "logs", "app"))
	if err != nil || len(files) != 2 {
		t.Fatalf("files %v, %v", files, err)
	}
	if !slices.ContainsFunc(files, func(f os.DirEntry) bool { return strings.HasSuffix(f.Name(), ".gz") }) {
		t.Errorf("the older file is not compressed: %v", files)
	}
	if got, err := reader(dir).LastLines("app", "", 1); err != nil || len(got) != 1 || got[0].Text != "end" {
		t.Errorf("after a rotation: %v, %v", got, err)
	}
}

func TestLinesThatCannotBeStoredAreCounted(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "logs"), nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	r := reader(dir)
	s := openStream(t, dir, "app", "out", r.hub)
	f := r.Follow("app")
	defer f.Close()
	var tl tail
	s.add("x", &tl)
	if r.LostLines() != 1 || len(tl.all()) != 1 || (<-f.Lines()).Text != "x" {
		t.Errorf("lost %d", r.LostLines())
	}
}

func TestFollowers(t *testing.T) {
	dir := t.TempDir()
	r := reader(dir)
	s := openStream(t, dir, "app", "out", r.hub)
	mine, all, other := r.Follow("app"), r.Follow(""), r.Follow("other")
	var tl tail
	for range followerBuffer + 5 {
		s.add("x", &tl)
	}
	if len(mine.Lines()) != followerBuffer || len(all.Lines()) != followerBuffer || len(other.Lines()) != 0 {
		t.Errorf("lines waiting: %d, %d, %d", len(mine.Lines()), len(all.Lines()), len(other.Lines()))
	}
	if mine.Lost() != 5 || r.LostLines() != 10 {
		t.Errorf("lost %d, in all %d", mine.Lost(), r.LostLines())
	}
	for _, f := range []*Follower{mine, all, other} {
		f.Close()
		f.Close()
	}
	if len(r.hub.followers) != 0 {
		t.Error("a closed follower is kept")
	}
}

func TestHeadline(t *testing.T) {
	for _, c := range []struct {
		tail []string
		want string
	}{
		{nil, ""},
		{[]string{"", "  ", "hello"}, "hello"},
		{[]string{"/app/server.js:3", "  throw new Error('x')", "  ^", "", "Error: no database", "    at Object.<anonymous>", "Node.js v20.20.2"}, "Error: no database"},
		{[]string{"Traceback (most recent call last):", "ModuleNotFoundError: No module named 'x'"}, "ModuleNotFoundError: No module named 'x'"},
		{[]string{"/app/x.js:1", "throw 1", "^", "1", "(Use `node --trace-uncaught ...` to show where the exception was thrown)", "Node.js v20.20.2"}, "1"},
		{[]string{"loading", "fatal error: out of luck", "more"}, "fatal error: out of luck"},
		{[]string{"one", "two", "    at f (x.js:1)", "^^^^"}, "two"},
		{[]string{strings.Repeat("é", 300)}, strings.Repeat("é", 100)},
		{[]string{"a" + strings.Repeat("é", 300)}, "a" + strings.Repeat("é", 99)},
	} {
		if got := Headline(c.tail); got != c.want {
			t.Errorf("headline of %q: %q, want %q", c.tail, got, c.want)
		}
	}
}
