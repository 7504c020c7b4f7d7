package e2e

import (
	"fmt"
	"maps"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// sickDisk has every flush to the disk of one server fail for a while, of a follower and of the leader, while somebody changes the configuration.
func sickDisk(t *testing.T, l *lab.Lab, nodes []*lab.Node) {
	if _, err := exec.LookPath("strace"); err != nil {
		t.Skip("needs strace")
	}
	for _, who := range []string{"a follower", "the leader"} {
		leader, others := leads(t, nodes)
		victim, rest := leader, others
		if who == "a follower" {
			victim, rest = others[0], []*lab.Node{leader, others[1]}
		}
		changed(t, rest[0], 10*time.Second)
		var before map[string]int
		lab.Eventually(t, 20*time.Second, func() error { // those that the step before has left drain first
			if before = pidsOf(t, rest[0]); len(before) != 3 {
				return fmt.Errorf("the workers are %v", before)
			}
			return nil
		})
		inner := victim.Inner()
		w := startWriter(rest)
		streams := doors(nodes, 30)
		said, gap := "", time.Duration(0)
		under(t, l, streams, func() {
			heal := failFlushes(t, inner)
			begun := time.Now()
			for time.Since(begun) < 12*time.Second {
				gap = max(gap, changed(t, rest[0], 20*time.Second))
				if s, err := rest[0].Status(); err == nil && said == "" {
					said = warningWith(s, "disk")
				}
				time.Sleep(200 * time.Millisecond)
			}
			heal()
		})
		w.stop()
		healed := lab.Eventually(t, 30*time.Second, func() error {
			for _, n := range nodes {
				if err := w.holds(n); err != nil {
					return err
				}
				if s, err := n.Status(); err != nil || warningWith(s, "disk") != "" {
					return fmt.Errorf("%s: %v %v", n.Name, err, s.Warnings)
				}
			}
			return nil
		})
		rest[0].Voters(10*time.Second, 3, 3)
		if said == "" {
			t.Errorf("%s: status of another server does not warn", who)
		}
		if gap > 6*time.Second {
			t.Errorf("%s: a change took %v", who, gap)
		}
		if after := pidsOf(t, rest[0]); !maps.Equal(before, after) {
			t.Errorf("%s: the workers were %v and are %v", who, before, after)
		}
		f, sent, _ := lostOf(streams)
		if f > 0 {
			t.Errorf("%s: %d of %d requests failed", who, f, sent)
		}
		measured(t, 27, "every flush of %s fails for 12 s: the longest change took %.1f s, %d acknowledged (%d with an outcome not known), the last of them is there on all; status: %q; in order %.1f s after it; node process the same: %v; %d of %d requests failed, the same workers",
			who, gap.Seconds(), w.acked, w.open, said, healed.Seconds(), victim.Inner() == inner, f, sent)
	}
}

// failFlushes has what a process does to have its files on disk fail, until the returned function is called.
func failFlushes(t *testing.T, pid int) (heal func()) {
	t.Helper()
	trace := exec.Command("strace", "-f", "-qq", "-p", strconv.Itoa(pid), "-o", "/dev/null", "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO")
	if err := trace.Start(); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, 5*time.Second, func() error { return traced(pid) })
	return func() {
		_ = trace.Process.Signal(syscall.SIGINT)
		_ = trace.Wait()
	}
}
