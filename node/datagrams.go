package node

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"meshnode/balancer"
	"meshnode/mesh/mux"
	"meshnode/node/api"
	"meshnode/node/supervisor"
	"meshnode/node/supervisor/nodeipc"
	"meshnode/store/spec"
)

// datagramsOf is what an app's datagrams are called where connections have the app's name: no app can have this one.
func datagramsOf(app string) string { return spec.DatagramAddress(app) }

// datagramQuery is what a Node worker would ask for to get the datagrams of a client address, so that both find the same socket.
func datagramQuery(addr string, shared bool) (nodeipc.Query, bool) {
	addr, udp := spec.Datagrams(addr)
	host, text, err := net.SplitHostPort(addr)
	port, perr := strconv.Atoi(text)
	if !udp || err != nil || perr != nil {
		return nodeipc.Query{}, false
	}
	if host == "" && shared {
		host = "0.0.0.0" // what a socket of type udp4 is bound to
	}
	q := nodeipc.Query{Address: host, Port: port, Family: "udp4"}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.To4() == nil {
		q.Family = "udp6"
	}
	q.Key = host + ":" + text + ":" + q.Family
	return q, true
}

// syncDatagrams opens the addresses of an app that take datagrams, given and learned, and has them read where no worker does.
func (n *Node) syncDatagrams(app spec.App, addrs []string) {
	shared := workerSpec(app).Mode == supervisor.ModeCluster
	for _, addr := range addrs {
		q, ok := datagramQuery(addr, shared)
		if !ok {
			continue
		}
		if q.Address == "" {
			q.Address = n.s.AppBind
		}
		if err := n.routes.serveDatagrams(listenKey{app.Name, q.Key}, q, shared); err != nil {
			n.log.Debug("client address cannot be opened", "app", app.Name, "addr", addr, "err", err)
		}
	}
}

// serveDatagrams opens a socket for datagrams, and remembers the fault if it cannot be.
func (r *routes) serveDatagrams(k listenKey, q nodeipc.Query, shared bool) error {
	f, err := r.shared.take(k, "", q)
	if err == nil {
		err = r.n.datagrams.Serve(datagramsOf(k.app), k.key, f, shared)
		f.Close()
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.fault[k] = err
	} else {
		delete(r.fault, k)
	}
	return err
}

// publishDatagrams gives the balancer the ready workers that take an app's datagrams. The lock is held, so that publications keep their order.
func (r *routes) publishDatagrams(app string) {
	a := r.n.store.State().Apps[app]
	given := len(spec.Streams(a.Listen)) < len(a.Listen)
	var out []balancer.Worker
	for id, passes := range r.ready[app] {
		if passes && r.shared.has(app, id) || !passes && given {
			out = append(out, balancer.Worker{ID: id})
		}
	}
	if len(out) > 0 || r.n.bal.Lookup(datagramsOf(app)) != nil {
		r.n.bal.Picker(datagramsOf(app)).SetWorkers(out)
	}
	r.n.datagrams.Steer(datagramsOf(app), func(worker string) (string, bool) {
		slot, _, _ := strings.Cut(worker, "#") // the same for whoever comes after it
		return slot, r.ready[app][worker]
	})
}

// ownDatagrams gives a Node.js worker a socket of its own, in place of a duplicate of the one that all have in common, where that can be.
func (r *routes) ownDatagrams(w supervisor.Worker, k listenKey, common *os.File) *os.File {
	app := datagramsOf(k.app)
	if err := r.n.datagrams.Serve(app, k.key, common, true); err != nil {
		return common
	}
	if w.Adopted && !r.isReady(w) { // it has what it was given by a former run
		r.n.datagrams.Rejoin(app, k.key, w.ID)
		return common
	}
	own := r.n.datagrams.Share(app, k.key, w.ID)
	if own == nil {
		return common
	}
	common.Close()
	return own
}

func (r *routes) isReady(w supervisor.Worker) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, ok := r.ready[w.App][w.ID]
	return ok
}

// datagramsAt is where a worker takes the datagrams that came for a key.
func (r *routes) datagramsAt(worker, key string) (netip.AddrPort, bool) {
	r.mu.Lock()
	w, ok := r.takes[worker]
	r.mu.Unlock()
	if !ok {
		return netip.AddrPort{}, false
	}
	if w.Channel == nil {
		addr, err := netip.ParseAddrPort(w.Addr)
		return addr, err == nil
	}
	return r.shared.bound(listenKey{w.App, key})
}

// has reports whether a worker has a socket for datagrams in common with others of its app.
func (s *sharedSockets) has(app, worker string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, e := range s.open {
		if k.app == app && e.path == "" && e.users[worker] {
			return true
		}
	}
	return false
}

// bound is where datagrams for a shared socket are sent to from this server.
func (s *sharedSockets) bound(k listenKey) (netip.AddrPort, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.open[k]
	if e == nil || e.path != "" {
		return netip.AddrPort{}, false
	}
	sa, err := unix.Getsockname(e.number())
	if err != nil {
		return netip.AddrPort{}, false
	}
	var addr netip.AddrPort
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		addr = netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		addr = netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	switch {
	case addr.Addr() == netip.IPv4Unspecified():
		addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), addr.Port())
	case addr.Addr() == netip.IPv6Unspecified():
		addr = netip.AddrPortFrom(netip.IPv6Loopback(), addr.Port())
	}
	return addr, addr.IsValid()
}

// datagramListeners are the sockets that are open here for datagrams.
func (n *Node) datagramListeners() []api.Listener {
	apps := n.store.State().Apps
	var out []api.Listener
	for _, k := range n.datagrams.Sockets() {
		app, _ := spec.Datagrams(k.App)
		_, port, _ := net.SplitHostPort(k.Addr)
		given := slices.ContainsFunc(apps[app].Listen, func(a string) bool { return strings.HasSuffix(a, spec.DatagramAddress(":"+port)) })
		out = append(out, api.Listener{App: app, Node: n.s.Node, Addr: spec.DatagramAddress(k.Addr), State: api.ListenerOpen, Learned: !given})
	}
	return out
}

// dialDatagrams opens a stream for datagrams to a node.
func (n *Node) dialDatagrams(ctx context.Context, node string) (net.Conn, error) {
	m, ok := n.members()[node]
	if !ok {
		return nil, fmt.Errorf("%s is no member", node)
	}
	return n.mux.Dial(ctx, mux.Datagram, m.Addr)
}

// loadNames are the names under which this server's load is reported: each app's, and of those that take datagrams another.
func (n *Node) loadNames() []string {
	apps := n.store.State().Apps
	out := make([]string, 0, len(apps))
	for name, app := range apps {
		out = append(out, name)
		if all := slices.Concat(app.Listen, app.Learned); len(spec.Streams(all)) < len(all) {
			out = append(out, datagramsOf(name))
		}
	}
	return out
}
