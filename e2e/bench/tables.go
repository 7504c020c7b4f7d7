package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// scenarioTable is failed requests, contender beside contender.
func scenarioTable(results []result) string {
	var rows [][]string
	for _, name := range names(results, "scenario") {
		for _, mode := range []string{keepAlive, newConns} {
			row := []string{name, mode}
			for _, who := range []string{pm2, meshnode} {
				row = append(row, cells(of(results, name, mode, who), each(failed), classes, each(late), each(quantiles), each(until))...)
			}
			if len(of(results, name, mode, pm2))+len(of(results, name, mode, meshnode)) > 0 {
				rows = append(rows, row)
			}
		}
	}
	text := table("Failed requests", []string{"event at 4 s", "load", "PM2 failed", "of these, most in a round", "late", "p50/p99/max ms", "last failed at s",
		"meshnode failed", "of these, most in a round", "late", "p50/p99/max ms", "last failed at s"}, rows)
	if text == "" {
		return ""
	}
	return text + fmt.Sprintf("\nOpen loop, %d requests a second for %.0f s, longer while the event lasts (memory restart: 45 s); a number for each round. "+
		"Nothing is sent twice. Sent before: they were under way when the event began. Late: answered more than 1 s later than the app takes. Last failed: when it was due, after the event began.\n", rate, duration.Seconds())
}

func failed(r result) string {
	s := fmt.Sprintf("%d of %d", r.Load.Failed, r.Load.Sent)
	if r.Load.InFlight > 0 {
		s += fmt.Sprintf(" (%d sent before)", r.Load.InFlight)
	}
	return s
}

func late(r result) string { return strconv.Itoa(r.Load.Late) }

func quantiles(r result) string {
	return fmt.Sprintf("%.0f/%.0f/%.0f", r.Load.P50, r.Load.P99, r.Load.Max)
}

func until(r result) string {
	if r.Load.Failed == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", r.Load.LastFail)
}

// classes are the kinds of failures, each with its largest count in a round.
func classes(rs []result) string {
	most := make(map[string]int)
	for _, r := range rs {
		if r.Load == nil {
			continue
		}
		for k, n := range r.Load.Classes {
			most[k] = max(most[k], n)
		}
	}
	var out []string
	for _, k := range slices.Sorted(maps.Keys(most)) {
		out = append(out, fmt.Sprintf("%s %d", k, most[k]))
	}
	return strings.Join(out, ", ")
}

// brokenTable is what became of commands and workers.
func brokenTable(results []result) string {
	var rows [][]string
	for _, name := range names(results, "scenario") {
		for _, mode := range []string{keepAlive, newConns} {
			row := []string{name, mode}
			for _, who := range []string{pm2, meshnode} {
				row = append(row, cells(of(results, name, mode, who), each(exit), each(took), each(workers), each(after))...)
			}
			if len(of(results, name, mode, pm2))+len(of(results, name, mode, meshnode)) > 0 {
				rows = append(rows, row)
			}
		}
	}
	return table("Commands and what is left after them", []string{"event", "load", "PM2 exit", "command s", "workers (old)", "answers of 20 (by old)",
		"meshnode exit", "command s", "workers (old)", "answers of 20 (by old)"}, rows)
}

func exit(r result) string {
	if _, ok := r.Figures["exit"]; !ok {
		return "-"
	}
	return fmt.Sprintf("%.0f", r.Figures["exit"])
}

func took(r result) string {
	if _, ok := r.Figures["command_s"]; !ok {
		return "-"
	}
	return fmt.Sprintf("%.1f", r.Figures["command_s"])
}

func workers(r result) string {
	return fmt.Sprintf("%.0f (%.0f)", r.Figures["workers"], r.Figures["old_workers"])
}

func after(r result) string {
	return fmt.Sprintf("%.0f (%.0f)", r.Figures["answers_after_of_20"], r.Figures["answers_by_old"])
}

// compared is one line of a table of medians: PM2, meshnode, and their ratio.
func compared(results []result, name, key, what, format string) []string {
	p, m := of(results, name, "", pm2), of(results, name, "", meshnode)
	row := []string{what, figure(p, key, format), figure(m, key, format), ""}
	a, ok := value(p, key)
	b, too := value(m, key)
	if ok && too && a > 0 {
		row[3] = fmt.Sprintf("%.2f", b/a)
	}
	return row
}

func comparedHead() []string { return []string{"median", "PM2", "meshnode", "meshnode / PM2"} }

func timingTable(results []result) string {
	var rows [][]string
	for _, name := range names(results, "timing") {
		n, how, _ := strings.Cut(strings.TrimPrefix(name, "start and reload of "), " workers")
		for _, v := range []string{"start", "reload"} {
			rows = append(rows, compared(results, name, v+"_answering_s", fmt.Sprintf("%s of %s workers%s until all new ones answer, s", v, n, how), "%.2f"),
				compared(results, name, v+"_command_s", fmt.Sprintf("%s of %s workers%s, the command, s", v, n, how), "%.2f"))
		}
	}
	return table("Time of starts and reloads", comparedHead(), rows)
}

func costTable(results []result) string {
	var rows [][]string
	for _, name := range names(results, "cost") {
		for _, l := range []struct{ key, what string }{{"keep", "request on a kept connection"}, {"new", "request on a new connection"}} {
			rows = append(rows, compared(results, name, l.key+"_own_us", l.what+": supervisor's processor time, us", "%.2f"),
				compared(results, name, l.key+"_workers_us", l.what+": workers' processor time, us", "%.1f"),
				compared(results, name, l.key+"_per_s", l.what+": answers a second, both cores busy with load and app", "%.0f"))
		}
	}
	for _, name := range names(results, "idle") {
		rows = append(rows, compared(results, name, "rss_mb", "resident memory with 8 idle workers, MB", "%.1f"),
			compared(results, name, "idle_percent", "processor time with 8 idle workers, % of a core", "%.2f"))
	}
	return table("Cost", comparedHead(), rows)
}

func restartTable(results []result) string {
	var rows [][]string
	for _, kind := range []string{"restarts", "reloads"} {
		for _, name := range names(results, kind) {
			rs := of(results, name, "", meshnode)
			keys := slices.Sorted(maps.Keys(rs[0].Figures))
			first, _ := value(rs, keys[0])
			for _, key := range keys {
				count, ok := strings.CutPrefix(key, "rss_mb_after_")
				if !ok {
					continue
				}
				v, _ := value(rs, key)
				rows = append(rows, []string{strings.TrimLeft(count, "0") + " " + name, fmt.Sprintf("%.1f", v), fmt.Sprintf("%.2f", v/first)})
			}
		}
	}
	return table("Resident memory of meshnode", []string{"after", "MB", "to the first"}, rows)
}

func logTable(results []result) string {
	var rows [][]string
	for _, name := range names(results, "logs") {
		base, _ := value(of(results, name, "", aloneNull), "worker_s")
		for _, who := range []string{aloneNull, aloneCat, pm2, meshnode} {
			rs := of(results, name, "", who)
			v, ok := value(rs, "worker_s")
			if !ok {
				continue
			}
			ratio := ""
			if base > 0 {
				ratio = fmt.Sprintf("%.2f", v/base)
			}
			rows = append(rows, []string{who, fmt.Sprintf("%.2f", v), ratio, figure(rs, "rss_before_mb", "%.1f"), figure(rs, "rss_most_mb", "%.1f"),
				figure(rs, "rss_after_mb", "%.1f"), figure(rs, "disk_mb", "%.1f"), figure(rs, "lines_kept", "%.0f")})
		}
	}
	if len(rows) == 0 {
		return ""
	}
	count := results[0].Job.Count
	return table("Time of a worker, memory of its supervisor, disk", []string{"run by", "worker s", "to /dev/null", "memory before MB", "most MB", "after MB",
		"disk MB", "lines on disk"}, rows) + fmt.Sprintf("\n%d lines of %d bytes from each of %d workers at once; medians. meshnode keeps 10 files of 50 MB for each "+
		"worker and stream, so at most 1,000 MB of these two.\n", count, lineBytes, logWorkers)
}
