package telemetry

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestServe(t *testing.T) {
	m := newMetrics(t)
	m.IncrCounter([]string{"supervisor", "starts"}, 3)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var ill atomic.Bool
	done := make(chan error, 1)
	go func() {
		done <- Serve(l, m, func() (bool, string) {
			if ill.Load() {
				return false, "no quorum"
			}
			return true, "ok"
		})
	}()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	get := func(path string) (int, string) {
		t.Helper()
		res, err := client.Get("http://" + l.Addr().String() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	if code, body := get("/metrics"); code != 200 || !strings.Contains(body, "\nmeshnode_supervisor_starts 3\n") {
		t.Errorf("/metrics: %d\n%s", code, body)
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	ill.Store(true)
	if code, body := get("/healthz"); code != 503 || body != "no quorum\n" {
		t.Errorf("/healthz of an ill node: %d %q", code, body)
	}
	if code, _ := get("/else"); code != 404 {
		t.Errorf("/else: %d", code)
	}
	if res, err := client.Post("http://"+l.Addr().String()+"/metrics", "text/plain", strings.NewReader("x")); err != nil {
		t.Error(err)
	} else if res.Body.Close(); res.StatusCode != 405 {
		t.Errorf("POST: %d", res.StatusCode)
	}

	c, err := net.DialTimeout("tcp4", l.Addr().String(), 10*time.Second) // stays open, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	l.Close()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("Serve returned %v after its listener was closed", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("Serve did not return after its listener was closed")
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		if ne, ok := err.(net.Error); ok && ne.Timeout() {
			t.Error("an open connection outlived Serve")
		}
	}
}

// TestNotForPages sends what a browser would on behalf of a page of elsewhere, also of one whose name was made to lead here.
func TestNotForPages(t *testing.T) {
	m := newMetrics(t)
	m.IncrCounter([]string{"supervisor", "starts"}, 3)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- Serve(l, m, func() (bool, string) { return true, "ok" }) }()
	client := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for _, from := range []struct {
		host, origin string
		code         int
	}{
		{"", "", 200}, {"localhost:7947", "", 200}, {"127.0.0.1", "", 200}, {"[::1]:7947", "", 200}, {"node.localhost", "", 200},
		{"attacker.example", "", 403}, {"attacker.example:7947", "", 403}, {"localhost.attacker.example", "", 403}, {"127.0.0.1.attacker.example", "", 403},
		{"127.0.0.1", "http://attacker.example", 403}, {"localhost", "null", 403},
	} {
		req, err := http.NewRequest(http.MethodGet, "http://"+l.Addr().String()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = from.host
		if from.origin != "" {
			req.Header.Set("Origin", from.origin)
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(res.Body); res.StatusCode != from.code || err != nil || from.code != 200 && strings.Contains(string(body), "meshnode_") {
			t.Errorf("host %q, origin %q: %d, %v", from.host, from.origin, res.StatusCode, err)
		}
		res.Body.Close()
	}
	l.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
