package e2e

import (
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"meshnode/e2e/bench/load"
	"meshnode/e2e/lab"
)

// long is the variable with which the tests of faults take their time.
const long = "MESHNODE_E2E_FAULTS"

// full reports whether the variable asks for it.
func full() bool { return os.Getenv(long) != "" }

// span is how long a phase of a test of faults takes.
func span(short, fully time.Duration) time.Duration {
	if full() {
		return fully
	}
	return short
}

// stream is the load through one door: half of the requests by clients that keep their connections, half on new ones.
type stream struct {
	door     *lab.Node
	rate     int           // requests a second
	warm     time.Duration // before the event
	work     load.Work
	patience time.Duration // how long a client waits for an answer
	clients  int           // of the kept connections; 0 = there are none
	kept     load.Report
	fresh    load.Report
}

// under sends all streams at once; when all are warm the event begins, and a second after its end all stop. It returns how long this process,
// which sends them, was held up at most.
func under(t *testing.T, l *lab.Lab, streams []*stream, event func()) time.Duration {
	t.Helper()
	over := make(chan struct{})
	var wg, begun sync.WaitGroup
	for _, s := range streams {
		o := load.Options{Addr: s.door.IP + ":3000", Dial: l.Dial, Rate: s.rate / 2, Work: s.work, Duration: s.warm, At: s.warm, Tail: time.Second, Seed: uint64(s.door.PID()),
			Timeout: s.patience, Late: time.Second, Event: func() { begun.Done(); <-over }}
		kept := o
		kept.Keep, kept.Clients = true, s.clients
		for _, run := range []struct {
			o   load.Options
			rep *load.Report
		}{{kept, &s.kept}, {o, &s.fresh}} {
			if run.o.Keep && run.o.Clients == 0 {
				continue
			}
			begun.Add(1)
			wg.Go(func() {
				var err error
				if *run.rep, err = load.Run(run.o); err != nil {
					t.Error(err)
				}
			})
		}
	}
	begun.Wait()
	held := holdups(over)
	t.Logf("the fault is at %s", time.Now().UTC().Format("15:04:05.000"))
	event()
	close(over)
	wg.Wait()
	most := <-held
	t.Logf("this process, which sends the requests, was held up for %s at most", most)
	return most
}

// holdups measures, until over, how late a sleep ends at most: what the machine does beside the test makes requests late as well.
func holdups(over <-chan struct{}) <-chan time.Duration {
	const nap = 5 * time.Millisecond
	out := make(chan time.Duration, 1)
	go func() {
		var most time.Duration
		for {
			select {
			case <-over:
				out <- most.Round(time.Millisecond)
				return
			default:
			}
			begun := time.Now()
			time.Sleep(nap)
			most = max(most, time.Since(begun)-nap)
		}
	}()
	return out
}

// owners says on which node each worker's process is.
func owners(t *testing.T, n *lab.Node) map[int]string {
	t.Helper()
	ws, err := n.Workers()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[int]string)
	for _, w := range ws {
		out[w.PID] = w.Node
	}
	return out
}

// tell prints what became of each stream.
func tell(t *testing.T, streams []*stream, where map[int]string) {
	t.Helper()
	for _, s := range streams {
		for _, r := range []struct {
			name string
			rep  load.Report
		}{{"kept", s.kept}, {"new", s.fresh}} {
			if r.rep.Sent == 0 {
				continue
			}
			by := make(map[string]int)
			for pid, k := range r.rep.By {
				by[where[pid]] += k
			}
			t.Logf("through %s, %s connections: %d sent, %d failed (%d of them under way at the fault, last one due %.2f s after it) %v; p50 %.1f p99 %.1f ms, longest %.2f s after the fault; %d kept ones found closed; served by %v",
				s.door.Name, r.name, r.rep.Sent, r.rep.Failed, r.rep.InFlight, r.rep.LastFail, r.rep.Classes, r.rep.P50, r.rep.P99, r.rep.Stall, r.rep.IdleClosed, by)
			for i, f := range r.rep.Failures {
				if i < 12 {
					t.Logf("  due %.3f s, failed %.3f s later: %s, answered before by %s, idle for %.3f s: %s", f.At, f.After, f.Class, where[f.PID], f.Idle, f.Error)
				}
			}
		}
	}
}

// served is how many requests of a stream were answered by a node.
func served(s *stream, where map[int]string, node string) int {
	k := 0
	for _, rep := range []load.Report{s.kept, s.fresh} {
		for pid, n := range rep.By {
			if where[pid] == node {
				k += n
			}
		}
	}
	return k
}

// unserved are the failures that no fault excuses: those of requests that were due after the fault, save on a connection whose last answer
// came from one of the lost nodes.
func unserved(streams []*stream, where map[int]string, lost ...string) []string {
	var out []string
	for _, s := range streams {
		for _, rep := range []load.Report{s.kept, s.fresh} {
			for _, f := range rep.Failures {
				excused := f.At <= 0
				for _, node := range lost {
					excused = excused || f.PID != 0 && where[f.PID] == node
				}
				if !excused {
					out = append(out, fmt.Sprintf("through %s, due %.3f s after the fault, failed %.3f s later: %s, answered before by %s: %s", s.door.Name, f.At, f.After, f.Class, where[f.PID], f.Error))
				}
			}
		}
	}
	return out
}
