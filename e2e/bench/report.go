package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"meshnode/e2e/bench/contender"
)

const head = `# Results of the benchmark

Written by ` + "`make bench`, `make bench-proxies`, `make bench-restarts` and `make bench-logs`" + `, each its own part. What is measured, and how: doc.go.
`

// titles are the parts of RESULTS.md, in order.
func titles() []string {
	return []string{"Beside PM2", "Beside load balancers", "Many restarts and reloads", "Logs at full speed"}
}

// write puts the results of a run into RESULTS.md, in place of those of the run before. Results of chosen jobs are only printed.
func write(ctx context.Context, o options, what string, begun time.Time, results []result) error {
	i := max(0, slices.Index([]string{"all", "proxies", "restarts", "logs"}, what))
	text := aboutRun(ctx, o, begun, results)
	switch i {
	case 0:
		text += scenarioTable(results) + brokenTable(results) + timingTable(results) + costTable(results) + failureList(results)
	case 1:
		text += proxyTables(results)
	case 2:
		text += restartTable(results)
	default:
		text += logTable(results)
	}
	if o.only != "" { // a part of a part does not take its place
		fmt.Println(text)
		return nil
	}
	name := filepath.Join(o.here, "RESULTS.md")
	old, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parts := make([]string, len(titles()))
	for k, title := range titles() {
		_, part, _ := strings.Cut(string(old), "\n## "+title+"\n")
		parts[k], _, _ = strings.Cut(part, "\n## ")
		if k == i {
			parts[k] = "\n" + text
		}
	}
	out := head
	for k, title := range titles() {
		if parts[k] != "" {
			out += "\n## " + title + "\n" + strings.TrimRight(parts[k], "\n") + "\n"
		}
	}
	return os.WriteFile(name, []byte(out), 0o644)
}

// aboutRun says when and with what.
func aboutRun(ctx context.Context, o options, begun time.Time, results []result) string {
	var versions []string
	for _, r := range results {
		if r.Version != "" && !slices.Contains(versions, r.Version) {
			versions = append(versions, r.Version)
		}
	}
	slices.Sort(versions)
	where := "on the loopback device of the machine"
	if os.Geteuid() == 0 {
		where = "each run in network and process namespaces of its own"
	}
	return fmt.Sprintf("%s, %d cores, %s; %s; rounds: %d, together %.0f minutes; %s.\n", begun.UTC().Format("2006-01-02 15:04 UTC"), runtime.NumCPU(),
		contender.NodeVersion(ctx), strings.Join(versions, "; "), o.rounds, time.Since(begun).Minutes(), where)
}

// table is a markdown table; rows of one length.
func table(title string, columns []string, rows [][]string) string {
	if len(rows) == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "\n### %s\n\n| %s |\n|%s\n", title, strings.Join(columns, " | "), strings.Repeat(" --- |", len(columns)))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
	}
	return b.String()
}

// of are the results of a name, a mode and a contender, by round.
func of(results []result, name, mode, who string) []result {
	var out []result
	for _, r := range results {
		if r.Job.Name == name && r.Job.Mode == mode && r.Job.Contender == who {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, func(a, b result) int { return cmp.Compare(a.Round, b.Round) })
	return out
}

// figure is the median of one figure over the rounds; "" without any.
func figure(rs []result, key, format string) string {
	v, ok := value(rs, key)
	if !ok {
		return ""
	}
	return fmt.Sprintf(format, v)
}

func value(rs []result, key string) (float64, bool) {
	var all []float64
	for _, r := range rs {
		if v, ok := r.Figures[key]; ok {
			all = append(all, v)
		}
	}
	return median(all), len(all) > 0
}

func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

// names are the different names of jobs of a kind, in the order of their first run.
func names(results []result, kind string) []string {
	var out []string
	for _, r := range results {
		if r.Job.Kind == kind && !slices.Contains(out, r.Job.Name) {
			out = append(out, r.Job.Name)
		}
	}
	return out
}

// cells are a contender's columns of a row, each with one thing of every round.
func cells(rs []result, columns ...func([]result) string) []string {
	out := make([]string, len(columns))
	if len(rs) == 0 || rs[0].Skipped != "" {
		out[0] = "not there"
		return out
	}
	for i, f := range columns {
		out[i] = f(rs)
	}
	return out
}

// each lists one thing of every round.
func each(f func(result) string) func([]result) string {
	return func(rs []result) string {
		var out []string
		for _, r := range rs {
			out = append(out, f(r))
		}
		return strings.Join(out, ", ")
	}
}
