package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are what the benchmark is told.
type options struct {
	bin     string // the meshnode to measure; "" = build it
	here    string // the folder of this program's source
	only    string // names of jobs, separated by commas; "" = all
	rounds  int
	keep    string // where logs of contenders are kept; "" = nowhere
	count   int    // restarts, or lines of a log
	reloads int
	crowd   int    // workers that end again and again
	dir     string // scratch
}

func main() {
	if len(os.Args) == 3 && os.Args[1] == jobWord {
		os.Exit(jobMain(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == initWord {
		os.Exit(initMain(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == serverWord {
		os.Exit(serverMain(os.Args[2]))
	}
	if len(os.Args) == 4 && os.Args[1] == holderWord {
		os.Exit(holderMain(os.Args[2], os.Args[3]))
	}
	if len(os.Args) == 2 && os.Args[1] == workerWord {
		os.Exit(workerMain())
	}
	var o options
	flag.StringVar(&o.bin, "bin", "", "the meshnode to measure (default: build it)")
	flag.StringVar(&o.here, "here", filepath.Join("e2e", "bench"), "folder of the benchmark")
	flag.StringVar(&o.only, "only", "", "only the jobs whose name contains one of these, separated by commas; their results are printed, and not kept")
	flag.IntVar(&o.rounds, "rounds", 2, "how often everything is run")
	flag.StringVar(&o.keep, "keep", "", "folder where the contenders' own logs are kept")
	flag.IntVar(&o.count, "count", 0, "restarts: worker restarts (10000); logs: lines of each worker (1000000)")
	flag.IntVar(&o.reloads, "reloads", 1000, "restarts: reloads")
	flag.IntVar(&o.crowd, "workers", 400, "restarts: workers that end again and again; more of them take less time")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	err := bench(ctx, o, flag.Arg(0))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, o options, what string) (err error) {
	if o.here, err = filepath.Abs(o.here); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(o.here, "apps", "app.js")); err != nil {
		return errors.New("run it inside the source of meshnode: make bench")
	}
	if o.dir, err = os.MkdirTemp("", "meshnode-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.dir)) }()
	if o.bin == "" {
		o.bin = filepath.Join(o.dir, "meshnode")
		if err := build(ctx, o); err != nil {
			return err
		}
	}
	if o.bin, err = filepath.Abs(o.bin); err != nil {
		return err
	}
	plan, err := planOf(o, what)
	if err != nil {
		return err
	}
	begun := time.Now()
	results, failed := runAll(ctx, o, plan)
	if ctx.Err() != nil {
		return errors.New("stopped")
	}
	return errors.Join(failed, write(ctx, o, what, begun, results))
}

// planOf are the jobs of one round, in pairs of contenders.
func planOf(o options, what string) ([]job, error) {
	switch what {
	case "", "all":
		return slices.Concat(scenarioJobs(), timingJobs(), costJobs()), nil
	case "proxies":
		return proxyJobs(), nil
	case "restarts":
		return restartJobs(o), nil
	case "logs":
		return logJobs(o), nil
	default:
		return nil, fmt.Errorf("%s: not one of all, proxies, restarts, logs", what)
	}
}

// runAll runs every job, round after round; within a round the contenders take turns, and each round begins with another one. A job that could
// not be run is left out, and the error names it.
func runAll(ctx context.Context, o options, plan []job) (results []result, failed error) {
	for round := range o.rounds {
		for _, set := range chosen(o, plan) {
			for i := range set {
				j := set[(i+round)%len(set)]
				r, err := isolate(ctx, o, j, round)
				if ctx.Err() != nil {
					return nil, ctx.Err()
				}
				if err != nil {
					failed = errors.Join(failed, fmt.Errorf("%s: %w", j, err))
					fmt.Fprintf(os.Stderr, "%s round %d: not measured: %v\n", j, round+1, err)
					continue
				}
				fmt.Fprintf(os.Stderr, "%s round %d: %s\n", j, round+1, r.brief())
				results = append(results, r)
			}
		}
	}
	return results, failed
}

// chosen are the jobs to run, those of one name and mode together.
func chosen(o options, plan []job) [][]job {
	var out [][]job
	for _, j := range plan {
		if o.only != "" && !slices.ContainsFunc(strings.Split(o.only, ","), func(w string) bool { return strings.Contains(j.String(), w) }) {
			continue
		}
		if n := len(out); n > 0 && out[n-1][0].Name == j.Name && out[n-1][0].Mode == j.Mode {
			out[n-1] = append(out[n-1], j)
		} else {
			out = append(out, []job{j})
		}
	}
	return out
}

func build(ctx context.Context, o options) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	c := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", o.bin, "./cmd/meshnode")
	c.Dir, c.Env = filepath.Join(o.here, "..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("build meshnode: %w\n%s", err, out)
	}
	return nil
}

// brief is a result in one line.
func (r result) brief() string {
	if r.Skipped != "" {
		return "skipped: " + r.Skipped
	}
	raw, err := json.Marshal(r.Figures)
	if err != nil {
		return err.Error()
	}
	text := string(raw)
	if r.Load != nil {
		text = fmt.Sprintf("%d of %d failed %v, p99 %.0f ms, max %.0f ms, %d late %s", r.Load.Failed, r.Load.Sent, r.Load.Classes, r.Load.P99, r.Load.Max, r.Load.Late, text)
	}
	return text + " " + strings.Join(r.Notes, "; ")
}
