package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// contenders are those of a name and mode, in the order in which they were first run.
func contenders(results []result, name, mode string) []string {
	var out []string
	for _, r := range results {
		if r.Job.Name == name && r.Job.Mode == mode && !slices.Contains(out, r.Job.Contender) {
			out = append(out, r.Job.Contender)
		}
	}
	slices.Sort(out) // rounds begin with different ones
	return out
}

// proxyTables are all tables beside load balancers.
func proxyTables(results []result) string {
	return forwardTable(results) + heldTable(results) + skewTable(results) + cellTable(results) + lostTable(results) + workersTable(results) + burstTable(results)
}

// spread is a median with the least and the most.
func spread(rs []result, key, format string) string {
	var all []float64
	for _, r := range rs {
		if v, ok := r.Figures[key]; ok {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return ""
	}
	mid := fmt.Sprintf(format, median(all))
	if len(all) == 1 {
		return mid
	}
	return fmt.Sprintf("%s [%s, %s]", mid, fmt.Sprintf(format, slices.Min(all)), fmt.Sprintf(format, slices.Max(all)))
}

// missing is the row of a contender that could not be run.
func missing(who string, rs []result, columns int) ([]string, bool) {
	if len(rs) > 0 && rs[0].Skipped == "" {
		return nil, false
	}
	row := make([]string, columns)
	row[0], row[1] = policyOf(who), "not measured"
	if len(rs) > 0 {
		row[1] = rs[0].Skipped
	}
	return row, true
}

// rowsOf is a row for each contender of each job of a kind and a mode; what could not be run has one that says why, of as many columns.
func rowsOf(results []result, kind, mode string, columns int, row func(name, who string, rs []result) []string) [][]string {
	var rows [][]string
	for _, name := range names(results, kind) {
		for _, who := range contenders(results, name, mode) {
			rs := of(results, name, mode, who)
			if text, no := missing(who, rs, columns); no {
				rows = append(rows, text)
			} else {
				rows = append(rows, row(name, who, rs))
			}
		}
	}
	return rows
}

func forwardTable(results []result) string {
	rows := rowsOf(results, kindForward, "", 8, func(name, who string, rs []result) []string {
		return []string{policyOf(who) + strings.TrimPrefix(name, toCheap), spread(rs, "keep_front_rel", "%.2f"), spread(rs, "new_front_rel", "%.2f"), spread(rs, "big_front_rel", "%.2f"),
			figure(rs, "keep_front_us", "%.1f"), figure(rs, "new_front_us", "%.1f"), figure(rs, "big_front_us", "%.0f"),
			figure(rs, "keep_back_rel", "%.2f") + " / " + figure(rs, "new_back_rel", "%.2f") + " / " + figure(rs, "big_back_rel", "%.2f")}
	})
	text := table("What passing on costs: processor time of the front to that of the load generator", []string{"front", "kept connections", "new connections",
		"answers of 1 MiB", "us a request, kept", "new", "1 MiB", "on the servers' side (kept / new / 1 MiB)"}, rows)
	if text == "" {
		return ""
	}
	return text + fmt.Sprintf("\nwrk with %d connections (%d for 1 MiB) for %.0f s, two NGINX servers of one worker behind; medians [least, most] of the rounds, in which contenders take turns. "+
		"meshnode: one node that runs no worker passes all on to another, in the clear; meshnode tls: encrypted, as by default. haproxy tls: TLS 1.3 to the servers, with certificates on both sides.\n",
		forwardConns, bigConns, forwardTime.Seconds())
}

func heldTable(results []result) string {
	rows := rowsOf(results, kindHeld, "", 5, func(_, who string, rs []result) []string {
		return []string{policyOf(who), figure(rs, "held", "%.0f"), spread(rs, "kb_each", "%.2f"), figure(rs, "descriptors_each", "%.2f"), figure(rs, "base_mb", "%.1f")}
	})
	return table("Idle connections", []string{"front", "held", "KB each", "descriptors each", "without any, MB"}, rows)
}

func skewTable(results []result) string {
	var rows [][]string
	for _, mode := range []string{keepAlive, newConns} {
		rows = append(rows, rowsOf(results, kindSkew, mode, 7, func(_, who string, rs []result) []string {
			return append([]string{policyOf(who), mode}, latencies(rs)...)
		})...)
	}
	text := table("One of four servers ten times slower, ms", []string{"front", "load", "p50", "p99", "p99.9", "most", "failed"}, rows)
	if text == "" {
		return ""
	}
	return text + fmt.Sprintf("\nOpen loop, %d requests a second with exponential gaps for %.0f s, 70 %% of what four servers of four slots can do; one request in ten takes 40 ms, the others 2. "+
		"Latency counts from when a request was due. A perfect dispatcher has a p99 of 42 and a p99.9 of 53 to 57.\n", skewRate, skewTime.Seconds())
}

// latencies is latency and failures, medians of the rounds.
func latencies(rs []result) []string {
	at := func(f func(result) float64) string {
		var all []float64
		for _, r := range rs {
			all = append(all, f(r))
		}
		return fmt.Sprintf("%.1f", median(all))
	}
	lost := 0
	for _, r := range rs {
		lost += r.Load.Failed
	}
	return []string{at(func(r result) float64 { return r.Load.P50 }), at(func(r result) float64 { return r.Load.P99 }),
		at(func(r result) float64 { return r.Load.P999 }), at(func(r result) float64 { return r.Load.Max }), strconv.Itoa(lost)}
}

func cellTable(results []result) string {
	rows := rowsOf(results, kindCell, "", 8, func(name, who string, rs []result) []string {
		var ratio []float64
		for _, r := range rs {
			for _, b := range of(results, name, "", meshnode) {
				if b.Round == r.Round && b.Load != nil && r.Load.P99 > 0 {
					ratio = append(ratio, b.Load.P99/r.Load.P99)
				}
			}
		}
		return append(append([]string{policyOf(who), name}, latencies(rs)...), fmt.Sprintf("%.2f", median(ratio)))
	})
	text := table("Four nodes, clients at every door, ms", []string{"policy", "cluster", "p50", "p99", "p99.9", "most", "failed", "p99 of meshnode's default to it"}, rows)
	if text == "" {
		return ""
	}
	return text + fmt.Sprintf("\nWorkers serve one connection at a time, which takes an exponential time of %s; a connection for each request; the same arrivals for all.\n", cellMean)
}

func lostTable(results []result) string {
	var rows [][]string
	for _, kind := range []string{kindLost, kindWorkerLost} {
		rows = append(rows, rowsOf(results, kind, keepAlive, 6, func(name, who string, rs []result) []string {
			return []string{policyOf(who), name, each(failed)(rs), each(until)(rs), each(late)(rs), each(quantiles)(rs)}
		})...)
	}
	text := table("Something dies, or stops", []string{"who", "what", "failed", "last one due after, s", "later than 100 ms", "p50/p99/most, ms"}, rows)
	if text == "" {
		return ""
	}
	return text + fmt.Sprintf("\nOpen loop, %d requests a second by %d clients with a connection each, who give up after %s; a number for each round. A server is one of two, with all its processes: of meshnode a whole node.\n",
		lostRate, lostClients, lostPatient)
}

func workersTable(results []result) string {
	const name = "processor time of two workers"
	var rows [][]string
	base := of(results, name, "", inherited)
	for _, who := range contenders(results, name, "") {
		rs := of(results, name, "", who)
		if row, no := missing(who, rs, 7); no {
			rows = append(rows, row)
			continue
		}
		row := []string{policyOf(who)}
		for _, key := range []string{"new", "keep"} {
			var ratio []float64
			for _, r := range rs {
				for _, b := range base {
					if b.Round == r.Round {
						ratio = append(ratio, (r.Figures[key+"_own_us"]+r.Figures[key+"_workers_us"])/(b.Figures[key+"_own_us"]+b.Figures[key+"_workers_us"]))
					}
				}
			}
			row = append(row, fmt.Sprintf("%.2f", median(ratio)), figure(rs, key+"_own_us", "%.2f"), figure(rs, key+"_workers_us", "%.1f"))
		}
		rows = append(rows, row)
	}
	return table("Node.js workers on one server: processor time", []string{"who", "new connection, to an inherited socket", "of it the supervisor's, us", "the workers', us",
		"kept connection, to an inherited socket", "the supervisor's, us", "the workers', us"}, rows)
}

func burstTable(results []result) string {
	rows := rowsOf(results, kindBurst, "", 7, func(_, who string, rs []result) []string {
		row := []string{policyOf(who)}
		for _, key := range []string{"burst_failed", "burst_slowest_ms", "held", "before_mb", "burst_mb", "held_mb"} {
			row = append(row, figure(rs, key, "%.0f"))
		}
		return row
	})
	return table("10,000 connections at once to two Node.js workers, then 20,000 that idle", []string{"who", "failed of the burst", "slowest answer, ms", "held",
		"memory of the supervisor before, MB", "after the burst", "with the idle ones"}, rows)
}
