package raftlog

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

func options(dir string) Options {
	return Options{Dir: dir, ID: "s1", Cluster: "c1", Logger: hclog.NewNullLogger(), Check: func(b []byte) error {
		if !bytes.HasPrefix(b, []byte("good ")) {
			return errors.New("not good")
		}
		return nil
	}}
}

func open(t *testing.T, o Options) *Log {
	t.Helper()
	l, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func shut(t *testing.T, l *Log) {
	t.Helper()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

// fill makes a folder with a log of n commands, big enough for several pages, and closes it.
func fill(t *testing.T, n int) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	l := open(t, options(dir))
	if err := l.SetUint64([]byte(termKey), 3); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		data := fmt.Appendf(nil, "good %d %s", i, bytes.Repeat([]byte("x"), 300))
		if err := l.StoreLog(&raft.Log{Index: uint64(i + 1), Term: 2, Type: raft.LogCommand, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	shut(t, l)
	return dir
}

func TestReopen(t *testing.T) {
	dir := fill(t, 10)
	l := open(t, options(dir))
	last, err := l.LastIndex()
	if err != nil || last != 10 {
		t.Errorf("last index = %d, %v", last, err)
	}
	if l.Cluster() != "c1" {
		t.Errorf("cluster = %q", l.Cluster())
	}
	if err := l.SetCluster("c2"); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	if l := open(t, options(dir)); l.Cluster() != "c2" {
		t.Errorf("cluster = %q after it was set", l.Cluster())
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder has mode %v, %v", info.Mode(), err)
	}
}

func TestMarkerComesWithTheFirstTerm(t *testing.T) {
	dir := t.TempDir()
	l := open(t, options(dir))
	if err := l.SetUint64([]byte(termKey), 0); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	if has, err := HasState(dir); err != nil || has {
		t.Errorf("HasState of a server that waited to join = %v, %v", has, err)
	}
	l = open(t, options(dir))
	if err := l.SetUint64([]byte(termKey), 1); err != nil {
		t.Fatal(err)
	}
	shut(t, l)
	if has, err := HasState(dir); err != nil || !has {
		t.Errorf("HasState of a server with a term = %v, %v", has, err)
	}
}

func TestMissingMarkerIsMade(t *testing.T) {
	dir := fill(t, 3)
	path := filepath.Join(dir, markerFile)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if has, err := HasState(dir); err != nil || !has {
		t.Errorf("HasState without a marker = %v, %v", has, err)
	}
	open(t, options(dir))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestDamage(t *testing.T) {
	for name, tt := range map[string]struct {
		damage func(t *testing.T, dir string)
		want   error
	}{
		"log removed":   {func(t *testing.T, dir string) { must(t, os.Remove(filepath.Join(dir, logFile))) }, ErrLogLost},
		"log emptied":   {func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, logFile), 0)) }, ErrLogLost},
		"cut to a page": {func(t *testing.T, dir string) { must(t, os.Truncate(filepath.Join(dir, logFile), 4096)) }, ErrDamaged},
		"cut to half":   {cutToHalf, ErrDamaged},
		"command rots":  {func(t *testing.T, dir string) { rot(t, dir, "good 150") }, ErrDamaged},
		"marker rots": {func(t *testing.T, dir string) {
			must(t, os.WriteFile(filepath.Join(dir, markerFile), []byte("{"), 0o600))
		}, ErrDamaged},
		"another's": {func(t *testing.T, dir string) { must(t, writeMarker(dir, Marker{ID: "s2"})) }, ErrOtherServer},
		"fresh log": {func(t *testing.T, dir string) {
			must(t, os.Remove(filepath.Join(dir, logFile)))
			fresh := filepath.Join(t.TempDir(), "fresh")
			shut(t, open(t, options(fresh)))
			must(t, os.Rename(filepath.Join(fresh, logFile), filepath.Join(dir, logFile)))
		}, ErrLogLost},
	} {
		t.Run(name, func(t *testing.T) {
			dir := fill(t, 300)
			tt.damage(t, dir)
			if l, err := Open(options(dir)); !errors.Is(err, tt.want) || !strings.Contains(err.Error(), dir) {
				t.Errorf("open = %v, want %v, with the path", err, tt.want)
				if l != nil {
					shut(t, l)
				}
			}
			if has, err := HasState(dir); err != nil || !has {
				t.Errorf("HasState = %v, %v: a node would found or join anew", has, err)
			}
			must(t, Remove(dir))
			open(t, options(dir))
		})
	}
}

// TestEveryPage overwrites each page in turn. Bolt may not need a page; it must never crash the process.
func TestEveryPage(t *testing.T) {
	dir := fill(t, 60)
	path := filepath.Join(dir, logFile)
	good, err := os.ReadFile(path)
	must(t, err)
	noticed := 0
	for at := 0; at < len(good); at += 4096 {
		bad := bytes.Clone(good)
		for i := at; i < min(at+4096, len(bad)); i++ {
			bad[i] ^= 0x5a
		}
		must(t, os.WriteFile(path, bad, 0o600))
		l, err := Open(options(dir))
		if err == nil {
			shut(t, l)
		} else if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrLogLost) {
			t.Errorf("page %d: %v", at/4096, err)
		} else {
			noticed++
		}
	}
	if noticed == 0 {
		t.Error("no damage was noticed at all")
	}
}

func cutToHalf(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, logFile)
	info, err := os.Stat(path)
	must(t, err)
	must(t, os.Truncate(path, info.Size()/2/4096*4096))
}

// rot changes the first byte of every occurrence of text in the log.
func rot(t *testing.T, dir, text string) {
	t.Helper()
	path := filepath.Join(dir, logFile)
	b, err := os.ReadFile(path)
	must(t, err)
	bad := bytes.ReplaceAll(b, []byte(text), append([]byte("b"), text[1:]...))
	if bytes.Equal(b, bad) {
		t.Fatalf("%q is not in the log", text)
	}
	must(t, os.WriteFile(path, bad, 0o600))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := fill(t, 3)
		open(t, options(dir))
		start := time.Now()
		if _, err := Open(options(dir)); !errors.Is(err, ErrInUse) {
			t.Errorf("second open = %v", err)
		}
		if waited := time.Since(start); waited > 2*lockTimeout {
			t.Errorf("waited %s", waited)
		}
		must(t, os.Remove(filepath.Join(dir, markerFile)))
		if has, err := HasState(dir); err != nil || !has {
			t.Errorf("HasState of an open folder = %v, %v", has, err)
		}
	})
}

func TestNewFolderIsNoState(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "none")
	if has, err := HasState(dir); err != nil || has {
		t.Errorf("HasState = %v, %v", has, err)
	}
	must(t, Remove(dir))
}

// TestTermWaitsForTheDisk closes bolt underneath: every write fails until the log gives up.
func TestTermWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, options(t.TempDir()))
		must(t, l.database.Close())
		done := make(chan error)
		go func() { done <- l.SetUint64([]byte(termKey), 5) }()
		time.Sleep(time.Hour)
		select {
		case err := <-done:
			t.Fatalf("raft would have gone on, or panicked: %v", err)
		default:
		}
		l.Abort()
		if err := <-done; err != nil {
			t.Errorf("raft would panic at shutdown: %v", err)
		}
		if err := l.Set([]byte("LastVoteCand"), []byte("s2")); err == nil {
			t.Error("a vote was given after a term was lost")
		}
		if err := l.StoreLog(&raft.Log{Index: 1, Term: 5}); err == nil {
			t.Error("an entry was taken after a term was lost")
		}
	})
}

func TestReadOnlyDiskFailsAtOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "file")
	must(t, os.WriteFile(dir, nil, 0o600))
	if _, err := Open(options(dir)); err == nil {
		t.Error("opened a log in a file")
	}
}

func TestExtend(t *testing.T) {
	dir := fill(t, 10)
	for round := range uint64(2) {
		l := open(t, options(dir))
		first, last, _, err := l.Bounds()
		if err != nil || first != 1 || last != 10+2*round {
			t.Fatalf("bounds %d and %d, %v", first, last, err)
		}
		term := 100 * (round + 1)
		entries := []*raft.Log{{Index: last + 1, Term: term, Type: raft.LogConfiguration}, {Index: last + 2, Term: term, Type: raft.LogCommand, Data: []byte("good x")}}
		if err := l.Extend(term, entries); err != nil {
			t.Fatal(err)
		}
		_, last, lastTerm, err := l.Bounds()
		if now, termErr := l.Term(); err != nil || termErr != nil || last != 12+2*round || lastTerm != term || now != term {
			t.Errorf("ends at %d of term %d, in term %d, %v, %v", last, lastTerm, now, err, termErr)
		}
		shut(t, l)
		if err := l.Extend(term, entries); err == nil {
			t.Error("a closed log took entries")
		}
	}
	l := open(t, options(filepath.Join(t.TempDir(), "new")))
	first, last, _, err := l.Bounds()
	if term, termErr := l.Term(); first != 0 || last != 0 || term != 0 || err != nil || termErr != nil {
		t.Errorf("an empty log: %d to %d, term %d, %v, %v", first, last, term, err, termErr)
	}
}
