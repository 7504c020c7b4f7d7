package e2e

import (
	"bytes"
	"net"
	"sync"
	"testing"
	"time"

	"meshnode/e2e/lab"
)

// slowClients are those of the test (count).
const slowClients = 2000

// TestSlowClients has 2,000 clients send requests byte by byte, bodies byte by byte, and requests whose answers they do not read, to an app's port;
// once where the app has the connections itself, and once through a server that passes them on.
func TestSlowClients(t *testing.T) {
	onlyFull(t)
	lab.NeedNode(t)
	l := lab.New(t, 2)
	join := l.Host(1).IP + ":7946"
	n := l.Host(1).Start("-join", join)
	door := l.Host(2).Start("-join", join, "-no-workers")
	n.Voters(30*time.Second, 2, 1)
	n.Must("start", "-n", "web", "-i", "2", lab.App(t, "plain.js"))
	ready(t, n, 2, 20*time.Second)
	for _, at := range []*lab.Node{n, door} {
		honest := ask{"tcp", at.IP + ":3000", "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"}
		var quiet, slow []time.Duration
		var failed []error
		most := 0
		for range 2 {
			q, err := honest.times(l, 4*time.Second)
			quiet, failed = append(quiet, q...), append(failed, err...)
			k, end := crawl(l, honest.addr)
			most = max(most, k)
			time.Sleep(3 * time.Second) // what their coming has left to do
			s, err := honest.times(l, 4*time.Second)
			slow, failed = append(slow, s...), append(failed, err...)
			end()
			time.Sleep(time.Second) // the connections' ends
		}
		a, b := p99(quiet), p99(slow)
		if len(failed) > 0 {
			t.Errorf("%s: %d honest requests failed, the first: %v", at.Name, len(failed), failed[0])
		}
		if b > 2*a && b > 20*time.Millisecond {
			t.Errorf("%s: p99 of honest requests %v, quiet %v", at.Name, b, a)
		}
		how := "that the app has itself"
		if at == door {
			how = "that are passed on"
		}
		measured(t, 40, "%d slow clients on connections %s: %d of %d honest requests failed, p99 %.1f ms beside %.1f ms quiet; to end slow requests is the app's to do (Node.js: headersTimeout, requestTimeout)",
			most, how, len(failed), len(quiet)+len(slow)+len(failed), b.Seconds()*1e3, a.Seconds()*1e3)
	}
}

// crawl opens slow clients, and has them go on until the function that it returns is called.
func crawl(l *lab.Lab, addr string) (count int, end func()) {
	head := []byte("GET /?n=1 HTTP/1.1\r\nHost: x\r\nX-Slow: " + string(bytes.Repeat([]byte("a"), 200)))
	body := []byte("POST /?n=1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
	many := bytes.Repeat([]byte("GET /?n=1 HTTP/1.1\r\nHost: x\r\n\r\n"), 20)
	var open []net.Conn
	_ = l.Inside(func() error {
		for i := range slowClients {
			c, err := net.DialTimeout("tcp", addr, time.Second)
			if err != nil {
				continue
			}
			switch i % 3 {
			case 1:
				_, _ = c.Write(body)
			case 2:
				_ = c.(*net.TCPConn).SetReadBuffer(2048)
				_ = c.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = c.Write(many)
			}
			open = append(open, c)
		}
		return nil
	})
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for k := 0; ; k++ {
			select {
			case <-over:
				return
			case <-tick.C:
			}
			if i := k % len(open); i%3 < 2 { // each is written to about every four seconds
				at := k / len(open) % len(head)
				_ = open[i].SetWriteDeadline(time.Now().Add(time.Second))
				_, _ = open[i].Write(head[at : at+1])
			}
		}
	})
	return len(open), func() {
		close(over)
		wg.Wait()
		for _, c := range open {
			_ = c.Close()
		}
	}
}
