package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func lines(t *testing.T, l *Log, most int) []string {
	t.Helper()
	var out []string
	err := l.Newest(func(line []byte) bool {
		out = append(out, string(line))
		return len(out) < most
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestAppendAndRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	l := New(path)
	if got := lines(t, l, 9); got != nil {
		t.Errorf("an empty log holds %q", got)
	}
	for i := range 3 {
		if err := l.Append(fmt.Appendf(nil, "line %d", i)); err != nil {
			t.Fatal(err)
		}
	}
	if got := strings.Join(lines(t, l, 2), ","); got != "line 2,line 1" {
		t.Errorf("the newest are %q", got)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	for _, bad := range [][]byte{[]byte("two\nlines"), bytes.Repeat([]byte{'x'}, maxLine+1)} {
		if l.Append(bad) == nil {
			t.Errorf("%d bytes are taken for a line", len(bad))
		}
	}
	if k, err := l.Failed(); k != 2 || err == nil {
		t.Errorf("failed %d, %v", k, err)
	}
	if err := l.Append([]byte("line 3")); err != nil {
		t.Error(err)
	}
	if k, err := l.Failed(); k != 2 || err != nil {
		t.Errorf("after one that was written: failed %d, %v", k, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func TestLineCutShortByACrash(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(path, []byte("whole\nhal"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := New(path)
	defer l.Close()
	if err := l.Append([]byte("next")); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(lines(t, l, 9), ","); got != "next,hal,whole" {
		t.Errorf("got %q", got)
	}
}

func TestTurnedOver(t *testing.T) {
	dir := t.TempDir()
	l := New(filepath.Join(dir, "audit.log"))
	defer l.Close()
	line := bytes.Repeat([]byte{'x'}, maxLine-8)
	const many = (files + 2) * fileBytes / (maxLine - 8)
	for i := range many {
		if err := l.Append(fmt.Appendf(nil, "%07d%s", i, line)); err != nil {
			t.Fatal(err)
		}
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != files {
		t.Errorf("%d files, %v", len(found), err)
	}
	for _, f := range found {
		if info, err := os.Stat(f); err != nil || info.Size() > fileBytes {
			t.Errorf("%s: %d bytes, %v", f, info.Size(), err)
		}
	}
	next := many
	for _, got := range lines(t, l, many) { // none is missing between the oldest and the newest
		next--
		if want := fmt.Sprintf("%07d", next); got[:7] != want {
			t.Fatalf("line %s where %s is due", got[:7], want)
		}
	}
	if next > many/2 {
		t.Errorf("only %d lines are left of %d", many-next, many)
	}
}

func TestFolderThatIsNotThere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "later", "audit.log")
	l := New(path)
	defer l.Close()
	if err := l.Append([]byte("lost")); err == nil || strings.Count(err.Error(), path) != 1 {
		t.Errorf("got %v", err)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]byte("kept")); err != nil {
		t.Error(err)
	}
	if got := strings.Join(lines(t, l, 9), ","); got != "kept" {
		t.Errorf("got %q", got)
	}
}
