package main

import (
	"strings"
	"testing"

	"meshnode/e2e/bench/load"
)

func TestWrkCounts(t *testing.T) {
	const out = `Running 4s test @ http://127.0.0.1:8100/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
  298765 requests in 4.01s, 43.02MB read
  Socket errors: connect 1, read 2, write 0, timeout 4
  Non-2xx or 3xx responses: 8
Requests/sec:  74512.12
`
	if n, failed := wrkCounts(out); n != 298765 || failed != 15 {
		t.Errorf("%v answered, %v failed", n, failed)
	}
}

// Every job stands in a table, and what could not be run says why.
func TestProxyTables(t *testing.T) {
	var all []result
	for _, j := range proxyJobs() {
		r := result{Job: j, Figures: map[string]float64{"keep_front_rel": 1.5, "kb_each": 3, "new_own_us": 1, "new_workers_us": 9, "keep_own_us": 1, "keep_workers_us": 1},
			Load: &load.Report{Sent: 10, P99: 20}}
		if j.Contender == caddy {
			r = result{Job: j, Skipped: "caddy is not installed: apt-get install caddy"}
		}
		all = append(all, r)
	}
	text := proxyTables(all)
	if n, want := strings.Count(text, "\n| "), len(all)+14; n != want { // two lines of a head for each table
		t.Errorf("%d rows, want %d:\n%s", n, want, text)
	}
	for _, want := range []string{"apt-get install caddy", "| meshnode, round robin | ", "| haproxy tls | 1.50 |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in:\n%s", want, text)
		}
	}
}
