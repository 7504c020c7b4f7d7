package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"meshnode/e2e/bench/load"
	"meshnode/e2e/lab"
)

// TestIdleConnections holds connections on which nothing happens at two servers at once. In mode port half as many: one that crosses from server to server
// is two relays of two descriptors each, and the limit is 20,000 for a process here.
func TestIdleConnections(t *testing.T) {
	onlyFull(t)
	t.Run("cluster", func(t *testing.T) { idle(t, 10000) })
	t.Run("port", func(t *testing.T) { idle(t, 5000, "-mode", "port", "-port", "3000", "-env", "KIND=port") })
}

func idle(t *testing.T, count int, args ...string) {
	lab.NeedNode(t)
	l := lab.New(t, 2)
	nodes := l.Cluster()
	nodes[0].Must("start", append([]string{"-n", "web", "-i", "2", holder(t)}, args...)...)
	ready(t, nodes[0], 4, 20*time.Second)
	fresh := func() load.Report {
		t.Helper()
		rep, err := load.Run(load.Options{Addr: nodes[0].IP + ":3000", More: []string{nodes[1].IP + ":3000"}, Dial: l.Dial, Rate: 100, Work: load.Work{Mean: 2 * time.Millisecond},
			Duration: 10 * time.Second, Timeout: 4 * time.Second, Late: time.Second, Seed: 43})
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	fresh() // what grows with the first requests has grown
	calm := fresh()
	before := usage(nodes)
	held, failed := hold(l, nodes, count)
	defer func() {
		for _, c := range held {
			_ = c.Close()
		}
	}()
	after := usage(nodes)
	busy := fresh()
	bytes, files := float64(after.RSS-before.RSS)/float64(len(held)), float64(after.Files-before.Files)/float64(len(held))
	measured(t, 43, "%s: %d held, %d failed; on both servers together %.1f KB and %.2f descriptors each of the node's own; p99 of new ones %.1f ms beside %.1f ms before, %d of %d failed",
		t.Name(), len(held), len(failed), bytes/1024, files, busy.P99, calm.P99, busy.Failed, busy.Sent)
	if len(failed) > 0 {
		t.Errorf("%d failed, the first: %v", len(failed), failed[0])
	}
	if busy.Failed > 0 || busy.P99 > 2*max(calm.P99, 5) {
		t.Error("new ones are held up")
	}
}

// holder is an app that answers the counted load, and holds what else comes.
func holder(t *testing.T) string {
	t.Helper()
	return script(t, "holder.js", `
require('http').createServer((req, res) => {
  const url = new URL(req.url, 'http://app');
  if (url.pathname === '/hold') return res.write('held\n');
  setTimeout(() => res.end('answer ' + url.searchParams.get('n') + ' from ' + process.pid + '\n'), Number(url.searchParams.get('us') || 0) / 1000);
}).listen(process.env.KIND === 'port' ? process.env.PORT : 3000);
`)
}

func usage(nodes []*lab.Node) (sum lab.Usage) {
	for _, n := range nodes {
		u := n.Usage()
		sum.RSS, sum.Files = sum.RSS+u.RSS, sum.Files+u.Files
	}
	return sum
}

// hold opens connections at the servers in turn, each of which has the beginning of an answer.
func hold(l *lab.Lab, nodes []*lab.Node, count int) (held []net.Conn, failed []error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, 64)
	for i := range count {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			c, err := one(l, nodes[i%len(nodes)].IP+":3000")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = append(failed, err)
				return
			}
			held = append(held, c)
		})
	}
	wg.Wait()
	return held, failed
}

func one(l *lab.Lab, addr string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	c, err := l.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err = fmt.Fprintf(c, "GET /hold HTTP/1.1\r\nHost: app\r\n\r\n"); err == nil {
		var line string
		if line, err = bufio.NewReaderSize(c, 64).ReadString('\n'); err == nil && line != "HTTP/1.1 200 OK\r\n" {
			err = errors.New(line)
		}
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, c.SetDeadline(time.Time{})
}
