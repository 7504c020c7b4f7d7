package node

import (
	"net"
	"slices"
	"strconv"
	"time"

	"meshnode/node/reconcile"
	"meshnode/node/supervisor"
	"meshnode/node/supervisor/output"
	"meshnode/store/spec"
)

// actuator is what node/reconcile acts on: the configuration on one side, the supervisor on the other.
type actuator struct{ n *Node }

// State implements reconcile.Actuator.
func (a actuator) State() (want []reconcile.Want, have []reconcile.Have, ok bool) {
	c := a.n.store.State()
	if c.ID == "" || a.n.view.draining.Load() {
		return nil, nil, false
	}
	for _, app := range c.Apps {
		app, _ = c.For(app, a.n.s.Node)
		want = append(want, reconcile.Want{App: app.Name, Workers: a.n.workersOf(app), Release: app.Release, Stopped: app.Stopped})
	}
	for _, s := range a.n.sup.Status() {
		have = append(have, reconcile.Have{App: s.App, Slot: s.Slot, Release: s.Release, Replacing: s.Replacing, Refused: s.Refused,
			Ready:  s.State == supervisor.StateReady && !s.Unproven || s.Done,
			Ending: s.Replacing == 0 && !s.Done && (s.State == supervisor.StateDraining || s.State == supervisor.StateStopping || s.State == supervisor.StateStopped)})
	}
	a.n.routes.tidy(func(app string) bool {
		_, wanted := c.Apps[app]
		return wanted || slices.ContainsFunc(have, func(h reconcile.Have) bool { return h.App == app })
	})
	return want, have, true
}

// Do implements reconcile.Actuator.
func (a actuator) Do(s reconcile.Step) {
	if s.Kind == reconcile.Stop {
		a.n.sup.Stop(s.App, s.Slot)
		return
	}
	c := a.n.store.State()
	app, ok := c.Apps[s.App]
	if !ok {
		return // the next round sees it gone
	}
	app, _ = c.For(app, a.n.s.Node)
	secrets, err := a.n.opened(app)
	if err != nil {
		a.n.log.Error("a worker cannot be started", "app", s.App, "err", err)
		return
	}
	worker := workerSpec(app)
	worker.Env = append(worker.Env, secrets...)
	a.n.sup.Start(s.Slot, worker, orderOf(app, s.Slot, a.n.sup.Status()))
}

// orderOf is the order in which a slot is replaced. A restart stops a worker first only while another of the app serves on this node: the last
// one stays until its successor is ready. An app that is always to be replaced stop-first cannot run twice, so it has its gap.
func orderOf(app spec.App, slot int, all []supervisor.Status) supervisor.Order {
	another := slices.ContainsFunc(all, func(s supervisor.Status) bool {
		return s.App == app.Name && s.Slot != slot && s.State == supervisor.StateReady
	})
	if app.Order == spec.OrderStopFirst || app.Order == spec.OrderRestart && another {
		return supervisor.StopFirst
	}
	return supervisor.StartFirst
}

// workersOf is how many workers of an app this node should have.
func (n *Node) workersOf(app spec.App) int {
	if n.s.NoWorkers {
		return 0
	}
	return n.workersElsewhere(app)
}

// workersElsewhere is how many workers of an app a node like this one has if it runs any.
func (n *Node) workersElsewhere(app spec.App) int {
	if app.Workers == 0 {
		return n.who.cores
	}
	return app.Workers
}

// workerSpec translates the configuration's app into what the supervisor starts.
func workerSpec(app spec.App) supervisor.Spec {
	app = app.WithDefaults() // an app that an older release wrote has not all of them
	mode := supervisor.Mode(app.Mode)
	if app.Mode == spec.ModeAuto {
		mode = supervisor.AutoMode(app.Command)
	}
	s := supervisor.Spec{App: app.Name, Release: app.Release, Command: app.Command, Dir: app.Dir, Mode: mode, WaitReady: app.WaitReady,
		Serves: mode != supervisor.ModeCluster && len(app.Listen) > 0,
		Times: supervisor.Times{Listen: seconds(app.Timeouts.Listen), Watch: seconds(max(app.Timeouts.Watch, 0)), Drain: seconds(app.Timeouts.Drain),
			Kill: seconds(app.Timeouts.Kill)},
		Account: accountOf(app.Process), Restart: restartOf(app.Restart), Health: healthOf(app), Logs: logsOf(app.Logs)}
	s.Restart.Alone = app.Order == spec.OrderStopFirst
	// A Node app that never listened may be one that serves nobody, such as a consumer of a queue.
	s.Undecided = app.Mode == spec.ModeAuto && mode == supervisor.ModeCluster && len(app.Listen)+len(app.Learned) == 0
	if mode == supervisor.ModeCluster {
		s.Clients = spec.Streams(slices.Concat(app.Listen, app.Learned))
	}
	for k, v := range app.Env {
		s.Env = append(s.Env, k+"="+v)
	}
	slices.Sort(s.Env)
	streams := spec.Streams(app.Listen)
	s.Datagrams = mode != supervisor.ModeCluster && len(app.Listen) > 0 && len(streams) == 0
	if mode == supervisor.ModeCluster && len(streams) > 0 {
		if _, port, err := net.SplitHostPort(streams[0]); err == nil {
			s.Port, _ = strconv.Atoi(port)
		}
	}
	return s
}

func accountOf(p spec.Process) supervisor.Account {
	return supervisor.Account{User: p.User, Group: p.Group, InstanceVar: p.InstanceVar, IncrementVar: p.IncrementVar, FilterEnv: p.FilterEnv,
		StopSignal: p.StopSignal, StopMessage: p.StopMessage, LeaveTree: p.LeaveTree, Header: byte(headerOf(p)), Limits: supervisor.Limits(p.Limits)}
}

func restartOf(r spec.Restart) supervisor.Restart {
	return supervisor.Restart{Off: r.Off, StopExitCodes: r.StopExitCodes, MinUptime: seconds(r.MinUptime), Max: r.Max, Delay: seconds(r.Delay),
		Backoff: seconds(r.Backoff), MaxMemory: r.MaxMemory, Cron: r.Cron, Watch: r.Watch, IgnoreWatch: r.IgnoreWatch, WatchDelay: seconds(r.WatchDelay)}
}

func healthOf(app spec.App) supervisor.Health {
	h := app.Health
	return supervisor.Health{Path: h.Path, TCP: h.TCP, Header: headerOf(app.Process).OwnHeader(), Interval: seconds(h.Interval), Timeout: seconds(h.Timeout), Fall: h.Fall, Rise: h.Rise, Hang: seconds(h.Hang)}
}

func logsOf(l spec.Logs) output.Policy {
	return output.Policy{Merge: l.Merge, FileBytes: int64(l.FileBytes), Keep: l.Keep, CapBytes: int64(l.Cap), Disabled: l.Off,
		Custom: output.Custom{Out: l.Out, Err: l.Err, Combined: l.Both, Dates: l.DateFormat, JSON: l.JSON}}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

var _ reconcile.Actuator = actuator{}
