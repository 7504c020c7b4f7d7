package main

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"meshnode/e2e/bench/contender"
	"meshnode/e2e/bench/load"
)

// The load of every scenario.
const (
	rate     = 500
	duration = 12 * time.Second
	eventAt  = 4 * time.Second
	timeout  = 5 * time.Second
	tail     = 3 * time.Second // of load after the event, at least
)

// scenario is an event under load.
type scenario struct {
	name     string
	workers  int
	env      map[string]string
	service  time.Duration // how long an answer takes by itself
	duration time.Duration // 0 = the usual one
	change   func(a *contender.App)
	prepare  func(ctx context.Context, s *stage) error
	event    func(ctx context.Context, s *stage) error
	only     string // the one contender that has it; "" = all
}

// stage is a scenario under way.
type stage struct {
	job
	c      contender.Contender
	app    contender.App
	before []int // workers at the begin
	procs  contender.Processes
	r      *result
}

func scenarios() []scenario {
	graceful := map[string]string{"GRACEFUL": "1"}
	slow := map[string]string{"GRACEFUL": "1", "MS": "2500"}
	return []scenario{
		{name: "baseline"},
		{name: "reload", event: tell(contender.Reload, 2)},
		{name: "reload, graceful app", env: graceful, event: tell(contender.Reload, 2)},
		{name: "reload, answers of 2.5 s", env: slow, service: 2500 * time.Millisecond, event: tell(contender.Reload, 2)},
		{name: "restart", event: tell(contender.Restart, 2)},
		{name: "scale 2 to 4", event: tell(contender.Scale, 4)},
		{name: "scale 4 to 2", workers: 4, event: tell(contender.Scale, 2)},
		{name: "rollback", only: meshnode, prepare: tell(contender.Reload, 2), event: tell(contender.Rollback, 2)},
		{name: "memory restart", duration: 45 * time.Second, change: func(a *contender.App) { a.MaxMemory = "150M" }, event: grow},
		{name: "cron restart", change: func(a *contender.App) { a.Cron = "*/6 * * * * *" }},
		{name: "upgrade", only: meshnode, event: tell(contender.Upgrade, 2)},
		{name: "kill -9 of a worker", event: killWorker},
		{name: "kill -9 of the supervisor", event: killSupervisor},
		{name: "kill -9 of the keeper", only: meshnode, event: killKeeper},
		{name: "broken release: throws", event: breakWith("throws.js")},
		{name: "broken release: never listens", event: breakWith("silent.js")},
		{name: "broken release: ends after 300 ms", event: breakWith("brief.js")},
	}
}

func scenarioJobs() []job {
	var out []job
	for _, s := range scenarios() {
		for _, mode := range []string{keepAlive, newConns} {
			for _, j := range pair(job{Kind: "scenario", Name: s.name, Mode: mode}) {
				if s.only == "" || s.only == j.Contender {
					out = append(out, j)
				}
			}
		}
	}
	return out
}

// runScenario runs one scenario.
func runScenario(ctx context.Context, j job, c contender.Contender, r *result) error {
	i := slices.IndexFunc(scenarios(), func(s scenario) bool { return s.name == j.Name })
	if i < 0 {
		return fmt.Errorf("%s: no such scenario", j.Name)
	}
	s := scenarios()[i]
	st := &stage{job: j, c: c, r: r}
	if err := st.begin(ctx, s); err != nil {
		return err
	}
	var failed error
	o := load.Options{Addr: appAddr, Rate: rate, Duration: max(duration, s.duration), Keep: j.Mode == keepAlive, Timeout: timeout,
		Late: s.service + time.Second, At: eventAt, Tail: tail}
	if s.event != nil {
		o.Event = func() { failed = s.event(ctx, st) }
	}
	rep, err := load.Run(o)
	if err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	r.Load = &rep
	st.end()
	return nil
}

// begin starts the app with the scenario's workers.
func (st *stage) begin(ctx context.Context, s scenario) (err error) {
	if st.app, err = st.job.app(max(2, s.workers), s.env); err != nil {
		return err
	}
	st.app.Limit = 5 * time.Minute
	if s.change != nil {
		s.change(&st.app)
	}
	if err := start(ctx, st.c, st.app); err != nil {
		return err
	}
	if s.prepare != nil {
		if err := s.prepare(ctx, st); err != nil {
			return err
		}
	}
	time.Sleep(2 * time.Second) // nothing of the start is left to do
	st.before = contender.Running(st.app.Script)
	st.procs, err = st.c.Processes()
	return err
}

// end looks at what is left.
func (st *stage) end() {
	now := contender.Running(st.app.Script)
	if st.r.Load.Failed > 0 {
		st.r.Notes = append(st.r.Notes, fmt.Sprintf("workers %v before, %v after", st.before, now))
	}
	old := 0
	for _, pid := range now {
		if slices.Contains(st.before, pid) {
			old++
		}
	}
	st.r.Figures["workers"] = float64(len(now))
	st.r.Figures["old_workers"] = float64(old)
	var answered, byOld atomic.Int64
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			pid, err := load.Ask(appAddr, n)
			if err != nil {
				return
			}
			answered.Add(1)
			if slices.Contains(st.before, pid) {
				byOld.Add(1)
			}
		})
	}
	wg.Wait()
	st.r.Figures["answers_after_of_20"], st.r.Figures["answers_by_old"] = float64(answered.Load()), float64(byOld.Load())
}

// tell gives a command with a number of workers.
func tell(v contender.Verb, workers int) func(context.Context, *stage) error {
	return func(ctx context.Context, st *stage) error {
		a := st.app
		a.Workers = workers
		o, err := st.c.Do(ctx, contender.Action{Verb: v, App: a})
		if err != nil {
			return err
		}
		st.said(o)
		return nil
	}
}

// said notes how a command ended.
func (st *stage) said(o contender.Outcome) {
	st.r.Figures["exit"], st.r.Figures["command_s"] = float64(o.Code), o.Took.Seconds()
	if o.Code != 0 {
		lines := strings.Split(strings.TrimSpace(o.Output), "\n")
		st.r.Notes = append(st.r.Notes, lines[len(lines)-1])
	}
}

// breakWith deploys a release that does not work.
func breakWith(app string) func(context.Context, *stage) error {
	return func(ctx context.Context, st *stage) error {
		if err := st.install(app, st.app.Script); err != nil {
			return err
		}
		return tell(contender.Reload, st.app.Workers)(ctx, st)
	}
}

func killWorker(_ context.Context, st *stage) error {
	for _, pid := range st.procs.Workers {
		if slices.Contains(st.before, pid) {
			st.r.Notes = append(st.r.Notes, fmt.Sprintf("killed worker %d", pid))
			return syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	return fmt.Errorf("none of the workers %v is among %v", st.before, st.procs.Workers)
}

func killSupervisor(_ context.Context, st *stage) error {
	which := "the process itself"
	if len(st.procs.Own) > 1 {
		which = "the child that does the work"
	}
	st.r.Notes = append(st.r.Notes, fmt.Sprintf("killed %s, %s", filepath.Base(st.Contender), which))
	return syscall.Kill(st.procs.Own[0], syscall.SIGKILL)
}

// revived is how long nobody notices that all of it has ended: a service manager is faster.
const revived = time.Second

// killKeeper kills the process that was started, which takes all of it along, and starts it again.
func killKeeper(ctx context.Context, st *stage) error {
	c, ok := st.c.(interface {
		Revive(ctx context.Context) error
	})
	if !ok || len(st.procs.Own) < 2 {
		return fmt.Errorf("%s has no keeper", st.Contender)
	}
	st.r.Notes = append(st.r.Notes, "killed the process that was started, which watches over the one that does the work")
	if err := syscall.Kill(st.procs.Own[len(st.procs.Own)-1], syscall.SIGKILL); err != nil {
		return err
	}
	time.Sleep(revived)
	return c.Revive(ctx)
}

// grow has one worker need more memory than it may.
func grow(ctx context.Context, _ *stage) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+appAddr+"/grow?n=0", nil)
	if err != nil {
		return err
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		return fmt.Errorf("ask a worker to grow: %w", err)
	}
	return res.Body.Close()
}
