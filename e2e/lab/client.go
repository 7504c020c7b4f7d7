package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Answer is what the plain app says of itself.
type Answer struct {
	Node    string `json:"node"`
	Worker  string `json:"worker"`
	PID     int    `json:"pid"`
	Version string `json:"version"`
	Remote  string `json:"remote"`
}

// Who is the worker that answered, over the whole cluster.
func (a Answer) Who() string { return a.Node + "/" + a.Worker }

// Client sends requests from the client's place. New opens a connection for each request, otherwise connections are kept.
func (l *Lab) Client(newConns bool) *http.Client {
	tr := &http.Transport{DialContext: l.DialContext, DisableKeepAlives: newConns, MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}
	l.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 15 * time.Second}
}

// Get asks the plain app once.
func Get(c *http.Client, url string) (Answer, error) {
	var a Answer
	res, err := c.Get(url)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		return a, err
	}
	if res.StatusCode != http.StatusOK {
		return a, fmt.Errorf("status %d: %s", res.StatusCode, raw)
	}
	return a, json.Unmarshal(raw, &a)
}

// Many asks n times, at most parallel at once, and returns the answers by worker. The first error is returned with what was answered.
func Many(c *http.Client, url string, n, parallel int) (map[string]int, error) {
	var mu sync.Mutex
	by := make(map[string]int)
	var errs []error
	slots := make(chan struct{}, parallel)
	var wg sync.WaitGroup
	for range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			a, err := Get(c, url)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
				return
			}
			by[a.Who()]++
		})
	}
	wg.Wait()
	if len(errs) > 0 {
		return by, fmt.Errorf("%d of %d failed, the first: %w", len(errs), n, errs[0])
	}
	return by, nil
}

// Hold opens a request that the app keeps open, and returns who serves it and what ends it.
func Hold(c *http.Client, url string) (Answer, func(), error) {
	var a Answer
	ctx, cancel := context.WithCancel(context.Background())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		cancel()
		return a, nil, err
	}
	res, err := c.Do(req)
	if err != nil {
		cancel()
		return a, nil, err
	}
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil {
		cancel()
		return a, nil, err
	}
	return a, func() { cancel(); res.Body.Close() }, nil
}

// Slow opens a request whose answer takes its time, and returns who serves it and what waits for the answer's end.
func Slow(c *http.Client, url string) (Answer, func() error, error) {
	var a Answer
	res, err := c.Get(url)
	if err != nil {
		return a, nil, err
	}
	d := json.NewDecoder(res.Body)
	if err := d.Decode(&a); err != nil {
		res.Body.Close()
		return a, nil, err
	}
	return a, func() error {
		defer res.Body.Close()
		rest, err := io.ReadAll(io.MultiReader(d.Buffered(), res.Body))
		if err == nil && !strings.Contains(string(rest), "the end") {
			err = fmt.Errorf("the answer broke off: %q", rest)
		}
		return err
	}, nil
}

// Load sends requests at an even rate, whatever the answers do (open loop), to one URL after the other, and keeps count.
type Load struct {
	cancel context.CancelFunc
	done   chan struct{}

	mu     sync.Mutex
	sent   int
	failed []string
	served map[string]int
}

// StartLoad sends rate requests a second, in turn with each client and to each URL, until Stop.
func StartLoad(rate int, clients []*http.Client, urls []string) *Load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &Load{cancel: cancel, done: make(chan struct{}), served: make(map[string]int)}
	go func() {
		defer close(l.done)
		var wg sync.WaitGroup
		defer wg.Wait()
		tick := time.NewTicker(time.Second / time.Duration(rate))
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			c, url := clients[i%len(clients)], urls[i/len(clients)%len(urls)]
			wg.Go(func() { l.one(c, url) })
		}
	}()
	return l
}

func (l *Load) one(c *http.Client, url string) {
	begun := time.Now()
	a, err := Get(c, url)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent++
	if err != nil {
		l.failed = append(l.failed, fmt.Sprintf("%s after %s: %v", begun.Format("05.000"), time.Since(begun).Round(time.Millisecond), err))
		return
	}
	l.served[a.Who()]++
}

// Stop ends the load and returns how many requests were sent, the failures, and who served.
func (l *Load) Stop() (sent int, failed []string, served map[string]int) {
	l.cancel()
	<-l.done
	return l.sent, l.failed, l.served
}

// Sent is the number of requests that have an outcome so far.
func (l *Load) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

// ErrNone is what a poll returns while nobody has answered yet.
var ErrNone = errors.New("no answer yet")
