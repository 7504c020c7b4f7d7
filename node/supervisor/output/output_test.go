package output

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestLinesAreStoredAndCut(t *testing.T) {
	b, dir := openBook(t)
	full := strings.Repeat("x", maxLineBytes)
	printed(t, b, "app", Policy{}, "one\r\n\n\x1b[31mtwo\n"+full+"\n"+full+"rest\nlast, without an end")
	want := []string{"0 out one", "0 out ", "0 out \x1b[31mtwo", "0 out " + full, "0 out " + full, "0 out rest", "0 out last, without an end"}
	if d := cmp.Diff(want, stored(t, b, Query{Apps: []string{"app"}, Lines: 100})); d != "" {
		t.Errorf("(-want +got):\n%.500s", d)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "app", "0-out.log"))
	if err != nil || !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z one\n`).Match(raw) {
		t.Errorf("%.80q, %v", raw, err)
	}
}

func TestTailAndNote(t *testing.T) {
	b, _ := openBook(t)
	s := b.Slot("app", 3, Policy{})
	defer s.Close()
	p := attach(t, s)
	p.print(strings.Repeat("o\n", 50) + strings.Repeat("y", 2*maxTailLine) + "\n")
	p.err.WriteString("e\n")
	p.run.Note("meshnode: late")
	p.end()
	tail := p.run.Tail()
	if len(tail) != 22 || len(tail[21]) != maxTailLine || !slices.Contains(tail[:2], "e") || !slices.Contains(tail[:2], "meshnode: late") {
		t.Errorf("tail %.100q", tail)
	}
	if got := stored(t, b, Query{Worker: "3", Stream: StreamErr, Lines: 9}); len(got) != 2 {
		t.Errorf("errors %q", got)
	}
}

func TestPartialLineIsNotWaitedForForever(t *testing.T) {
	b, _ := openBook(t)
	s := b.Slot("app", 0, Policy{})
	defer s.Close()
	f := b.Follow(Query{})
	defer f.Close()
	p := attach(t, s)
	defer p.end()
	p.print("name? ")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if ls, err := f.Next(ctx); err != nil || ls[0].Text != "name? " {
		t.Errorf("%v, %v", ls, err)
	}
}

func TestWaitDoesNotWaitForStrays(t *testing.T) {
	b, _ := openBook(t)
	s := b.Slot("app", 0, Policy{})
	defer s.Close()
	p := attach(t, s) // somebody holds the pipes open
	p.print("said")
	p.run.Wait(time.Millisecond)
	if got := stored(t, b, Query{Lines: 9}); !slices.Equal(got, []string{"0 out said"}) {
		t.Errorf("%q", got)
	}
	p.out.Close()
	p.err.Close()
}

func TestHandover(t *testing.T) {
	b, dir := openBook(t)
	s := b.Slot("app", 0, Policy{})
	f := b.Follow(Query{})
	p := attach(t, s)
	p.print("one\ntw")
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if ls, err := f.Next(ctx); err != nil || ls[0].Text != "one" {
		t.Fatalf("%v, %v", ls, err)
	}
	f.Close()
	left := p.run.Detach()
	s.Close()
	p.print("o\nthree\n")
	if string(left[0]) != "tw" || len(left[1]) != 0 {
		t.Fatalf("left %q", left)
	}
	raw, err := os.ReadFile(filepath.Join(dir, "app", "0-out.log"))
	if err != nil || !bytes.HasSuffix(raw, []byte(" one\n")) {
		t.Errorf("stored before the handover: %q, %v", raw, err)
	}
	s = b.Slot("app", 0, Policy{})
	defer s.Close()
	p.run = s.Attach(p.r[0], p.r[1], left)
	p.end()
	if got := stored(t, b, Query{Lines: 9}); !slices.Equal(got, []string{"0 out one", "0 out two", "0 out three"}) {
		t.Errorf("%q", got)
	}
}

func TestFilesTurnOverAndAreReadBack(t *testing.T) {
	b, dir := openBook(t)
	p := Policy{FileBytes: 1 << 20, Keep: 3}
	const n = 60_000 // 7.6 MB with times
	printed(t, b, "app", p, numbered(0, n))
	eventually(t, "compression", func() bool {
		files, _ := onDisk(t, filepath.Join(dir, "app"))
		return len(files) == 4 && strings.HasSuffix(files[0], ".gz") && strings.HasSuffix(files[1], ".gz") && strings.HasSuffix(files[2], ".gz") ||
			len(files) == 4 && slices.IndexFunc(files, func(f string) bool { return strings.Contains(f, "-2") && !strings.HasSuffix(f, ".gz") }) < 0
	})
	got := stored(t, b, Query{Apps: []string{"app"}, Lines: n})
	if len(got) < 3*7000 || len(got) > 4*9000 {
		t.Fatalf("%d lines of 4 files", len(got))
	}
	for i, l := range got {
		if want := "0 out " + strings.TrimSuffix(numbered(n-len(got)+i, 1), "\n"); l != want {
			t.Fatalf("line %d: %.40q, want %.40q", i, l, want)
		}
	}
	if got := stored(t, b, Query{Lines: 2, Grep: regexp.MustCompile(`00\d7777 `)}); len(got) != 2 || !strings.HasPrefix(got[1], "0 out 000057777") {
		t.Errorf("%.60q", got)
	}
	if _, size := onDisk(t, filepath.Join(dir, "app")); size != b.Size("app") {
		t.Errorf("%d bytes on disk, %d counted", size, b.Size("app"))
	}
}

func TestCapIsHard(t *testing.T) {
	b, dir := openBook(t)
	out := filepath.Join(t.TempDir(), "made", "custom.log")
	p := Policy{CapBytes: 2 << 20, FileBytes: 10 << 20, Custom: Custom{Out: out}}
	for round := range 3 { // over restarts of the worker
		printed(t, b, "app", p, numbered(round, 50_000))
		_, own := onDisk(t, filepath.Join(dir, "app"))
		_, custom := onDisk(t, filepath.Dir(out))
		if own+custom > p.CapBytes || own+custom < p.CapBytes/8 {
			t.Errorf("%d bytes of %d", own+custom, p.CapBytes)
		}
	}
	if b.LostOf("app") != 0 {
		t.Errorf("%d lines dropped", b.LostOf("app"))
	}
	if got := stored(t, b, Query{Lines: 1}); len(got) != 1 || !strings.HasPrefix(got[0], "0 out 000050001 ") {
		t.Errorf("%.40q", got)
	}
}

func TestLinesThatCannotBeStoredAreCountedAndToldOf(t *testing.T) {
	b, dir := openBook(t)
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // a file where the folder should be
		t.Fatal(err)
	}
	s := b.Slot("app", 0, Policy{})
	defer s.Close()
	p := attach(t, s)
	p.print("a\nb\n")
	eventually(t, "the count", func() bool { return b.LostOf("app") == 2 && b.Lost() == 2 })
	if got := b.Troubles(); len(got) != 1 || got[0].App != "app" || got[0].Err == nil {
		t.Errorf("troubles: %v", got)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	p.print("c\n")
	eventually(t, "the note", func() bool { // the file is tried again after a while
		p.print("d\n")
		return slices.ContainsFunc(stored(t, b, Query{Lines: 99}), func(l string) bool { return strings.Contains(l, "lines dropped since 20") })
	})
	if got := b.Troubles(); len(got) != 0 {
		t.Errorf("troubles: %v", got)
	}
	p.end()
}

func TestDiskBoundsTheCap(t *testing.T) {
	b, _ := openBook(t)
	for _, app := range []string{"one", "two"} {
		printed(t, b, app, Policy{}, "a line\n")
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(b.folder("one"), &disk); err != nil {
		t.Fatal(err)
	}
	a := b.app("one")
	a.measure() // now that both are there
	if want := int64(disk.Blocks) * disk.Bsize / 4; a.share != want {
		t.Errorf("a share of %d bytes, want %d", a.share, want)
	}
	a.share = 5 << 20
	if got := a.capped(); got != 5<<20 {
		t.Errorf("a cap of %d bytes", got)
	}
	a.share = 1
	if got := a.capped(); got != minCapBytes {
		t.Errorf("a cap of %d bytes", got)
	}
}

func TestSlowDiskDropsLines(t *testing.T) {
	b, _ := openBook(t)
	s := b.Slot("app", 0, Policy{})
	defer s.Close()
	p := attach(t, s)
	p.print("first\n")
	eventually(t, "the file", func() bool { return len(b.app("app").writers()) == 2 })
	free := make(chan struct{})
	stuck := make(chan struct{})
	f := b.app("app").files[filepath.Join(b.folder("app"), "0-out.log")]
	go f.ask(func() error { close(stuck); <-free; return nil })
	<-stuck
	text := numbered(0, 10_000)
	for range 60 { // 76 MB: the worker is not held up
		p.print(text)
	}
	p.out.Close()
	eventually(t, "drops", func() bool { return b.LostOf("app") > 0 })
	close(free)
	p.end()
	lost := b.LostOf("app")
	got := stored(t, b, Query{Stream: StreamOut, Lines: 10})
	if want := "lines dropped since"; !strings.Contains(got[len(got)-1], want) && !slices.ContainsFunc(stored(t, b, Query{Lines: 100_000, Grep: regexp.MustCompile(want)}), func(string) bool { return true }) {
		t.Errorf("%d lines dropped and nothing says so: %.80q", lost, got)
	}
}

func TestMerged(t *testing.T) {
	b, dir := openBook(t)
	a, c := b.Slot("app", 0, Policy{Merge: true}), b.Slot("app", 1, Policy{Merge: true})
	defer a.Close()
	defer c.Close()
	p, q := attach(t, a), attach(t, c)
	p.print("from 0\n")
	p.end()
	q.print("from 1\n")
	q.end()
	if got := stored(t, b, Query{Lines: 9}); !slices.Equal(got, []string{" out from 0", " out from 1"}) {
		t.Errorf("%q", got)
	}
	if files, _ := onDisk(t, filepath.Join(dir, "app")); !slices.Equal(files, []string{"all-out.log"}) {
		t.Errorf("%v", files)
	}
}

func TestCustomFiles(t *testing.T) {
	b, _ := openBook(t)
	dir := filepath.Join(t.TempDir(), "deep", "er")
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		return string(raw)
	}
	printed(t, b, "app", Policy{Custom: Custom{Out: dir + "/o.log", Err: "NULL", Combined: dir + "/all.log"}}, "x\n\xff\n")
	if got := read("o-0.log") + read("all-0.log"); got != "x\n\xff\nx\n\xff\n" {
		t.Errorf("%q", got)
	}
	printed(t, b, "app", Policy{Merge: true, Custom: Custom{Out: dir + "/m.log", Err: "/dev/null", Dates: "YYYY-MM-DDTHH:mm:ss"}}, "x\n")
	if got := read("m.log"); !regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d: x\n$`).MatchString(got) {
		t.Errorf("%q", got)
	}
	printed(t, b, "app", Policy{Merge: true, Custom: Custom{Out: dir + "/j.log", JSON: true}}, "a \"b\"\t\x1b\xff é\n")
	var got map[string]any
	if err := json.Unmarshal([]byte(read("j.log")), &got); err != nil {
		t.Fatal(err)
	}
	at, err := time.Parse(time.RFC3339, got["timestamp"].(string))
	if err != nil || time.Since(at) > time.Minute {
		t.Errorf("%v, %v", got, err)
	}
	delete(got, "timestamp")
	if d := cmp.Diff(map[string]any{"message": "a \"b\"\t\x1b\ufffd é\n", "type": "out", "process_id": 0.0, "app_name": "app"}, got); d != "" {
		t.Error(d)
	}
}

func TestDisabled(t *testing.T) {
	b, dir := openBook(t)
	f := b.Follow(Query{})
	defer f.Close()
	printed(t, b, "app", Policy{Disabled: true, Custom: Custom{Out: dir + "/x.log"}}, "x\n")
	if ls := f.grab(); len(ls) != 1 || ls[0].Text != "x" {
		t.Errorf("%v", ls)
	}
	if got := names(dir); len(got) > 0 {
		t.Errorf("%v", got)
	}
}

func TestFlushReopenRemove(t *testing.T) {
	b, dir := openBook(t)
	s := b.Slot("app", 0, Policy{FileBytes: minFileBytes})
	p := attach(t, s)
	path := filepath.Join(dir, "app", "0-out.log")
	p.print(numbered(0, 5000))
	eventually(t, "several files", func() bool { return len(names(filepath.Dir(path))) > 1 })
	eventually(t, "all lines", func() bool { return len(stored(t, b, Query{Lines: 9999})) == 5000 })
	if err := b.Flush("app"); err != nil {
		t.Fatal(err)
	}
	if got := stored(t, b, Query{Lines: 9}); len(got) != 0 {
		t.Errorf("%d lines are left", len(got))
	}
	eventually(t, "empty files", func() bool { // one may have been at being compressed
		_, size := onDisk(t, filepath.Dir(path))
		return size == 0 && b.Size("app") == 0
	})
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := b.Reopen(""); err != nil {
		t.Fatal(err)
	}
	p.print("after\n")
	eventually(t, "the new file", func() bool { raw, _ := os.ReadFile(path); return bytes.HasSuffix(raw, []byte(" after\n")) })
	if err := b.Remove("app"); err == nil {
		t.Error("logs of a worker that runs were removed")
	}
	p.end()
	s.Close()
	if err := b.Remove("app"); err != nil || len(names(dir)) != 0 {
		t.Errorf("%v, left %v", err, names(dir))
	}
}
