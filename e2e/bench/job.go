package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"meshnode/e2e/bench/contender"
	"meshnode/e2e/bench/load"
)

// Modes of the load.
const (
	keepAlive = "keep-alive"
	newConns  = "new connections"
)

const (
	appPort = "3000"
	appAddr = "127.0.0.1:" + appPort
	appName = "web"
)

// job is one run of one contender.
type job struct {
	Kind      string `json:"kind"` // Kind says which function runs it.
	Name      string `json:"name"`
	Contender string `json:"contender"`
	Mode      string `json:"mode,omitempty"`
	Workers   int    `json:"workers,omitempty"`
	Count     int    `json:"count,omitempty"`
	Bin       string `json:"bin"`
	Here      string `json:"here"`
	Dir       string `json:"dir"`
}

// String is the job in a few words.
func (j job) String() string {
	s := j.Name + ": " + j.Contender
	if j.Mode != "" {
		s += " (" + j.Mode + ")"
	}
	return s
}

// result is what a job found.
type result struct {
	Job     job                `json:"job"`
	Round   int                `json:"round"`
	Skipped string             `json:"skipped,omitempty"` // Skipped is why there is nothing.
	Version string             `json:"version,omitempty"`
	Load    *load.Report       `json:"load,omitempty"`
	Figures map[string]float64 `json:"figures,omitempty"`
	Notes   []string           `json:"notes,omitempty"`
}

// The contenders.
const (
	pm2      = "pm2"
	meshnode = "meshnode"
	alone    = "alone"

	inherited   = "inherited socket"
	nodeCluster = "node cluster"
)

// jobMain runs one job and prints its result.
func jobMain(raw string) int {
	var j job
	err := json.Unmarshal([]byte(raw), &j)
	var r result
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
		defer stop()
		r, err = j.run(ctx)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		r, err = result{Job: j, Skipped: err.Error()}, nil
	}
	if err == nil {
		err = json.NewEncoder(os.Stdout).Encode(r)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		return 1
	}
	return 0
}

func (j job) run(ctx context.Context) (r result, err error) {
	r = result{Job: j, Figures: make(map[string]float64)}
	if strings.HasPrefix(j.Contender, alone) {
		return r, runAlone(ctx, j, &r)
	}
	if j.isFront() {
		return r, runFront(ctx, j, &r)
	}
	c := j.contender()
	if r.Version, err = c.Version(ctx); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, j.close(c)) }()
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-over:
			return
		case <-ctx.Done(): // nobody waits for the result any more
		}
		if err := c.Close(); err != nil {
			fmt.Fprintln(os.Stderr, "bench:", err)
		}
		os.Exit(1)
	}()
	if err := c.Open(ctx); err != nil {
		return r, err
	}
	switch j.Kind {
	case "scenario":
		err = runScenario(ctx, j, c, &r)
	case "timing":
		err = runTiming(ctx, j, c, &r)
	case "cost":
		err = runCost(ctx, j, c, &r)
	case "idle":
		err = runIdle(ctx, j, c, &r)
	case "restarts", "reloads":
		err = runRestarts(ctx, j, c, &r)
	case kindWorkerLost:
		err = runWorkerLost(ctx, j, c, &r)
	case kindBurst:
		err = runBurst(ctx, j, c, &r)
	case "logs":
		err = runLogs(ctx, j, c, &r)
	default:
		err = fmt.Errorf("%s: no such kind of job", j.Kind)
	}
	return r, err
}

// close ends the contender. In namespaces of its own nothing needs to wait for it: they end with the job.
func (j job) close(c contender.Contender) error {
	if os.Geteuid() == 0 && j.Contender == meshnode {
		return nil
	}
	return c.Close()
}

func (j job) contender() contender.Contender {
	switch j.Contender {
	case pm2:
		return contender.NewPM2(filepath.Join(j.Here, "node_modules"), j.Dir)
	case inherited:
		return contender.NewInherited(appAddr, j.Dir)
	case nodeCluster:
		return contender.NewNodeCluster(filepath.Join(j.Here, "apps", "cluster.js"), j.Dir)
	}
	return contender.NewMeshnode(j.Bin, j.Dir)
}

// app is the benchmark's app, copied into the scratch folder, where a scenario may replace it by a broken release.
func (j job) app(workers int, env map[string]string) (contender.App, error) {
	script := filepath.Join(j.Dir, "app.js")
	if env == nil {
		env = make(map[string]string)
	}
	env["APP_PORT"] = appPort
	return contender.App{Name: appName, Script: script, Workers: workers, Env: env}, j.install("app.js", script)
}

// install copies one of the benchmark's apps.
func (j job) install(app, to string) error {
	raw, err := os.ReadFile(filepath.Join(j.Here, "apps", app))
	if err != nil {
		return err
	}
	return os.WriteFile(to, raw, 0o644)
}

// start starts the app and waits until every worker has answered.
func start(ctx context.Context, c contender.Contender, a contender.App) error {
	o, err := c.Do(ctx, contender.Action{Verb: contender.Start, App: a})
	if err != nil {
		return err
	}
	if err := o.Err("start"); err != nil {
		return err
	}
	_, err = seen(ctx, a.Workers, nil)
	return err
}

// pair is a job for each contender.
func pair(j job) []job {
	var out []job
	for _, name := range []string{pm2, meshnode} {
		j.Contender = name
		out = append(out, j)
	}
	return out
}
