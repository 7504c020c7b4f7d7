package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"meshnode/e2e/bench/load"
)

func lost(who string, round, failed int) result {
	return result{Job: job{Kind: "scenario", Name: "reload", Mode: keepAlive, Contender: who}, Round: round,
		Load: &load.Report{Sent: 6000, Failed: failed, Classes: map[string]int{load.ReusedEOF: failed},
			Failures: []load.Failure{{At: 0.1, Class: load.ReusedEOF, PID: 7, Error: "EOF"}}}, Figures: map[string]float64{"exit": 0}}
}

// A run replaces its own part of the file and leaves the others alone.
func TestResultsKeepOtherParts(t *testing.T) {
	dir := t.TempDir()
	name := filepath.Join(dir, "RESULTS.md")
	o := options{here: dir, rounds: 2}
	restarts := []result{{Job: job{Kind: "reloads", Name: "reloads", Contender: meshnode}, Figures: map[string]float64{"rss_mb_after_000100": 20, "rss_mb_after_001000": 21}}}
	first := []result{lost(pm2, 0, 16), lost(pm2, 1, 21), lost(meshnode, 0, 0), lost(meshnode, 1, 3)}
	second := []result{lost(pm2, 0, 9), lost(meshnode, 0, 0)}
	for _, s := range []struct {
		what    string
		results []result
	}{{"all", first}, {"restarts", restarts}, {"all", second}, {"all", first}} {
		if err := write(t.Context(), o, s.what, time.Now(), s.results); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	text := string(raw)
	for _, want := range []string{"16 of 6000, 21 of 6000 | reused_eof 21", "0 of 6000, 3 of 6000", "| 1000 reloads | 21.0 | 1.05 |", "reload, keep-alive, round 2: 3 of 6000"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, text)
		}
	}
	if strings.Contains(text, "| 9 of 6000") || strings.Count(text, "\n## ") != 2 {
		t.Errorf("an old part is left:\n%s", text)
	}
}

func TestEveryJobHasAPair(t *testing.T) {
	for _, set := range chosen(options{}, append(scenarioJobs(), append(timingJobs(), costJobs()...)...)) {
		only := slices.Contains([]string{"rollback", "upgrade", "kill -9 of the keeper"}, set[0].Name)
		if len(set) != 2 && !only {
			t.Errorf("%v is run by %d contenders", set[0], len(set))
		}
	}
}
