package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"meshnode/store/raftlog"
)

// compact has a leader take a snapshot of some changes, and drop all of its log but the end.
func (c *cluster) compact(leader *Store) {
	c.t.Helper()
	rc := leader.raft.ReloadableConfig()
	rc.TrailingLogs = 1
	if err := leader.raft.ReloadConfig(rc); err != nil {
		c.t.Fatal(err)
	}
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		c.put(name)
	}
	c.snapshot(leader)
}

func (c *cluster) snapshot(s *Store) {
	c.t.Helper()
	if err := s.raft.Snapshot().Error(); err != nil {
		c.t.Fatal(err)
	}
}

// snapshotsOf are the paths of a server's snapshots, oldest first.
func (c *cluster) snapshotsOf(id string) []string {
	c.t.Helper()
	paths, err := filepath.Glob(filepath.Join(c.dir(id), snapshotsDir, "*"))
	if err != nil || len(paths) == 0 {
		c.t.Fatalf("snapshots %v, %v", paths, err)
	}
	return paths
}

// flip changes one bit in the middle of a file.
func flip(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 4
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestDamagedSnapshotThatIsNotNeeded has the log make up for it.
func TestDamagedSnapshotThatIsNotNeeded(t *testing.T) {
	for _, file := range []string{"state.bin", "meta.json"} {
		t.Run(file, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := grow(t, 1)
				c.put("a")
				c.snapshot(c.leader())
				c.put("b")
				want := c.leader().Status()
				c.close("s1")
				bad := c.snapshotsOf("s1")[0]
				flip(t, filepath.Join(bad, file))
				if file == "meta.json" {
					if err := os.WriteFile(filepath.Join(bad, file), []byte("{"), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				s := c.open(c.options("s1", ""))
				c.leader()
				c.until("the log brought all back", func() bool { return s.machine.State().Hash() == want.Hash })
				if paths := c.snapshotsOf("s1"); len(paths) != 1 || paths[0] != bad+setAside {
					t.Errorf("%s is not set aside: %v", bad, paths)
				}
				c.put("c")
				c.snapshot(s)
				c.close("s1")
				c.open(c.options("s1", ""))
				c.leader()
			})
		})
	}
}

// TestLostSnapshot has a server notice that it has less than it had confirmed, instead of voting on it.
func TestLostSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, damage := range map[string]func(c *cluster, t *testing.T) (named string){
			"damaged": func(c *cluster, t *testing.T) string {
				path := c.snapshotsOf("s1")[0]
				flip(t, filepath.Join(path, "state.bin"))
				return path
			},
			"gone": func(c *cluster, t *testing.T) string {
				if err := os.RemoveAll(filepath.Join(c.dir("s1"), snapshotsDir)); err != nil {
					t.Fatal(err)
				}
				return c.dir("s1")
			},
			"the newest of two": func(c *cluster, t *testing.T) string {
				s := c.open(c.options("s1", ""))
				c.leader()
				c.compact(s)
				c.close("s1")
				paths := c.snapshotsOf("s1")
				flip(t, filepath.Join(paths[len(paths)-1], "state.bin"))
				return paths[len(paths)-1]
			},
		} {
			c := grow(t, 1)
			c.compact(c.leader())
			c.close("s1")
			named := damage(c, t)
			_, err := Open(c.options("s1", ""))
			if !errors.Is(err, ErrSnapshotLost) || !Unusable(err) || !strings.Contains(err.Error(), named) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// TestLogFromABackup puts an older log in the place of the present one.
func TestLogFromABackup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 1)
		c.put("a")
		c.close("s1")
		path := filepath.Join(c.dir("s1"), "raft.db")
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		c.open(c.options("s1", ""))
		c.leader()
		c.put("b")
		c.close("s1")
		if err := os.WriteFile(path, old, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(c.options("s1", "")); !errors.Is(err, raftlog.ErrLogLost) || !Unusable(err) {
			t.Errorf("open = %v", err)
		}
	})
}

// TestSnapshotOverAnOldLog has a follower take a snapshot that begins far behind the end of its own log, and start again.
func TestSnapshotOverAnOldLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		c.put("before")
		c.settle()
		leader := c.leader()
		behind := "s2"
		if leader.id == behind {
			behind = "s3"
		}
		c.net.isolate(addrOf(behind))
		c.compact(leader)
		c.net.heal(addrOf(behind))
		c.settle()
		c.put("after")
		c.settle()
		c.close(behind)
		c.open(c.options(behind, ""))
		c.put("again")
		c.settle()
	})
}
