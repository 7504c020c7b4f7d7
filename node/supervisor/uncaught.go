package supervisor

import (
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A worker in mode cluster that binds its ports past its channel is uncaught: a program that is no Node.js behind npm start, a Node.js
// without its NODE_OPTIONS. The first such worker of an app gets the port, the second ends because it is taken. That end is what
// is acted on here, in two steps: the app's workers start in mode port, each with a PORT of its own; and where one ends in that
// way again, because it ignores PORT, the worker that has the port stays, alone.

// Uncaught is an app whose workers bind their ports by themselves.
type Uncaught struct {
	Addrs []string // Addrs are where a worker was seen listening, "host:port" or ":port"; none if it only met our own listener there.
	Seen  bool     // Seen: no worker has met another one yet, and nothing was done.
	Alone bool     // Alone: its workers ignore PORT, so that one can run.
	Slot  int      // Slot is that one's.
}

// Guess is what is supposed, or not known, of a Node worker's ports.
type Guess struct {
	Datagrams bool      // Datagrams is set in mode port where only datagrams reach the worker: it need not listen for connections.
	Undecided bool      // Undecided is set in mode cluster while nobody knows whether the worker listens: living for quietAfter is ready enough.
	Clients   []string  // Clients are the app's client addresses, given and learned, in mode cluster: they are open here.
	Uncaught  *Uncaught // Uncaught is set by the supervisor where it starts the worker in mode port though mode cluster is asked for.
}

// uncaughtApps are the uncaught apps of this node.
type uncaughtApps struct {
	mu   sync.Mutex
	apps map[string]Uncaught
}

func (a *uncaughtApps) get(app string) (Uncaught, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, ok := a.apps[app]
	return u, ok
}

func (a *uncaughtApps) set(app string, u Uncaught) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.apps == nil {
		a.apps = make(map[string]Uncaught)
	}
	a.apps[app] = u
}

func (a *uncaughtApps) forget(app string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.apps, app)
}

// Uncaught returns the apps whose workers here bind their ports by themselves.
func (s *Supervisor) Uncaught() map[string]Uncaught {
	s.uncaught.mu.Lock()
	defer s.uncaught.mu.Unlock()
	out := make(map[string]Uncaught, len(s.uncaught.apps))
	for app, u := range s.uncaught.apps {
		out[app] = u
	}
	return out
}

// asksCluster reports whether a spec asks for mode cluster, whatever became of that.
func (s Spec) asksCluster() bool { return s.Mode == ModeCluster || s.Uncaught != nil }

// fallBack changes what an uncaught app's worker is started with.
func (s *Supervisor) fallBack(spec Spec) Spec {
	u, ok := s.uncaught.get(spec.App)
	switch {
	case !ok:
	case !spec.asksCluster(): // the operator has said how it is to run
		s.uncaught.forget(spec.App)
	case !u.Seen:
		spec.Mode, spec.Serves, spec.Port, spec.WaitReady = ModePort, !u.Alone, 0, false // its word would come over the channel
		spec.Uncaught, spec.Undecided = &u, false
		if u.Alone {
			spec.Health.Path, spec.Health.TCP = "", false // nobody knows which port to ask
		}
	}
	return spec
}

// alone reports whether a worker with this spec must not run beside another of its app.
func (s *Supervisor) alone(spec Spec) (Uncaught, bool) {
	u, ok := s.uncaught.get(spec.App)
	return u, ok && u.Alone && spec.asksCluster()
}

// spare leaves the slot empty where its app can run in another one only.
func (s *slot) spare(spec Spec) bool {
	u, alone := s.sup.alone(spec)
	if !alone || u.Slot == s.index {
		return false
	}
	s.publish(func(st *Status) {
		st.State, st.PID, st.Release, st.Replacing, st.Done, st.Spare = StateStopped, 0, spec.Release, 0, true, true
		st.Mode = ModePort
		st.Error = fmt.Sprintf("it would listen on %s by itself, as worker %d does", strings.Join(u.Addrs, ", "), u.Slot)
	})
	return true
}

// collided takes in that a worker ended because a port that it binds by itself is taken. It reports whether the slot is to begin again at
// once, in another way.
func (s *slot) collided(p *process) bool {
	said := inUse(p.tail())
	if p.retiring || p.end.code() == 0 || len(said) == 0 || p.asked.Load() {
		return false
	}
	u, known := s.sup.uncaught.get(s.app)
	holder, addrs := s.holder(said)
	switch fell := p.spec.Uncaught; {
	case !p.spec.asksCluster():
		return false
	case fell == nil && known && !u.Seen, fell != nil && !fell.Alone && u.Alone:
		return true // another slot has found out meanwhile
	case fell == nil && (len(addrs) > 0 || mentioned(said, p.spec.Clients)):
		s.sup.uncaught.set(s.app, Uncaught{Addrs: addrs, Slot: holder})
		s.log.Warn("the app listens by itself, so it runs in mode port", "addr", strings.Join(addrs, " "))
		return true
	case fell != nil && !fell.Alone && len(addrs) > 0:
		s.sup.uncaught.set(s.app, Uncaught{Addrs: addrs, Alone: true, Slot: holder})
		s.log.Warn("the app listens by itself and ignores PORT, so it runs with one worker", "addr", strings.Join(addrs, " "))
		return true
	}
	return false
}

// again starts a successor that collided once more.
func (s *slot) again(spec Spec) {
	if s.procs.cur == nil {
		s.begin(spec)
		return
	}
	s.succeed(spec)
}

// replaceAlone replaces a worker that cannot run beside its successor, and reports whether it is one.
func (s *slot) replaceAlone(spec Spec) bool {
	if _, alone := s.sup.alone(spec); !alone {
		return false
	}
	s.procs.renewing, s.procs.pending = nil, &spec
	s.retire(s.procs.cur)
	return true
}

// holder finds the worker of the app that listens by itself, and where: of its ports those that said names, if it names any of them. It goes by
// the marks of processes: whoever gives slots commands holds the lock on their table.
func (s *slot) holder(said []string) (int, []string) {
	prefix := s.sup.o.NodeID + "/" + s.app + "/"
	slots := make(map[int][]int)
	for _, pid := range marked([]byte(runVariable+"="+prefix), nil) {
		text, _, _ := strings.Cut(strings.TrimPrefix(runOf(pid), prefix), "#")
		if i, err := strconv.Atoi(text); err == nil {
			slots[i] = append(slots[i], pid)
		}
	}
	for _, i := range slices.Sorted(maps.Keys(slots)) {
		all := s.sup.addrsOf(slots[i])
		if len(all) == 0 {
			continue
		}
		named := slices.DeleteFunc(slices.Clone(all), func(a string) bool { return !mentions(said, a) })
		if len(named) > 0 {
			all = named
		}
		return i, all
	}
	return 0, nil
}

// maxOwn bounds the addresses of an uncaught app (count); an app has no more than that.
const maxOwn = 16

// ownAddrs are the client addresses on which the processes of a run listen by themselves.
func (p *process) ownAddrs() []string {
	return p.sup.addrsOf(marked([]byte(runVariable+"="+p.run+"\x00"), nil))
}

func (s *Supervisor) addrsOf(pids []int) []string {
	found, err := Listening(pids)
	if err != nil {
		s.log.Warn("cannot see on which ports workers listen", "err", err)
		return nil
	}
	var out []string
	for _, a := range found {
		if c := clientAddr(a); !slices.Contains(out, c) && len(out) < maxOwn {
			out = append(out, c)
		}
	}
	return out
}

func clientAddr(a netip.AddrPort) string {
	if a.Addr().IsUnspecified() {
		return ":" + strconv.Itoa(int(a.Port()))
	}
	return a.String()
}

// see takes in that a worker which has not asked for a port listens by itself, where others can reach it.
func (p *process) see() {
	if _, known := p.sup.uncaught.get(p.App); known || p.asked.Load() {
		return
	}
	addrs := slices.DeleteFunc(p.ownAddrs(), func(a string) bool {
		host, _, _ := net.SplitHostPort(a)
		ip, err := netip.ParseAddr(host)
		return err == nil && ip.IsLoopback()
	})
	if len(addrs) > 0 {
		p.sup.uncaught.set(p.App, Uncaught{Addrs: addrs, Seen: true, Slot: p.Slot})
	}
}

// caught takes in that the worker asks for a port as it should. One that was slow to do so may have been seen otherwise before.
func (p *process) caught() {
	if u, ok := p.sup.uncaught.get(p.App); !p.asked.Swap(true) && ok && u.Seen {
		p.sup.uncaught.forget(p.App)
	}
}

// bequeath gives the place of an app's only worker to another slot when its own is gone. The supervisor's lock is held.
func (s *Supervisor) bequeath(gone *slot) {
	left := s.slots[gone.app]
	u, ok := s.uncaught.get(gone.app)
	switch {
	case !ok:
	case len(left) == 0:
		s.uncaught.forget(gone.app)
	case u.Alone && u.Slot == gone.index:
		for i := range left {
			if u.Slot == gone.index || i < u.Slot {
				u.Slot = i
			}
		}
		s.uncaught.set(gone.app, u)
		left[u.Slot].offer(command{wake: true})
	}
}

// inUse returns the lines of a worker's output which say that an address is taken.
func inUse(tail []string) []string {
	var out []string
	for _, line := range tail {
		low := strings.ToLower(line)
		if strings.Contains(low, "eaddrinuse") || strings.Contains(low, "address already in use") || strings.Contains(low, "address in use") {
			out = append(out, line)
		}
	}
	return out
}

// mentioned reports whether the lines may mean one of the addresses: they name it, or no port at all.
func mentioned(lines, addrs []string) bool {
	return slices.ContainsFunc(addrs, func(a string) bool { return mentions(lines, a) }) || len(addrs) > 0 && !slices.ContainsFunc(lines, namesPort)
}

// mentions reports whether a line names the port of an address.
func mentions(lines []string, addr string) bool {
	_, port, _ := net.SplitHostPort(addr)
	return slices.ContainsFunc(lines, func(l string) bool { return slices.Contains(portsIn(l), port) })
}

func namesPort(line string) bool { return len(portsIn(line)) > 0 }

// portsIn are the numbers that follow a colon.
func portsIn(line string) []string {
	var out []string
	for _, part := range strings.Split(line, ":")[1:] {
		if n := strings.TrimLeft(part, "0123456789"); n != part {
			out = append(out, part[:len(part)-len(n)])
		}
	}
	return out
}
