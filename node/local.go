package node

import (
	"errors"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"meshnode/node/api"
	"meshnode/node/supervisor"
	"meshnode/node/supervisor/output"
	"meshnode/store/spec"
)

// local is what this node knows of itself.
func (n *Node) local() api.LocalStatus {
	st := n.sup.Status()
	out := api.LocalStatus{Time: time.Now().UTC(), Member: n.localMember(), Progress: make(map[string]api.NodeProgress), Exits: n.view.exits.list(n.s.Node),
		Listeners: n.localListeners(), Clients: make(map[string]api.ClientCounts), Server: n.serverState()}
	byApp := make(map[string][]supervisor.Status)
	for _, s := range st {
		byApp[s.App] = append(byApp[s.App], s)
		out.Workers = append(out.Workers, n.localWorker(s))
	}
	c := n.store.State()
	apps := c.Apps
	for name, app := range apps {
		app, _ = c.For(app, n.s.Node)
		out.Progress[name] = n.progress(app, byApp[name])
		out.Clients[name] = n.clientCounts(name)
	}
	for name, app := range apps { // a stopped app has no slot, and is not forgotten
		if !app.Stopped || len(byApp[name]) > 0 {
			continue
		}
		for i := range n.workersOf(app) {
			out.Workers = append(out.Workers, n.localWorker(supervisor.Status{App: name, Slot: i, State: supervisor.StateStopped, Release: app.Release}))
		}
	}
	for name, slots := range byApp {
		if _, ok := apps[name]; !ok {
			out.Progress[name] = n.progress(spec.App{Name: name, Stopped: true}, slots)
		}
	}
	out.Warnings = n.localWarnings(out)
	return out
}

func (n *Node) localMember() api.MemberStatus {
	c := n.proxy.Stats()
	m := api.MemberStatus{Node: n.s.Node, Addr: n.who.addr, Status: "alive", Zone: n.s.Zone, Tags: n.s.Tags, Cores: n.who.cores,
		Load: n.view.sampler.Busy(), Connections: int(c.Open) + n.bal.Direct(), ForwardedIn: c.ForwardedIn, ForwardedOut: c.ForwardedOut,
		AppliedIndex: n.store.State().Index, Version: n.o.Version, Uptime: time.Since(n.who.started).Seconds()}
	if n.keys != nil {
		m.Trusted = &api.Trusted{Since: n.who.Created, By: spec.TrustedByKey}
	}
	return m
}

func (n *Node) localWorker(s supervisor.Status) api.WorkerStatus {
	w := api.WorkerStatus{App: s.App, Worker: strconv.Itoa(s.Slot), Node: n.s.Node, PID: s.PID, Status: string(s.State), Mode: string(s.Mode),
		Release: s.Release, Restarts: uint64(s.Restarts)}
	if s.PID > 0 {
		u := n.view.sampler.Process(s.PID)
		w.CPU, w.Memory, w.Uptime = u.CPU, u.Memory, time.Since(s.StartedAt).Seconds()
		w.Load = min(u.CPU/100, 1)
		if s.Busy.Known {
			w.Load = s.Busy.Share
		}
		if p := n.bal.Lookup(s.App); p != nil {
			w.Connections = p.Open(s.Worker)
		}
	}
	return w
}

// progress is how far this node is with the release that it may run of the app.
func (n *Node) progress(app spec.App, slots []supervisor.Status) api.NodeProgress {
	p := api.NodeProgress{Node: n.s.Node, Release: app.Release, State: api.StateWorking}
	if !app.Stopped {
		p.Want = n.workersOf(app)
	}
	full, serving := p.Want, 0
	for _, s := range slots {
		if s.State == supervisor.StateReady && s.Slot < full {
			serving++
		}
		if s.Spare && p.Want > 1 {
			p.Want--
		}
		if s.State == supervisor.StateReady && s.Release == app.Release && s.Slot < full {
			p.Ready++
		}
		if s.Release != app.Release && s.PID > 0 {
			p.Release = s.Release
		}
		if s.Refused == app.Release && s.Refused != 0 || s.Release == app.Release && (s.State == supervisor.StateFailed || s.State == supervisor.StateBackoff) {
			p.State, p.Error, p.Tail = api.StateFailed, failure(s), tailOf(s.Tail)
		}
	}
	p.Scaled = serving >= p.Want && len(slots) == full
	if p.State == api.StateWorking && p.Ready == p.Want && len(slots) == full {
		p.State = api.StateDone
	}
	return p
}

// failure says in one line why a slot's worker does not run.
func failure(s supervisor.Status) string {
	what := s.Error
	if h := supervisor.Headline(s.Tail); h != "" {
		what += ": " + h
	}
	return what
}

func (n *Node) localListeners() []api.Listener {
	apps := n.store.State().Apps
	learned := func(app, key string) bool {
		for _, addr := range apps[app].Listen {
			if k, _, _, ok := keyOf(addr); ok && k == key {
				return false
			}
		}
		return true
	}
	var out []api.Listener
	for _, l := range n.proxy.Listeners() {
		out = append(out, api.Listener{App: l.App, Node: n.s.Node, Addr: l.Addr.String(), State: api.ListenerOpen, Learned: learned(l.App, l.Key)})
	}
	out = append(out, n.datagramListeners()...)
	for k, err := range n.routes.faults() {
		out = append(out, api.Listener{App: k.app, Node: n.s.Node, Addr: addrOfKey(k.key), State: api.ListenerFailed, Error: why(err), Learned: learned(k.app, k.key)})
	}
	slices.SortFunc(out, func(a, b api.Listener) int { return strings.Compare(a.App+a.Addr, b.App+b.Addr) })
	return out
}

// addrOfKey is the client address that a listener's key stands for.
func addrOfKey(key string) string {
	i := strings.LastIndexByte(key, ':')
	addr := key[:max(i, 0)]
	j := strings.LastIndexByte(addr, ':')
	if j < 0 {
		return key
	}
	host := addr[:j]
	if host == "null" {
		host = ""
	}
	return net.JoinHostPort(host, addr[j+1:])
}

// why is the cause of a failed listen without the address, which is named beside it.
func why(err error) string {
	var e syscall.Errno
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "the port is in use by another program on this server"
	case errors.Is(err, syscall.EACCES):
		return "this user may not open the port"
	case errors.As(err, &e):
		return e.Error()
	}
	return err.Error()
}

func (n *Node) logLine(l output.Line) api.LogLine {
	out := api.LogLine{Time: l.Time, Node: n.s.Node, App: l.App, Worker: l.Worker, Stream: l.Stream, Text: l.Text, Dropped: l.Dropped}
	switch {
	case l.Now:
		out.Kind = api.KindNow
	case l.Dropped > 0:
		out.Kind = api.KindDropped
	}
	return out
}
