package store

import (
	"testing"
	"testing/synctest"
	"time"
)

// A leader whose disk is slow, twice in a row, gives the leadership away, but not again at once. One slow write alone is nothing.
func TestSlowDiskGivesTheLeadershipAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grow(t, 3)
		first := c.leader()
		first.disk.wrote(3 * time.Second)
		first.disk.wrote(20 * time.Millisecond)
		first.disk.wrote(3 * time.Second)
		time.Sleep(10 * time.Second)
		if c.leader() != first || first.Status().SlowDisk != 0 {
			t.Fatal("single slow writes cost the leadership")
		}
		first.disk.wrote(2 * time.Second)
		if got := first.Status().SlowDisk; got != 2*time.Second {
			t.Errorf("the status says %v", got)
		}
		c.until("another one leads", func() bool { return first.Status().State != "leader" })
		second := c.leader()
		c.put("web")
		if err := second.TransferLeadership(); err != nil {
			t.Fatal(err)
		}
		for c.leader() != first { // there are two who may get it
			if err := c.leader().TransferLeadership(); err != nil {
				t.Fatal(err)
			}
		}
		c.put("api") // fast, and then slow again
		first.disk.wrote(2 * time.Second)
		first.disk.wrote(2 * time.Second)
		time.Sleep(10 * time.Second)
		if c.leader() != first {
			t.Error("the leadership goes round")
		}
		time.Sleep(handOverRest)
		first.disk.wrote(2 * time.Second)
		c.until("another one leads again", func() bool { return first.Status().State != "leader" })
	})
}
