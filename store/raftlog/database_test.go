package raftlog

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	raftboltdb "github.com/hashicorp/raft-boltdb/v2"
)

// refuse has a write fail as a disk does that cannot flush.
func refuse(*raftboltdb.BoltStore) error { return fmt.Errorf("flush: %w", syscall.EIO) }

func command(index uint64) *raft.Log {
	return &raft.Log{Index: index, Term: 3, Type: raft.LogCommand, Data: []byte("good too")}
}

// TestFailedDisk has a write fail: nothing is written for a while, all can be read, and then the file is opened anew and takes entries again.
func TestFailedDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, options(fill(t, 10)))
		before := l.bolt
		if err := l.write(refuse); !errors.Is(err, syscall.EIO) || l.Fault() == nil {
			t.Fatalf("%v, and the fault is %v", err, l.Fault())
		}
		if err := l.StoreLog(command(11)); !errors.Is(err, syscall.EIO) {
			t.Errorf("an entry was taken: %v", err)
		}
		if err := l.Set([]byte("LastVoteCand"), []byte("s2")); !errors.Is(err, syscall.EIO) {
			t.Errorf("a vote was taken: %v", err)
		}
		var entry raft.Log
		if err := l.GetLog(10, &entry); err != nil {
			t.Errorf("what is there cannot be read: %v", err)
		}
		time.Sleep(mendEvery)
		if err := l.StoreLog(command(11)); err != nil || l.Fault() != nil || l.bolt == before {
			t.Errorf("%v, the fault is %v", err, l.Fault())
		}
		if last, err := l.LastIndex(); last != 11 || err != nil {
			t.Errorf("it ends at %d, %v", last, err)
		}
	})
}

// TestFailedDiskThatLost has less come back from the disk than was confirmed.
func TestFailedDiskThatLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, options(fill(t, 10)))
		_ = l.write(func(b *raftboltdb.BoltStore) error { return errors.Join(b.DeleteRange(8, 10), syscall.EIO) })
		for range 3 {
			time.Sleep(mendEvery)
			if err := l.StoreLog(command(11)); !errors.Is(err, ErrLogLost) {
				t.Errorf("an entry was taken: %v", err)
			}
		}
		if last, err := l.LastIndex(); last != 7 || err != nil {
			t.Errorf("what is there cannot be read: it ends at %d, %v", last, err)
		}
		if l.Fault() == nil {
			t.Error("all is said to be well")
		}
	})
}

func TestFullDiskIsNoFault(t *testing.T) {
	l := open(t, options(fill(t, 10)))
	if err := l.write(func(*raftboltdb.BoltStore) error { return syscall.ENOSPC }); err == nil || l.Fault() != nil {
		t.Errorf("%v, and the fault is %v", err, l.Fault())
	}
	if err := l.StoreLog(command(11)); err != nil {
		t.Error(err)
	}
}

// TestGivesWay has a server whose log takes no entry hold back in the next election, once.
func TestGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := open(t, options(fill(t, 10)))
		l.refused.Store(true)
		for i, want := range []time.Duration{giveWay, 0} {
			begun := time.Now()
			if err := l.SetUint64([]byte(termKey), uint64(4+i)); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begun); took != want {
				t.Errorf("term %d took %v, want %v", 4+i, took, want)
			}
		}
	})
}

func TestTermNeverFalls(t *testing.T) {
	l := open(t, options(fill(t, 10)))
	for _, v := range []uint64{7, 5} {
		if err := l.SetUint64([]byte(termKey), v); err != nil {
			t.Fatal(err)
		}
	}
	if term, err := l.Term(); term != 7 || err != nil {
		t.Errorf("the term is %d, %v", term, err)
	}
}
