package load

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// Saturate sends requests as fast as conns clients can, each waiting for its answer, for a time, and returns how many were answered and
// how many failed.
func Saturate(ctx context.Context, addr string, conns int, keep bool, d time.Duration) (answered, failed int, err error) {
	if conns <= 0 {
		return 0, 0, errors.New("load: no connections")
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var ok, bad atomic.Int64
	var wg sync.WaitGroup
	for range conns {
		wg.Go(func() { busy(ctx, addr, keep, &ok, &bad) })
	}
	wg.Wait()
	return int(ok.Load()), int(bad.Load()), nil
}

// busy is one client of Saturate.
func busy(ctx context.Context, addr string, keep bool, ok, bad *atomic.Int64) {
	var c *conn
	for n := 0; ctx.Err() == nil; n++ {
		deadline := time.Now().Add(5 * time.Second)
		var err error
		if c == nil {
			c, err = open(dialHere, addr, deadline)
		}
		again := false
		if err == nil {
			again, err = c.exchange(n, 0, !keep, deadline)
		}
		if err != nil {
			bad.Add(1)
		} else {
			ok.Add(1)
		}
		if c != nil && !again {
			_ = c.Close() // its answer has arrived or has failed
			c = nil
		}
		if err != nil {
			time.Sleep(time.Millisecond) // a refused connection costs nothing; do not spin
		}
	}
	if c != nil {
		_ = c.Close()
	}
}

// Seen asks with clients on new connections until n different processes that skip does not name have answered, and returns how long that took.
func Seen(ctx context.Context, addr string, n int, skip map[int]bool) (time.Duration, error) {
	begun := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var mu sync.Mutex
	pids := make(map[int]bool)
	var took time.Duration
	var wg sync.WaitGroup
	for range n + 2 {
		wg.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				pid, err := Ask(addr, k)
				if err != nil {
					time.Sleep(5 * time.Millisecond)
					continue
				}
				mu.Lock()
				if !skip[pid] && len(pids) < n {
					if pids[pid] = true; len(pids) == n {
						took = time.Since(begun)
						cancel()
					}
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(pids) < n {
		return 0, errors.New("not every worker answered in time")
	}
	return took, nil
}

// Ask sends one request on a new connection and returns which process answered.
func Ask(addr string, n int) (pid int, err error) {
	deadline := time.Now().Add(5 * time.Second)
	c, err := open(dialHere, addr, deadline)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	if _, err := c.exchange(n, 0, true, deadline); err != nil {
		return 0, err
	}
	return c.pid, nil
}
