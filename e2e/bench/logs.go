package main

import (
	"bufio"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"meshnode/e2e/bench/contender"
)

const (
	logWorkers = 2
	logLimit   = 10 * time.Minute
	lineBytes  = 100
)

// The ways to run the app with nobody in between.
const (
	aloneNull = alone + ", output to /dev/null"
	aloneCat  = alone + ", output to cat >/dev/null"
)

func logJobs(o options) []job {
	j := job{Kind: "logs", Name: "lines at full speed", Workers: logWorkers, Count: pick(o.count > 0, o.count, 1000000)}
	out := pair(j)
	for _, way := range []string{aloneNull, aloneCat} {
		j.Contender = way
		out = append(out, j)
	}
	return out
}

// lineApp is the app that writes, and the places it uses.
func (j job) lineApp() (contender.App, error) {
	a := contender.App{Name: appName, Script: filepath.Join(j.Dir, "lines.js"), Workers: j.Workers, Env: map[string]string{
		"APP_PORT": appPort, "GO": filepath.Join(j.Dir, "go"), "RESULT": filepath.Join(j.Dir, "took"), "LINES": strconv.Itoa(j.Count)}}
	return a, j.install("lines.js", a.Script)
}

// runLogs has every worker write its lines at once.
func runLogs(ctx context.Context, j job, c contender.Contender, r *result) error {
	a, err := j.lineApp()
	if err != nil {
		return err
	}
	if err := start(ctx, c, a); err != nil {
		return err
	}
	time.Sleep(2 * time.Second) // the start is over
	p, err := c.Processes()
	if err != nil {
		return err
	}
	r.Figures["rss_before_mb"] = megabytes(contender.RSS(p.Own))
	most := 0.0
	if err := j.written(a, r, func() { most = max(most, megabytes(contender.RSS(p.Own))) }); err != nil {
		return err
	}
	time.Sleep(3 * time.Second) // what is under way reaches the disk
	r.Figures["rss_most_mb"], r.Figures["rss_after_mb"] = most, megabytes(contender.RSS(p.Own))
	bytes, lines, err := logged(j.Dir)
	r.Figures["disk_mb"], r.Figures["lines_kept"] = megabytes(bytes), float64(lines)
	return err
}

// written lets the workers begin, and waits until each has said how long it took.
func (j job) written(a contender.App, r *result, sample func()) error {
	if err := os.WriteFile(a.Env["GO"], nil, 0o644); err != nil {
		return err
	}
	for begun := time.Now(); ; time.Sleep(100 * time.Millisecond) {
		sample()
		took, err := j.took(a)
		if err != nil {
			return err
		}
		if len(took) >= a.Workers {
			sum := 0.0
			for _, ms := range took {
				sum += ms
			}
			r.Figures["worker_s"] = sum / float64(len(took)) / 1000
			return nil
		}
		if time.Since(begun) > logLimit {
			return fmt.Errorf("%d of %d workers wrote their lines within %s", len(took), a.Workers, logLimit)
		}
	}
}

// took is what the workers that are done have said, in milliseconds.
func (j job) took(a contender.App) ([]float64, error) {
	names, err := filepath.Glob(a.Env["RESULT"] + ".*")
	if err != nil {
		return nil, err
	}
	var out []float64
	for _, name := range names {
		if strings.HasSuffix(name, ".part") {
			continue
		}
		raw, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		ms, err := strconv.ParseFloat(string(raw), 64)
		if err != nil {
			return nil, err
		}
		out = append(out, ms)
	}
	return out, nil
}

// logged are the bytes of workers' output on disk, and the lines in it.
func logged(dir string) (bytes int64, lines int, err error) {
	err = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.Contains(name, "/logs/") {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		bytes += info.Size()
		n, err := countLines(name)
		lines += n
		return err
	})
	return bytes, lines, err
}

// countLines counts the app's lines in a file, which may be compressed.
func countLines(name string) (int, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var from io.Reader = f
	if strings.HasSuffix(name, ".gz") {
		if from, err = gzip.NewReader(f); err != nil {
			return 0, fmt.Errorf("%s: %w", name, err)
		}
	}
	n := 0
	s := bufio.NewScanner(from)
	for s.Scan() {
		if strings.Contains(s.Text(), "xxxxxxxxxx") {
			n++
		}
	}
	return n, s.Err()
}

func megabytes(n int64) float64 { return float64(n) / (1 << 20) }
