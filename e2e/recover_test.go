package e2e

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// Two of three servers are lost with their disks, and the third goes on without them, under load: nothing fails on it, and its workers stay. Two
// new servers get votes. One that was given up comes back with its old disk, and is told to end.
func TestMajorityLostForGood(t *testing.T) {
	l, nodes := three(t)
	left := nodes[2]
	backup := filepath.Join(t.TempDir(), "backup.snap")
	nodes[1].Must("snapshot", "save", backup)
	nodes[0].Kill()
	if r := left.Run("recover", "-lost", "h1,h2", "-yes"); r.Code != 2 || !strings.Contains(r.Err, "h2 answers") && !strings.Contains(r.Err, "a quorum") {
		t.Fatalf("while h2 answers: exit %d, %s", r.Code, r.Err)
	}
	nodes[1].Kill()
	old := filepath.Join(t.TempDir(), "h2")
	if out, err := exec.Command("cp", "-a", nodes[1].Dir, old).CombinedOutput(); err != nil {
		t.Fatalf("copy the disk of h2: %v: %s", err, out)
	}
	for _, n := range nodes[:2] {
		if err := os.RemoveAll(n.Dir); err != nil {
			t.Fatal(err)
		}
		memberStatus(t, left, n.Name, "failed", 10*time.Second)
	}
	if r := left.Run("recover"); r.Code != 2 || !strings.Contains(r.Err, "meshnode recover -lost h1,h2") {
		t.Fatalf("without names: exit %d, %s", r.Code, r.Err)
	}
	before := owners(t, left)
	load := lab.StartLoad(100, []*http.Client{l.Client(true), l.Client(false)}, []string{left.URL(3000, "/?ms=5")})
	time.Sleep(time.Second)
	begun := time.Now()
	if r := left.Run("recover", "-lost", "h1,h2", "-yes"); r.Code != 0 {
		t.Fatalf("exit %d\n%s%s", r.Code, r.Out, r.Err)
	}
	took := time.Since(begun)
	left.Must("set", "idle_timeout=1h")
	time.Sleep(time.Second)
	sent, failed, _ := load.Stop()
	if len(failed) > 0 {
		t.Errorf("%d of %d requests failed: %v", len(failed), sent, failed)
	}
	for pid := range owners(t, left) {
		if before[pid] == "" {
			t.Errorf("worker %d is new; there were %v", pid, before)
		}
	}
	measured(t, 15, "gone for good: the last of three servers leads %.1f s after `recover`; %d of %d requests failed, its workers stay", took.Seconds(), len(failed), sent)

	nodes[0].Restart()
	l.AddHost().Start("-join", left.IP+":7946")
	t.Logf("three voters %.1f s after two new servers were started", left.Voters(30*time.Second, 3, 3).Seconds())
	left.Must("scale", "web", "1")
	left.Must("start", "-n", "extra", "-i", "1", "-mode", "port", "-detach", "/bin/sleep", "--", "1000")
	r := left.Must("snapshot", "restore", "-yes", backup)
	if !strings.Contains(r.Err, "extra: is deleted\nweb: changes, and its workers stay\n  workers  1 -> 2\nsetting idle_timeout: becomes its default\n") {
		t.Errorf("restore: %s%s", r.Out, r.Err)
	}
	ready(t, left, 6, 10*time.Second)
	s, err := left.Status()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(old, nodes[1].Dir); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"comes back", "is started once more"} {
		nodes[1].Restart()
		code, out, err := nodes[1].Exited(30 * time.Second)
		if err != nil || code != 1 || !strings.Contains(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:], "this server was given up with meshnode recover") {
			t.Fatalf("h2 %s: exit %d, %v", how, code, err)
		}
	}
	after, err := left.Status()
	if err != nil || after.Cluster != s.Cluster || !after.Quorum || after.Settings["idle_timeout"] != "0" || after.Index < s.Index {
		t.Errorf("%+v, %v", after, err)
	}
}
