package node

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"meshnode/balancer"
	"meshnode/balancer/proxy"
	"meshnode/node/supervisor"
	"meshnode/node/supervisor/nodeipc"
	"meshnode/store/spec"
)

// window is how many connections may be offered to a worker that it has not yet taken (count). A hand-off cannot be revoked, so this is
// also how many wait behind a worker that is blocked.
const window = 4

// routes tells the data path which workers there are, and answers their listen calls.
type routes struct {
	n      *Node
	shared *sharedSockets

	mu    sync.Mutex
	ready map[string]map[string]bool    // by app and worker ID: whether it takes sockets
	held  map[listenKey]map[string]bool // worker IDs that listen on it
	data  map[listenKey]json.RawMessage // the first worker's opaque data, echoed to all
	takes map[string]supervisor.Worker  // by ID: those that were ready once and live
	parts map[string]uint64             // peers that are about to stop: how many connections they had passed on when workers were told
	fault map[listenKey]error           // listeners that could not be opened
}

type listenKey struct{ app, key string }

func newRoutes(n *Node, shared proxy.Keep) *routes {
	return &routes{n: n, shared: newSharedSockets(shared), ready: make(map[string]map[string]bool), held: make(map[listenKey]map[string]bool),
		data: make(map[listenKey]json.RawMessage), fault: make(map[listenKey]error), takes: make(map[string]supervisor.Worker), parts: make(map[string]uint64)}
}

// Route implements supervisor.Router.
func (r *routes) Route(w supervisor.Worker) {
	if w.Mode == supervisor.ModePort && !w.Serves {
		return
	}
	for _, addr := range w.Uncaught { // it serves in mode port, so that we can open what its app would have bound itself
		r.n.noteLearned(w.App, addr)
	}
	r.n.proxy.SetWorker(w.ID, target{w})
	if w.Adopted && w.Channel != nil {
		if err := r.n.proxy.Recover(w.App, w.ID, w.PID, w.Reports); err != nil {
			r.n.log.Warn("connections that a worker has are not counted", "worker", w.ID, "err", err)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ready[w.App] == nil {
		r.ready[w.App] = make(map[string]bool)
	}
	r.ready[w.App][w.ID] = w.Channel != nil
	r.takes[w.ID] = w
	r.publish(w.App)
	r.n.reportSoon()
}

// Unroute implements supervisor.Router.
func (r *routes) Unroute(w supervisor.Worker) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.ready[w.App][w.ID]; ok {
		delete(r.ready[w.App], w.ID)
		r.publish(w.App)
		r.n.datagrams.Leave(w.ID)
		r.n.reportSoon()
	}
}

// part follows whether a peer is about to stop, and how many connections it has passed on so far. Once it is, workers have the clients leave that came
// by another server: those connections end with that one, and nobody else can ask for it. Clients of other servers come back at once. What waited at
// its door when it closed comes after that word, so they are told again.
func (r *routes) part(peer string, stops bool, passed uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !stops {
		delete(r.parts, peer)
		return
	}
	if before, told := r.parts[peer]; told && before == passed {
		return
	}
	r.parts[peer] = passed
	for id, w := range r.takes {
		if w.Channel == nil {
			continue
		}
		if err := w.Channel.Part(); err != nil {
			r.n.log.Debug("a worker cannot be told that a peer stops", "worker", id, "peer", peer, "err", err)
		}
	}
}

// publish gives the balancer an app's ready workers. The lock is held, so that publications keep their order.
func (r *routes) publish(app string) {
	out := make([]balancer.Worker, 0, len(r.ready[app]))
	for id, passes := range r.ready[app] {
		if !passes || r.listens(app, id) {
			slot, _, _ := strings.Cut(id, "#") // the same for whoever comes after it
			out = append(out, balancer.Worker{ID: id, Name: slot, Window: window})
		}
	}
	r.n.bal.Picker(app).SetWorkers(out)
	r.publishDatagrams(app)
	r.n.proxy.Steer(app)
}

// listens reports whether a Node worker listens on anything: one that closed its servers is given nothing more. The lock is held.
func (r *routes) listens(app, worker string) bool {
	for k, ids := range r.held {
		if k.app == app && ids[worker] {
			return true
		}
	}
	return false
}

// Ended implements supervisor.Router.
func (r *routes) Ended(w supervisor.Worker) {
	r.n.proxy.RemoveWorker(w.ID)
	if p := r.n.bal.Lookup(w.App); p != nil {
		p.SetDirect(w.ID, balancer.Direct{}, time.Now())
	}
	r.shared.ended(w.ID)
	r.n.datagrams.UnshareAll(w.ID)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, ids := range r.held {
		delete(ids, w.ID)
	}
	delete(r.takes, w.ID)
}

// Listen implements supervisor.Router.
func (r *routes) Listen(w supervisor.Worker, q nodeipc.Query) nodeipc.Reply {
	if q.UDP() || q.Port < 0 && !q.FD {
		return r.share(w, q)
	}
	if q.FD { // it is a number of the worker's own table
		r.n.log.Warn("a worker wants to listen in a way that is not supported", "worker", w.ID, "addr", q.Key)
		return nodeipc.Reply{Errno: -int(syscall.ENOTSUP)}
	}
	k := listenKey{w.App, q.Key}
	bound, err := r.open(k, q.Address, q.Port, q.IPv6Only)
	if err != nil {
		return nodeipc.Reply{Errno: -int(errno(err))}
	}
	own := r.ownSocket(w, q)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held[k] == nil {
		r.held[k] = make(map[string]bool)
	}
	r.held[k][w.ID] = true
	r.republish(w)
	if _, ok := r.data[k]; !ok {
		r.data[k] = q.Data
	}
	if q.Port > 0 {
		r.n.noteLearned(w.App, net.JoinHostPort(q.Address, strconv.Itoa(q.Port)))
	}
	return nodeipc.Reply{Address: bound.Addr().String(), Port: int(bound.Port()), IPv6: bound.Addr().Is6(), Data: r.data[k], Share: own}
}

// ownSocket is a listening socket for a worker that can take one, so that it accepts by itself while nobody has to steer; nil for others.
func (r *routes) ownSocket(w supervisor.Worker, q nodeipc.Query) *os.File {
	switch {
	case q.Own:
		return r.n.proxy.Share(w.App, q.Key, w.ID)
	case w.Adopted && w.Reports && !r.n.proxy.Rejoin(w.App, q.Key, w.ID):
		_ = w.Channel.Shut() // one that is gone accepts nothing
	}
	return nil
}

func total(of map[string]uint64) (n uint64) {
	for _, k := range of {
		n += k
	}
	return n
}

// load takes in what a worker reports.
func (r *routes) load(w supervisor.Worker, l nodeipc.Load) {
	p := r.n.bal.Lookup(w.App)
	if p == nil {
		return
	}
	p.SetDirect(w.ID, balancer.Direct{Open: l.Open, Taken: total(l.Taken), Timed: l.Timed, Spent: time.Duration(l.Spent * float64(time.Millisecond))}, time.Now())
	if l.Shut {
		r.n.proxy.UnshareAll(w.App, w.ID)
	}
	r.n.proxy.Heard(w.App, w.ID, proxy.Accepts{Taken: l.Taken, Held: l.Held})
}

// share answers with a socket that all workers of the app have in common.
func (r *routes) share(w supervisor.Worker, q nodeipc.Query) nodeipc.Reply {
	k := listenKey{w.App, q.Key}
	f, err := r.shared.take(k, w.ID, q)
	if err == nil && q.UDP() && q.Port > 0 && !q.Reuse { // what is sent to many would come to each of several sockets
		f = r.ownDatagrams(w, k, f)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		if q.UDP() { // a path may be of one process only, with its number in it: there is no end to those
			r.fault[k] = err
		}
		return nodeipc.Reply{Errno: -int(errno(err))}
	}
	delete(r.fault, k)
	if q.UDP() {
		if q.Port > 0 {
			r.n.noteLearned(w.App, spec.DatagramAddress(net.JoinHostPort(q.Address, strconv.Itoa(q.Port))))
		}
		r.republish(w)
	}
	return nodeipc.Reply{Share: f}
}

// Unlisten implements supervisor.Router.
func (r *routes) Unlisten(w supervisor.Worker, key string) {
	r.shared.release(listenKey{w.App, key}, w.ID)
	r.n.proxy.Unshare(w.App, key, w.ID)
	r.n.datagrams.Unshare(datagramsOf(w.App), key, w.ID)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.held[listenKey{w.App, key}], w.ID)
	r.republish(w)
}

// republish follows a change of what a worker listens on. The lock is held.
func (r *routes) republish(w supervisor.Worker) {
	if _, ready := r.ready[w.App][w.ID]; ready {
		r.publish(w.App)
	}
}

// open opens a listener of an app, and remembers the fault if it cannot be.
func (r *routes) open(k listenKey, host string, port int, only6 bool) (netip.AddrPort, error) {
	network := "tcp"
	if only6 {
		network = "tcp6"
	}
	if host == "" {
		host = r.n.s.AppBind
	}
	r.n.initGate(k.app)
	bound, err := r.n.proxy.Listen(k.app, k.key, network, net.JoinHostPort(host, strconv.Itoa(port)))
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.fault[k] = err
	} else {
		delete(r.fault, k)
	}
	return bound, err
}

// close closes all listeners of an app that is gone or stopped.
func (r *routes) close(app string) {
	r.n.proxy.Unlisten(app, "")
	r.n.datagrams.Stop(datagramsOf(app))
	r.shared.close(app)
	r.mu.Lock()
	defer r.mu.Unlock()
	for k := range r.held {
		if k.app == app {
			delete(r.held, k)
		}
	}
	for k := range r.data {
		if k.app == app {
			delete(r.data, k)
		}
	}
	for k := range r.fault {
		if k.app == app {
			delete(r.fault, k)
		}
	}
}

// tidy forgets apps that are gone from the configuration and have no process left.
func (r *routes) tidy(alive func(app string) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for app, ids := range r.ready {
		if len(ids) == 0 && !alive(app) {
			delete(r.ready, app)
			r.n.bal.Drop(app)
			r.n.bal.Drop(datagramsOf(app))
		}
	}
}

// faults lists the listeners that could not be opened.
func (r *routes) faults() map[listenKey]error {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make(map[listenKey]error, len(r.fault))
	for k, err := range r.fault {
		out[k] = err
	}
	return out
}

// errno is the number that a Node app is to see for a failed listen call.
func errno(err error) syscall.Errno {
	var e syscall.Errno
	if errors.As(err, &e) {
		return e
	}
	return syscall.EADDRNOTAVAIL
}

// target is a worker as the data path needs it.
type target struct{ w supervisor.Worker }

// Passes implements proxy.Worker.
func (t target) Passes() bool { return t.w.Channel != nil }

// Offer implements proxy.Worker.
func (t target) Offer(key string, fd int, remote netip.AddrPort, outcome func(proxy.Outcome)) error {
	return t.w.Channel.Offer(key, fd, remote, func(o nodeipc.Outcome) { outcome(proxy.Outcome(o)) })
}

// Speaks implements proxy.Speaker.
func (t target) Speaks(key string) bool { return t.w.Channel != nil && t.w.Channel.Speaks(key) }

// OfferSaying implements proxy.Speaker.
func (t target) OfferSaying(key string, fd int, from proxy.Origin, outcome func(proxy.Outcome)) error {
	return t.w.Channel.OfferSaying(key, fd, from.Client, from.Say, func(o nodeipc.Outcome) { outcome(proxy.Outcome(o)) })
}

// Dial implements proxy.Worker.
func (t target) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	d.SetMultipathTCP(false)
	return d.DialContext(ctx, "tcp", t.w.Addr)
}

// Sockets implements proxy.Lender.
func (t target) Sockets() ([]int, error) { return t.w.Sockets() }

// Checks implements proxy.Lender.
func (t target) Checks(port uint16) bool {
	return t.w.Checking != nil && t.w.Checking.Load() == uint32(port)
}

// Header implements proxy.Worker.
func (t target) Header() proxy.HeaderVersion { return proxy.HeaderVersion(t.w.Header) }

// the outcomes of the two packages are the same by number
var _ = [1]struct{}{}[int(nodeipc.Accepted)-int(proxy.Accepted)+int(nodeipc.Refused)-int(proxy.Refused)+int(nodeipc.Lost)-int(proxy.Lost)]

var (
	_ supervisor.Router = (*routes)(nil)
	_ proxy.Speaker     = target{}
	_ proxy.Lender      = target{}
)
