package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"meshnode/e2e/bench/contender"
	"meshnode/e2e/bench/front"
	"meshnode/e2e/bench/load"
)

// kindWorkerLost are the jobs in which a supervisor loses a worker.
const kindWorkerLost = "worker lost"

const (
	killed  = "killed"
	stopped = "stopped"

	lostRate    = 1000
	lostAt      = 3 * time.Second
	lostClients = 256
	lostPatient = 2 * time.Second
)

func supervisorJobs() []job {
	var out []job
	add := func(kind, name, mode string, who ...string) {
		for _, w := range who {
			out = append(out, job{Kind: kind, Name: name, Mode: mode, Contender: w, Workers: 2})
		}
	}
	for _, how := range []string{killed, stopped} {
		add(kindWorkerLost, "a worker "+how, keepAlive, inherited, nodeCluster, pm2, meshnode)
	}
	add("cost", "processor time of two workers", "", inherited, nodeCluster, pm2, meshnode)
	add(kindBurst, burstName, "", inherited, nodeCluster, pm2, meshnode)
	return out
}

// lostLoad is the load during which something is lost: 256 clients with a connection each, which give a request up after two seconds.
func lostLoad(addr, how string, event func()) load.Options {
	d := 8 * time.Second
	if how == stopped {
		d = 12 * time.Second
	}
	return load.Options{Addr: addr, Rate: lostRate, Seed: 1, Duration: d, Keep: true, Clients: lostClients, Timeout: lostPatient, Late: 100 * time.Millisecond,
		At: lostAt, Event: event}
}

// runLost kills or stops one of two servers with all its processes: of meshnode a whole node.
func runLost(ctx context.Context, j job, f front.Front, r *result) error {
	cmd, err := j.server(sleepKind)
	if err != nil {
		return err
	}
	s := front.Service{Servers: 2, Command: cmd, Nodes: 2, Door: true, Env: map[string]string{"SLOTS": "1000", "SLOW": "none"}}
	if err := f.Open(ctx, s); err != nil {
		return err
	}
	settled()
	victims := f.Processes().Servers[1]
	return lose(j, f.Doors()[0], victims, r)
}

// runWorkerLost kills or stops one of two workers.
func runWorkerLost(ctx context.Context, j job, c contender.Contender, r *result) error {
	a, err := j.app(2, map[string]string{"MS": "0"})
	if err != nil {
		return err
	}
	if err := start(ctx, c, a); err != nil {
		return err
	}
	settled()
	p, err := c.Processes()
	if err != nil {
		return err
	}
	running := contender.Running(a.Script)
	for _, pid := range running {
		for _, w := range p.Workers {
			if pid == w {
				return lose(j, appAddr, []int{pid}, r)
			}
		}
	}
	return fmt.Errorf("none of the workers %v is among %v", p.Workers, running)
}

// lose sends the load and, at its time, the signal. Processes that were stopped are ended afterwards.
func lose(j job, addr string, victims []int, r *result) error {
	how, sig := killed, syscall.SIGKILL
	if strings.HasSuffix(j.Name, stopped) {
		how, sig = stopped, syscall.SIGSTOP
	}
	err := r.run(lostLoad(addr, how, func() {
		for _, pid := range victims {
			if err := syscall.Kill(pid, sig); err != nil {
				fmt.Fprintf(os.Stderr, "bench: %s of %d: %v\n", sig, pid, err)
			}
		}
	}))
	for _, pid := range victims {
		_ = syscall.Kill(pid, syscall.SIGKILL) // most have ended
	}
	return err
}
