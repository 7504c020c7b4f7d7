package load

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// app answers as the benchmark's apps do, save where change says otherwise.
func app(t *testing.T, change func(w http.ResponseWriter, n int) bool) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var n int
		_, _ = fmt.Sscan(r.URL.Query().Get("n"), &n)
		if change == nil || !change(w, n) {
			fmt.Fprintf(w, "answer %d from %d\n", n, os.Getpid())
		}
	}))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

func options(addr string, keep bool) Options {
	return Options{Addr: addr, Rate: 500, Duration: 400 * time.Millisecond, Keep: keep, Timeout: 5 * time.Second, Late: time.Second}
}

func TestRunCountsEveryAnswer(t *testing.T) {
	for _, keep := range []bool{true, false} {
		rep, err := Run(options(app(t, nil), keep))
		if err != nil {
			t.Fatal(err)
		}
		if rep.Sent != 200 || rep.Failed != 0 || len(rep.By) != 1 || rep.By[os.Getpid()] != 200 {
			t.Errorf("keep %v: %+v", keep, rep)
		}
	}
}

func TestRunChecksTheAnswer(t *testing.T) {
	addr := app(t, func(w http.ResponseWriter, n int) bool {
		switch n {
		case 10:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 20:
			fmt.Fprintf(w, "answer %d from %d\n", n+1, os.Getpid())
			return true
		}
		return false
	})
	rep, err := Run(options(addr, true))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed != 2 || rep.Classes[WrongAnswer] != 2 {
		t.Errorf("two answers were wrong: %+v", rep.Classes)
	}
}

// raw serves connections by hand, and counts requests.
func raw(t *testing.T, serve func(c net.Conn, r *bufio.Reader, requests *atomic.Int64)) (string, *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int64
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c, bufio.NewReader(c), &requests)
			})
		}
	})
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return l.Addr().String(), &requests
}

// request reads one request and returns its number.
func request(r *bufio.Reader, requests *atomic.Int64) (n int, err error) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return 0, err
	}
	requests.Add(1)
	_, err = fmt.Sscan(req.URL.Query().Get("n"), &n)
	return n, err
}

func answer(c net.Conn, n int) {
	body := fmt.Sprintf("answer %d from 7\n", n)
	fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

// A server that takes a second request on a connection and closes it without a word: the request is sent once, and counts as lost.
func TestNothingIsSentTwice(t *testing.T) {
	addr, requests := raw(t, func(c net.Conn, r *bufio.Reader, requests *atomic.Int64) {
		n, err := request(r, requests)
		if err != nil {
			return
		}
		answer(c, n)
		_, _ = request(r, requests)
	})
	rep, err := Run(options(addr, true))
	if err != nil {
		t.Fatal(err)
	}
	if rep.Failed == 0 || rep.Classes[ReusedEOF] != rep.Failed || int(requests.Load()) != rep.Sent {
		t.Errorf("%d requests arrived of %d sent; %d failed: %v", requests.Load(), rep.Sent, rep.Failed, rep.Classes)
	}
}

// A server that closes an idle connection has said so before the next request: that one goes out on another connection, and nothing is lost.
func TestClosedIdleConnectionIsNoFailure(t *testing.T) {
	for _, clients := range []int{0, 4} {
		addr, requests := raw(t, func(c net.Conn, r *bufio.Reader, requests *atomic.Int64) {
			if n, err := request(r, requests); err == nil {
				answer(c, n)
			}
		})
		o := options(addr, true)
		o.Rate, o.Duration, o.Clients = 20, time.Second, clients
		rep, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Failed != 0 || rep.IdleClosed == 0 || int(requests.Load()) != rep.Sent {
			t.Errorf("%d clients: %d failed, %d found closed, %d of %d arrived", clients, rep.Failed, rep.IdleClosed, requests.Load(), rep.Sent)
		}
	}
}

func TestClasses(t *testing.T) {
	closing, _ := raw(t, func(c net.Conn, r *bufio.Reader, requests *atomic.Int64) { _, _ = request(r, requests) })
	resetting, _ := raw(t, func(c net.Conn, r *bufio.Reader, requests *atomic.Int64) {
		_, _ = request(r, requests)
		_ = c.(*net.TCPConn).SetLinger(0)
	})
	silent, _ := raw(t, func(c net.Conn, r *bufio.Reader, requests *atomic.Int64) {
		for _, err := request(r, requests); err == nil; _, err = request(r, requests) {
		}
	})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for _, c := range []struct{ addr, want string }{{closing, NewEOF}, {resetting, NewReset}, {silent, Timeout}, {l.Addr().String(), ConnectRefused}} {
		o := options(c.addr, false)
		o.Duration, o.Timeout = 10*time.Millisecond, 200*time.Millisecond
		rep, err := Run(o)
		if err != nil {
			t.Fatal(err)
		}
		if rep.Classes[c.want] != rep.Sent {
			t.Errorf("want %s: %v of %d", c.want, rep.Classes, rep.Sent)
		}
	}
}

// The run goes on while the event does, and a while after it.
func TestLoadLastsAsLongAsTheEvent(t *testing.T) {
	o := options(app(t, nil), true)
	o.Duration, o.At, o.Tail = 100*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond
	o.Event = func() { time.Sleep(300 * time.Millisecond) }
	rep, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	if rep.Sent < 190 || rep.EventTook < 0.3 {
		t.Errorf("%d sent, the event took %.3f s", rep.Sent, rep.EventTook)
	}
}

// Clients take turns, keep their connections, and a request that finds none free waits; its latency counts from when it was due.
func TestClients(t *testing.T) {
	addr := app(t, func(w http.ResponseWriter, n int) bool {
		time.Sleep(20 * time.Millisecond)
		return false
	})
	o := options(addr, true)
	o.Clients, o.Rate, o.Seed = 2, 200, 3
	rep, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	// 80 requests of 20 ms by two clients take 0.8 s, and are due within 0.4 s.
	if rep.Failed != 0 || rep.Sent < 40 || rep.Max < 200 {
		t.Errorf("%+v", rep)
	}
}

// Work is drawn anew for each request and the same for each seed; heavy requests have their share.
func TestWork(t *testing.T) {
	w := Work{Mean: 2 * time.Millisecond, Heavy: 0.1, Times: 20}
	a, b := rand.New(rand.NewPCG(1, 2)), rand.New(rand.NewPCG(1, 2))
	heavy := 0
	for range 10000 {
		x := w.draw(a)
		if x != w.draw(b) {
			t.Fatal("one seed, two sequences")
		}
		if x == 40*time.Millisecond {
			heavy++
		} else if x != 2*time.Millisecond {
			t.Fatalf("work of %v", x)
		}
	}
	if heavy < 900 || heavy > 1100 {
		t.Errorf("%d of 10000 heavy", heavy)
	}
}
